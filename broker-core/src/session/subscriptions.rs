//! What a client subscribes to.

use bytes::Bytes;

use super::{
    CommandError, ErrorCode, Reply, RequestId, SubscribeCommand,
    seat::{By, Starting},
    serve::SessionState,
};
use crate::{message::Frame, outbox::Subject};

impl SessionState {
    pub(super) async fn subscribe(&mut self, id: Option<RequestId>, command: SubscribeCommand) {
        let attached = match self.begin(command).await {
            Ok(starting) => {
                let reply = self.encode_reply(id, &Reply::Subscribed(starting.outcome())).await;
                self.attach(starting, reply)
            }
            Err(error) => Err(error),
        };
        match attached {
            Ok(()) => self.seat.tell_hooks().await,
            Err(error) => self.reply(id, error.into()).await,
        }
    }

    /// Checks, authorizes and begins a subscription. A client that is subscribed already begins anew.
    pub(super) async fn begin(&mut self, command: SubscribeCommand) -> Result<Starting, CommandError> {
        self.budgets.take_subscribe(&self.seat.broker.limits)?;
        let subject = Subject::parse(&command.topic)?;
        self.check_watching(&subject, command.presence).await?;
        let beginning = self.seat.begin(subject.clone(), By::Client)?;
        let mut starting = beginning.ask(subject, command.start).await?;
        starting.watch(command.presence);
        Ok(starting)
    }

    /// Whether the client may be told who is there, where it wants to.
    pub(super) async fn check_watching(
        &mut self,
        subject: &Subject,
        watches: bool,
    ) -> Result<(), CommandError> {
        match subject {
            _ if !watches => Ok(()),
            Subject::Topic(topic) => self.may_see(topic).await.map(|_| ()),
            Subject::Pattern(_) => {
                let message = "who is there is told of topics by their names, not of patterns";
                Err(CommandError::new(ErrorCode::BadRequest, message).field("presence"))
            }
        }
    }

    /// Gives a subscription to its shard, which hands the reply over.
    ///
    /// # Errors
    ///
    /// What has ended it on its way; the reply is not sent then.
    pub(super) fn attach(&mut self, starting: Starting, reply: Option<Bytes>) -> Result<(), CommandError> {
        self.seat.attach(vec![starting], reply).map_err(|all| {
            let ended = all.iter().find_map(Starting::ended);
            ended.unwrap_or_else(|| CommandError::new(ErrorCode::Kicked, "the server has ended this"))
        })
    }

    /// A reply for the shard to hand over. The shard cannot wait: a client that does not read its replies
    /// waits here.
    pub(super) async fn encode_reply(&mut self, id: Option<RequestId>, reply: &Reply) -> Option<Bytes> {
        let reply = id.map(|_| self.seat.outbox.encode(Frame::Reply { id, reply }))?;
        self.room(reply.len()).await;
        Some(reply)
    }

    pub(super) async fn unsubscribe(&mut self, id: Option<RequestId>, topic: &str) {
        let reply = self.encode_reply(id, &Reply::Unsubscribed).await;
        if self.seat.unsubscribe(topic, reply) {
            self.seat.tell_hooks().await;
        } else {
            let error = CommandError::new(ErrorCode::NotSubscribed, "not subscribed to this").field("topic");
            self.reply(id, error.into()).await;
        }
    }
}
