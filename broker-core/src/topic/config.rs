//! How the topics of a pattern behave.

use std::{fmt, num::NonZeroU32, time::Duration};

use crate::{limits::FOREVER, presence::PresenceConfig};

/// How the topics that a pattern matches behave. The most specific pattern of a
/// broker wins as a whole: configurations are not merged.
///
/// A subscription to a pattern has one queue for many topics. Its overflow policy and its queue limit are those of the most
/// specific configured pattern that [covers](super::TopicPattern::covers) the pattern that is subscribed to (the same pattern is
/// the most specific one), else the broker's default; [`OverflowPolicy::Resync`] is [`OverflowPolicy::DropOldest`] there.
///
/// ```
/// use std::time::Duration;
/// use fanfare_core::topic::{OverflowPolicy, TopicConfig};
///
/// let chat = TopicConfig::new().history(50).history_ttl(Duration::from_secs(3600));
/// let figures = TopicConfig::new().latest(1000).overflow(OverflowPolicy::ConflateByKey);
/// assert!(chat.is_logged() && figures.is_logged());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicConfig {
    overflow: Option<OverflowPolicy>,
    queue_messages: Option<usize>,
    history: Option<HistoryConfig>,
    latest_keys: usize,
    max_message: Option<usize>,
    publish_rate: Option<PublishRate>,
    presence: Option<PresenceConfig>,
}

impl TopicConfig {
    /// An ephemeral topic with the broker's limits.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Retains the last `messages` messages: the topic becomes logged.
    #[must_use]
    pub fn history(mut self, messages: usize) -> Self {
        self.history_mut().messages = messages.max(1);
        self
    }

    /// Retains at most `bytes` bytes (payload, event, key and id): 4 MiB unless set. The topic becomes logged.
    #[must_use]
    pub fn history_bytes(mut self, bytes: usize) -> Self {
        self.history_mut().bytes = bytes;
        self
    }

    /// Retains a message for at most this time: 1 hour unless set. The topic becomes logged.
    #[must_use]
    pub fn history_ttl(mut self, ttl: Duration) -> Self {
        self.history_mut().ttl = ttl.min(FOREVER);
        self
    }

    /// How long a `message_id` is remembered: 2 minutes unless set. The topic becomes logged.
    #[must_use]
    pub fn idempotency_window(mut self, window: Duration) -> Self {
        self.history_mut().idempotency_window = window.min(FOREVER);
        self
    }

    /// Retains the last value of up to `keys` keys, so that
    /// [`Start::Latest`](crate::session::Start::Latest) finds them: the topic becomes logged.
    /// The key that was not written for longest goes first.
    #[must_use]
    pub fn latest(mut self, keys: usize) -> Self {
        self.latest_keys = keys;
        let _ = self.history_mut();
        self
    }

    /// What happens to a message that meets a full queue. Unless set:
    /// [`OverflowPolicy::Resync`] on logged topics, else [`OverflowPolicy::DropOldest`].
    #[must_use]
    pub fn overflow(mut self, policy: OverflowPolicy) -> Self {
        self.overflow = Some(policy);
        self
    }

    /// How many messages one subscriber's queue holds.
    #[must_use]
    pub fn queue_messages(mut self, messages: usize) -> Self {
        self.queue_messages = Some(messages.max(1));
        self
    }

    /// The largest payload, bytes; never more than the broker's limit.
    #[must_use]
    pub fn max_message(mut self, bytes: usize) -> Self {
        self.max_message = Some(bytes);
        self
    }

    /// How many messages a second the topic takes on this node, and how many at
    /// once, from all publishers together; more are refused as `rate_limited`.
    #[must_use]
    pub fn publish_rate(mut self, per_second: NonZeroU32, burst: NonZeroU32) -> Self {
        self.publish_rate = Some(PublishRate { per_second, burst });
        self
    }

    /// Keeps presence: who is subscribed to the topic by its name is a member, and clients may ask and be told who is there.
    /// See [`presence`](crate::presence).
    #[must_use]
    pub fn presence(mut self, presence: PresenceConfig) -> Self {
        self.presence = Some(presence);
        self
    }

    /// How presence behaves, where it is kept.
    #[must_use]
    pub fn presence_config(&self) -> Option<PresenceConfig> {
        self.presence
    }

