//! What sessions ask of a shard.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::inbox::Inbox;
use crate::{
    log::Begin,
    message::{Gap, Message},
    outbox::Outbox,
    session::{ClientId, CloseReason},
    subscriber::{Subscriber, SubscriptionId},
    table::{TopicId, TopicState},
    topic::TopicPattern,
};

/// One request in a shard's second lane.
pub(crate) enum Op {
    /// Adds a subscriber.
    Insert(Box<Insert>),
    /// Removes a subscriber, and hands it the reply that nothing of the topic may follow.
    Remove { client: ClientId, subscription: SubscriptionId, reply: Option<Bytes> },
    /// Messages of any topic may have been lost: told to those who are subscribed to a pattern, or to any.
    PatternsLost { gap: Gap, pattern: Option<TopicPattern> },
    /// Who is subscribed to a topic by its name?
    Who { topic: TopicId, tell: oneshot::Sender<Vec<ClientId>> },
    /// When has all been fanned out that has been published to a topic until now?
    Passed { topic: TopicId, tell: oneshot::Sender<()> },
    /// Connections end when all has been fanned out that has been published to whatever until now.
    Farewell(Vec<Farewell>),
    /// Who watches presence is handed a snapshot, and gets what comes after it.
    Present { client: ClientId, subscription: SubscriptionId, message: Arc<Message> },
    /// A subscriber that is catching up has room for more.
    Pull { client: ClientId, subscription: SubscriptionId },
}

/// The end of a connection that the app disconnects: it comes when this is dropped, which is when nothing holds it back any more.
pub(crate) struct Farewell {
    pub(crate) outbox: Outbox,
    pub(crate) reason: CloseReason,
}

impl Drop for Farewell {
    fn drop(&mut self) {
        self.outbox.finish_soon(self.reason.clone());
    }
}

/// A subscription to be added.
pub(crate) struct Insert {
    pub(crate) subscriber: Arc<dyn Subscriber>,
    pub(crate) subscription: SubscriptionId,
    pub(crate) target: Target,
    /// The reply that nothing of the subscription may precede.
    pub(crate) reply: Option<Bytes>,
    /// A loss that is told behind the reply, before anything of the subscription.
    pub(crate) gap: Option<Gap>,
}

/// What is subscribed to.
pub(crate) enum Target {
    Topic {
        topic: Arc<TopicState>,
        /// Where to begin, on a logged topic.
        begin: Option<Begin>,
        /// How often the log had been replaced then.
        generation: u32,
    },
    Pattern(TopicPattern),
    /// What this node's watchers of presence are told: the subscription waits for a snapshot.
    Presence(Arc<TopicState>),
}

/// Asks the shard for the next page of what a subscription has missed. A subscriber calls it when it
/// has sent all it was offered, and was told that it is catching up.
#[derive(Clone)]
pub struct PullHandle {
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) client: ClientId,
}

impl PullHandle {
    /// Asks for the next page. Never blocks; asking once too often does no harm.
    pub fn pull(&self, subscription: SubscriptionId) {
        self.inbox.send(Op::Pull { client: self.client, subscription });
    }
}

impl std::fmt::Debug for PullHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PullHandle").field("client", &self.client).finish_non_exhaustive()
    }
}
