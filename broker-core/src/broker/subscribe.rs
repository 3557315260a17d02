//! From a wish to a place in a shard.

use std::sync::Arc;

use thiserror::Error;

use super::{
    Inner,
    interest::{Opened, is_ready},
    receive::expire,
};
use crate::{
    backend::{BackendError, HistoryQuery},
    fanout::{Insert, Left, Op, Target},
    log::Begin,
    message::Gap,
    outbox::{Outbox, Subject},
    session::{
        ClientId, CommandError, ErrorCode, HistoryCommand, HistoryFrom, HistoryPage, Start, Subscribed,
    },
    subscriber::SubscriptionId,
    table::{TooManyTopics, TopicState},
    topic::{Address, InvalidTopic, OverflowPolicy, TopicName, TopicPattern},
};

/// Why a subscription was not made, or a history not read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SubscribeError {
    /// No topic or pattern can have this name.
    #[error("the topic's name is not valid")]
    InvalidTopic(#[from] InvalidTopic),
    /// The topic has no log, and a pattern has none: they begin live.
    #[error("{reason}")]
    NotLogged {
        /// What was asked for.
        reason: &'static str,
    },
    /// It is an [`Address`], and no topic: nobody subscribes to those.
    #[error("this is an address: what is published to it comes without a subscription")]
    Address,
    /// This node holds as many topics as it may.
    #[error("this node holds {limit} topics, and no more")]
    TooManyTopics {
        /// The limit.
        limit: usize,
    },
    /// The broker is about to stop.
    #[error("the broker is about to stop")]
    Draining,
    /// The backend is away, or refuses.
    #[error("the backend did not answer")]
    Backend(#[from] BackendError),
}

impl From<TooManyTopics> for SubscribeError {
    fn from(error: TooManyTopics) -> Self {
        Self::TooManyTopics { limit: error.limit }
    }
}

impl From<SubscribeError> for CommandError {
    fn from(error: SubscribeError) -> Self {
        match error {
            SubscribeError::InvalidTopic(invalid) => Self::invalid_topic("topic", &invalid),
            SubscribeError::NotLogged { reason } => Self::new(ErrorCode::BadRequest, reason).field("topic"),
            SubscribeError::Address => Self::new(ErrorCode::Forbidden, error.to_string()).field("topic"),
            SubscribeError::TooManyTopics { limit } => {
                let mut error =
                    Self::new(ErrorCode::LimitExceeded, "the server holds too many topics").field("topic");
                error.limit = Some(limit as u64);
                error.retry = true;
                error
            }
            SubscribeError::Draining => Self::new(ErrorCode::Draining, "the server is about to stop"),
            SubscribeError::Backend(backend) => {
                let mut refused = Self::from(&backend);
                if backend.retry_can_help() {
                    // To ask twice is the same as to ask once.
                    refused.code = ErrorCode::BackendUnavailable;
                    refused.message = "the backend is away".into();
                }
                refused
            }
        }
    }
}

/// A subscription that holds its place in the order of its topic, but is not with its shard yet:
/// dropped like this, it leaves nothing behind.
pub(crate) struct Begun {
    broker: Arc<Inner>,
    shard: usize,
    target: Option<Target>,
    gap: Option<Gap>,
    pub(crate) subject: Subject,
    pub(crate) policy: OverflowPolicy,
    pub(crate) queue_limit: usize,
    pub(crate) outcome: Subscribed,
}

/// A subscription that its shard serves; dropped, it leaves.
pub(crate) struct Attachment {
    broker: Arc<Inner>,
    shard: usize,
    client: ClientId,
    subscription: SubscriptionId,
}

impl Inner {
    /// Begins a subscription to a topic.
    pub(crate) async fn begin(
        self: &Arc<Self>,
        shard: usize,
        name: TopicName,
        start: Start,
    ) -> Result<Begun, SubscribeError> {
        self.check_serving()?;
        if name.is_system() && Address::is_reserved(&name) {
            return Err(SubscribeError::Address);
        }
        let topic = self.table.open(&name)?;
        let opened = Opened::new(&self.janitor, topic.clone());
        if !topic.is_logged() && matches!(start, Start::Latest | Start::Earliest) {
            return Err(SubscribeError::NotLogged { reason: "the topic retains nothing to begin with" });
        }
        loop {
            if !is_ready(&topic) {
                self.want(&topic).await?;
            }
            let mut sequencer = topic.sequencer();
            // The last subscriber may have left meanwhile.
            if !sequencer.wanted {
                continue;
            }
            let begin = if topic.is_logged() {
                let Some(log) = sequencer.log_mut() else { continue };
                expire(log);
                Some(log.begin(start))
            } else {
                None
            };
            sequencer.add_subscriber(shard);
            let generation = sequencer.generation();
            drop(sequencer);
            opened.keep();
            return Ok(self.begun(shard, topic, begin, generation));
        }
    }

    fn begun(
        self: &Arc<Self>,
        shard: usize,
        topic: Arc<TopicState>,
        begin: Option<Begin>,
        generation: u32,
    ) -> Begun {
        let outcome = Subscribed {
            recovered: begin.as_ref().and_then(|begin| begin.recovered),
            position: begin.as_ref().map(|begin| begin.after),
        };
        Begun {
            broker: self.clone(),
            shard,
            subject: Subject::Topic(topic.name().clone()),
            policy: topic.config().overflow_policy(),
            queue_limit: topic.config().queue_limit().unwrap_or(self.limits.queue_messages),
            outcome,
            target: Some(Target::Topic { topic, begin, generation }),
            gap: None,
        }
    }

    /// Begins a subscription to a pattern: live only.
    pub(crate) async fn begin_pattern(
        self: &Arc<Self>,
        shard: usize,
        pattern: TopicPattern,
        start: Start,
    ) -> Result<Begun, SubscribeError> {
        self.check_serving()?;
        if start != Start::Live {
            return Err(SubscribeError::NotLogged { reason: "a pattern begins with the next message" });
        }
        self.table.patterns.add(&pattern, shard);
        let config = self.table.config_of_pattern(&pattern);
        let policy = match config.overflow_policy() {
            // There is no log to read again from: a pattern is live only.
            OverflowPolicy::Resync => OverflowPolicy::DropOldest,
            policy => policy,
        };
        let begun = Begun {
            broker: self.clone(),
            shard,
            subject: Subject::Pattern(pattern.clone()),
            policy,
            queue_limit: config.queue_limit().unwrap_or(self.limits.queue_messages),
            outcome: Subscribed { recovered: None, position: None },
            target: Some(Target::Pattern(pattern.clone())),
            gap: None,
        };
        self.want_pattern(&pattern).await?;
        Ok(begun)
    }

    fn check_serving(&self) -> Result<(), SubscribeError> {
        if self.is_draining() { Err(SubscribeError::Draining) } else { Ok(()) }
    }

    /// Reads a page of what is retained.
    pub(crate) async fn history(&self, command: &HistoryCommand) -> Result<HistoryPage, SubscribeError> {
        let name = TopicName::new(&command.topic)?;
        if !self.table.config(&name).is_logged() {
            return Err(SubscribeError::NotLogged { reason: "the topic has no history" });
        }
        let asked = command.limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
        let limit = asked.min(self.limits.history_page_messages);
        let (query, epoch) = match command.from {
            HistoryFrom::Newest => (HistoryQuery::Before { offset: None, limit }, None),
            HistoryFrom::Before(at) => {
                (HistoryQuery::Before { offset: Some(at.offset), limit }, Some(at.epoch))
            }
            HistoryFrom::After(at) => (HistoryQuery::After { offset: at.offset, limit }, Some(at.epoch)),
        };
        let page = self.call("history", self.backend.history(&name, query)).await?;
        if epoch.is_some_and(|epoch| epoch != page.epoch) {
            // The log that the cursor belongs to is gone: nothing of it is left.
            return Ok(HistoryPage::new(Vec::new(), false));
        }
        let newest_first = !matches!(query, HistoryQuery::After { .. });
        Ok(within(page.messages, page.more, self.limits.history_page_bytes, newest_first))
    }
}

/// Keeps as many messages as fit: the newest of a page that is read backwards.
fn within(
    mut messages: Vec<Arc<crate::message::Message>>,
    more: bool,
    max_bytes: usize,
    newest_first: bool,
) -> HistoryPage {
    let mut bytes = 0;
    let fits = |message: &&Arc<crate::message::Message>| {
        bytes += message.weight();
        bytes <= max_bytes
    };
    let total = messages.len();
    if newest_first {
        let kept = messages.iter().rev().take_while(fits).count().max(total.min(1));
        messages.drain(..total - kept);
    } else {
        let kept = messages.iter().take_while(fits).count().max(total.min(1));
        messages.truncate(kept);
    }
    let more = more || messages.len() < total;
    HistoryPage::new(messages, more)
}

impl Begun {
    /// Gives the subscription to its shard: from now on its messages reach the outbox, after the reply. Who keeps the number has to ask
    /// the shard to let go.
    pub(crate) fn attach(mut self, outbox: &Outbox, reply: Option<bytes::Bytes>) -> SubscriptionId {
        let subscription = outbox.add(self.subject.clone(), self.policy, self.queue_limit);
        if let Some(position) = self.outcome.position {
            outbox.begins_after(subscription, position);
        }
        let gap = self.gap.take();
        if let Some(target) = self.target.take() {
            let insert = Insert { subscriber: outbox.as_subscriber(), subscription, target, reply, gap };
            self.broker.inboxes[self.shard].send(Op::Insert(Box::new(insert)));
        }
        subscription
    }

    /// Asks the shard to tell a loss before the first message.
    pub(crate) fn tell(&mut self, gap: Gap) {
        self.gap = Some(gap);
    }

    /// The same for who keeps the subscription by what is returned.
    pub(crate) fn attach_until_dropped(self, outbox: &Outbox) -> Attachment {
        let (broker, shard) = (self.broker.clone(), self.shard);
        let subscription = self.attach(outbox, None);
        Attachment { broker, shard, client: outbox.client(), subscription }
    }

    /// The same for a subscriber that is no outbox.
    pub(crate) fn attach_to(
        mut self,
        subscriber: Arc<dyn crate::subscriber::Subscriber>,
        subscription: SubscriptionId,
    ) -> Attachment {
        let client = subscriber.client();
        if let Some(target) = self.target.take() {
            let insert = Insert { subscriber, subscription, target, reply: None, gap: None };
            self.broker.inboxes[self.shard].send(Op::Insert(Box::new(insert)));
        }
        Attachment { broker: self.broker.clone(), shard: self.shard, client, subscription }
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        let left = match self.target.take() {
            Some(Target::Topic { topic, .. } | Target::Presence(topic)) => {
                let last = topic.sequencer().remove_subscriber(self.shard);
                last.then_some(Left::Topic(topic))
            }
            Some(Target::Pattern(pattern)) => {
                let last = self.broker.table.patterns.remove(&pattern, self.shard);
                last.then_some(Left::Pattern(pattern))
            }
            None => None,
        };
        if let Some(left) = left {
            self.broker.janitor.left(left);
        }
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        let op = Op::Remove { client: self.client, subscription: self.subscription, reply: None };
        self.broker.inboxes[self.shard].send(op);
    }
}