    /// Whether the topic has a log: positions, recovery, history.
    #[must_use]
    pub fn is_logged(&self) -> bool {
        self.history.is_some()
    }

    /// What is retained, on logged topics.
    #[must_use]
    pub fn retention(&self) -> Option<HistoryConfig> {
        self.history
    }

    /// How many keys' last values are retained.
    #[must_use]
    pub fn latest_keys(&self) -> usize {
        self.latest_keys
    }

    /// What happens to a message that meets a full queue.
    #[must_use]
    pub fn overflow_policy(&self) -> OverflowPolicy {
        match self.overflow {
            // There is nothing to read again from on an ephemeral topic.
            Some(OverflowPolicy::Resync) if !self.is_logged() => OverflowPolicy::DropOldest,
            Some(policy) => policy,
            None if self.is_logged() => OverflowPolicy::Resync,
            None => OverflowPolicy::DropOldest,
        }
    }

    /// The queue limit, if the topic has one of its own: messages.
    #[must_use]
    pub fn queue_limit(&self) -> Option<usize> {
        self.queue_messages
    }

    /// The payload limit, if the topic has one of its own: bytes.
    #[must_use]
    pub fn message_limit(&self) -> Option<usize> {
        self.max_message
    }

    /// The publish rate, if the topic has one.
    #[must_use]
    pub fn rate(&self) -> Option<PublishRate> {
        self.publish_rate
    }

    fn history_mut(&mut self) -> &mut HistoryConfig {
        self.history.get_or_insert_default()
    }
}

/// What is set, in one line, the same wherever it is set the same.
impl fmt::Display for TopicConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.history {
            Some(HistoryConfig { messages, bytes, ttl, idempotency_window }) => {
                let (ttl, ids) = (ttl.as_millis(), idempotency_window.as_millis());
                write!(f, "history {messages} messages, {bytes} bytes, {ttl} ms, ids {ids} ms")?;
            }
            None => f.write_str("ephemeral")?,
        }
        write!(f, "; latest {}; overflow {:?}", self.latest_keys, self.overflow_policy())?;
        let limits = [("queue", self.queue_messages), ("payload", self.max_message)];
        for (name, limit) in limits.into_iter().filter_map(|(name, limit)| Some((name, limit?))) {
            write!(f, "; {name} {limit}")?;
        }
        if let Some(presence) = &self.presence {
            write!(f, "; presence {presence}")?;
        }
        match self.publish_rate {
            Some(PublishRate { per_second, burst }) => write!(f, "; rate {per_second}/s, burst {burst}"),
            None => Ok(()),
        }
    }
}

/// What a logged topic retains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct HistoryConfig {
    /// Messages.
    pub messages: usize,
    /// Bytes.
    pub bytes: usize,
    /// Time since a message was published.
    pub ttl: Duration,
    /// How long a `message_id` is remembered.
    pub idempotency_window: Duration,
}

impl Default for HistoryConfig {
    fn default() -> Self {
        Self {
            messages: 256,
            bytes: 4 << 20,
            ttl: Duration::from_secs(3600),
            idempotency_window: Duration::from_secs(120),
        }
    }
}

/// See [`TopicConfig::publish_rate`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublishRate {
    /// Messages a second.
    pub per_second: NonZeroU32,
    /// Messages at once.
    pub burst: NonZeroU32,
}

/// What happens to a message that meets a full queue.
///
/// Whatever is lost is counted, and told in a [`Gap`](crate::message::Gap) at
/// the place of the loss; a conflated value is counted, and not told: its
/// successor is what the subscriber wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OverflowPolicy {
    /// The oldest queued message goes.
    DropOldest,
    /// The new message goes.
    DropNewest,
    /// The queued message of the same key goes, and the new one takes its place
    /// at the back. Without a key, or without a queued message of that key, the oldest goes.
    ConflateByKey,
    /// The client is disconnected as a slow consumer.
    Disconnect,
    /// The queue is cleared and read again from the log as soon as the
    /// subscriber can take it: nothing is lost but what the log has given up
    /// meanwhile. For logged topics; on others this is [`OverflowPolicy::DropOldest`].
    Resync,
}
