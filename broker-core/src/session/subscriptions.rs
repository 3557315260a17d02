//! What a client subscribes to.

use bytes::Bytes;

use super::{CommandError, ErrorCode, Reply, RequestId, SubscribeCommand, serve::SessionState};
use crate::{
    broker::Begun,
    message::Frame,
    policy::Action,
    topic::{TopicName, TopicPattern},
};

impl SessionState {
    pub(super) async fn subscribe(&mut self, id: Option<RequestId>, command: SubscribeCommand) {
        match self.begin(command, 0).await {
            Ok(begun) => {
                let reply = self.encode_reply(id, &Reply::Subscribed(begun.outcome)).await;
                self.attach(begun, reply);
            }
            Err(error) => self.reply(id, error.into()).await,
        }
    }

    /// Checks, authorizes and begins a subscription, beside so many others that have begun. A client that
    /// is subscribed already begins anew.
    pub(super) async fn begin(
        &mut self,
        command: SubscribeCommand,
        beside: usize,
    ) -> Result<Begun, CommandError> {
        self.budgets.take_subscribe()?;
        let limit = self.broker.limits.subscriptions_per_connection;
        let is_new = !self.subscriptions.iter().any(|(name, _)| **name == *command.topic);
        let held = self.subscriptions.len() + beside;
        if is_new && held >= limit {
            let value = held as u64 + 1;
            let error =
                CommandError::new(ErrorCode::LimitExceeded, "too many subscriptions on this connection");
            return Err(error.field("topic").limit(limit as u64, value));
        }
        let invalid = |error| CommandError::invalid_topic("topic", &error);
        if command.topic.contains(['*', '>']) {
            let pattern = TopicPattern::new(&command.topic).map_err(invalid)?;
            self.authorize(Action::SubscribePattern(&pattern)).await?;
            Ok(self.broker.begin_pattern(self.shard, pattern, command.start).await?)
        } else {
            let topic = TopicName::new(&command.topic).map_err(invalid)?;
            self.authorize(Action::Subscribe(&topic)).await?;
            Ok(self.broker.begin(self.shard, topic, command.start).await?)
        }
    }

    /// Gives a subscription to its shard, which hands the reply over when nothing of the topic's earlier
    /// subscription can follow any more, and nothing of this one has come.
    pub(super) fn attach(&mut self, begun: Begun, reply: Option<Bytes>) {
        let name = begun.subject.text();
        self.subscriptions.retain(|(held, _)| *held != name);
        // Most connections have one or two: a vector's first growth makes room for four.
        let (held, room) = (self.subscriptions.len(), self.subscriptions.capacity());
        if held == room {
            self.subscriptions.reserve_exact(held.max(1));
        }
        self.subscriptions.push((name, begun.attach(&self.outbox, reply)));
    }

    /// A reply for the shard to hand over. The shard cannot wait: a client that does not read its replies
    /// waits here.
    pub(super) async fn encode_reply(&mut self, id: Option<RequestId>, reply: &Reply) -> Option<Bytes> {
        let reply = id.map(|_| self.outbox.encode(Frame::Reply { id, reply }))?;
        self.room(reply.len()).await;
        Some(reply)
    }

    pub(super) async fn unsubscribe(&mut self, id: Option<RequestId>, topic: &str) {
        match self.subscriptions.iter().position(|(name, _)| **name == *topic) {
            Some(index) => {
                let reply = self.encode_reply(id, &Reply::Unsubscribed).await;
                let (_, attachment) = self.subscriptions.swap_remove(index);
                // The shard hands the reply over when nothing of the topic can follow any more.
                attachment.leave(reply);
            }
            None => {
                let error =
                    CommandError::new(ErrorCode::NotSubscribed, "not subscribed to this").field("topic");
                self.reply(id, error.into()).await;
            }
        }
    }
}
