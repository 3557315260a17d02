//! What a client subscribes to.

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
                // The reply is in the outbox before the first message can be.
                self.reply(id, Reply::Subscribed(begun.outcome)).await;
                self.attach(begun);
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

    pub(super) fn attach(&mut self, begun: Begun) {
        let name = begun.subject.text();
        self.subscriptions.retain(|(held, _)| *held != name);
        self.subscriptions.push((name, begun.attach(&self.outbox)));
    }

    pub(super) async fn unsubscribe(&mut self, id: Option<RequestId>, topic: &str) {
        match self.subscriptions.iter().position(|(name, _)| **name == *topic) {
            Some(index) => {
                let reply = Frame::Reply { id, reply: &Reply::Unsubscribed };
                let reply = id.map(|_| self.outbox.encode(reply));
                if let Some(reply) = &reply {
                    // The shard cannot wait: a client that does not read its replies waits here.
                    self.room(reply.len()).await;
                }
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
