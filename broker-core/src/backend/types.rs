//! What passes between the core and a backend.

use std::{fmt, sync::Arc};

use crate::{
    message::{Epoch, LogPlace, Message, MessageParts, Position},
    topic::{HistoryConfig, TopicName, TopicPattern},
};

/// What a backend can do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// The backend serves this one node: `publish` and `history` are done when they return (their
    /// futures are ready at the first poll), a logged message comes back in
    /// [`Accepted::stored`] in place of the ingress, and nothing arrives from elsewhere.
    /// Ephemeral messages need not go anywhere, and are not handed over.
    pub inline: bool,
    /// Offsets of one topic are consecutive, so that a hole can be counted. A backend that cannot know how many messages
    /// were lost leaves out at least [`Capabilities::UNCOUNTABLE`] offsets: such a hole is told without a number.
    pub dense_offsets: bool,
}

impl Capabilities {
    /// A hole of so many offsets is of unknown size.
    pub const UNCOUNTABLE: u64 = 1 << 32;

    /// Sets [`Capabilities::inline`].
    #[must_use]
    pub fn inline(mut self, yes: bool) -> Self {
        self.inline = yes;
        self
    }

    /// Sets [`Capabilities::dense_offsets`].
    #[must_use]
    pub fn dense_offsets(mut self, yes: bool) -> Self {
        self.dense_offsets = yes;
        self
    }
}

/// One run of one process: a node that restarts has a new one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(u64);

impl NodeId {
    /// A new name. It is drawn from the system's randomness, so that processes that begin at the same moment, or as copies of one image, do not
    /// draw the same.
    #[must_use]
    pub fn random() -> Self {
        Self(crate::random::name())
    }

    /// A name from its value, as it is carried.
    #[must_use]
    pub const fn new(value: u64) -> Self {
        Self(value)
    }

    /// The value.
    #[must_use]
    pub const fn value(self) -> u64 {
        self.0
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Where a message comes from. Of ephemeral messages a receiver counts by it what was lost between two nodes; by that
/// of a logged message a node knows its own again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The node.
    pub node: NodeId,
    /// The node's run of numbers for this topic: numbers of different streams do not compare.
    pub stream: u64,
    /// The message's number in the stream, from 1, without holes.
    pub seq: u64,
}

/// A message that is handed over to a backend.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Outgoing {
    /// The message.
    pub message: MessageParts,
    /// What to retain: the topic is logged. `None`: it is ephemeral.
    pub retention: Option<Retention>,
    /// Where it comes from.
    pub origin: Origin,
    /// Further topics of an ephemeral message, each with its own origin: one copy per connection everywhere.
    pub also: Vec<(TopicName, Origin)>,
}

impl Outgoing {
    /// A message for an ephemeral topic.
    #[must_use]
    pub fn ephemeral(message: MessageParts, origin: Origin) -> Self {
        Self { message, retention: None, origin, also: Vec::new() }
    }

    /// A message for a logged topic.
    #[must_use]
    pub fn logged(message: MessageParts, retention: Retention, origin: Origin) -> Self {
        Self { message, retention: Some(retention), origin, also: Vec::new() }
    }

    /// The same with further topics: for ephemeral ones.
    #[must_use]
    pub fn with_also(mut self, also: Vec<(TopicName, Origin)>) -> Self {
        self.also = also;
        self
    }

    /// The message as it arrives at each node that wants it, on a logged topic with its place.
    #[must_use]
    pub fn into_incoming(self, log: Option<LogPlace>) -> Incoming {
        Incoming { message: self.message, log, origin: Some(self.origin), also: self.also }
    }
}

/// What a logged topic retains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Retention {
    /// Messages, bytes and time.
    pub history: HistoryConfig,
    /// How many keys' last values are retained.
    pub latest_keys: usize,
}

impl Retention {
    /// What a topic's configuration says.
    #[must_use]
    pub fn of(config: &crate::topic::TopicConfig) -> Option<Self> {
        Some(Self { history: config.retention()?, latest_keys: config.latest_keys() })
    }
}

/// A backend's acknowledgement.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Accepted {
    /// The position, on a logged topic.
    pub position: Option<Position>,
    /// The `message_id` was seen before; nothing new was stored.
    pub duplicate: bool,
    /// The stored message, from an [inline](Capabilities::inline) backend: the core delivers it.
    pub stored: Option<Arc<Message>>,
}

impl Accepted {
    /// An ephemeral message was taken.
    #[must_use]
    pub fn ephemeral() -> Self {
        Self::default()
    }

    /// A message was stored.
    #[must_use]
    pub fn at(position: Position) -> Self {
        Self { position: Some(position), ..Self::default() }
    }

    /// The message had been stored before.
    #[must_use]
    pub fn duplicate_of(position: Position) -> Self {
        Self { position: Some(position), duplicate: true, stored: None }
    }

    /// A message was stored by an inline backend.
    #[must_use]
    pub fn stored(message: Arc<Message>) -> Self {
        Self { position: message.position(), duplicate: false, stored: Some(message) }
    }
}

/// A message that arrives from a backend.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Incoming {
    /// The message.
    pub message: MessageParts,
    /// Its place in the log, on a logged topic.
    pub log: Option<LogPlace>,
    /// Where it comes from; always set on an ephemeral topic. On a logged one it lets a node know its own
    /// messages again.
    pub origin: Option<Origin>,
    /// Further topics of the same ephemeral message.
    pub also: Vec<(TopicName, Origin)>,
}

impl Incoming {
    /// A message of an ephemeral topic.
    #[must_use]
    pub fn ephemeral(message: MessageParts, origin: Origin) -> Self {
        Self { message, log: None, origin: Some(origin), also: Vec::new() }
    }

    /// A message of a logged topic.
    #[must_use]
    pub fn logged(message: MessageParts, place: LogPlace) -> Self {
        Self { message, log: Some(place), origin: None, also: Vec::new() }
    }

    /// The same with where it comes from.
    #[must_use]
    pub fn from_origin(mut self, origin: Origin) -> Self {
        self.origin = Some(origin);
        self
    }

    /// The same with further topics.
    #[must_use]
    pub fn with_also(mut self, also: Vec<(TopicName, Origin)>) -> Self {
        self.also = also;
        self
    }
}

/// What a node wants from its backend.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Interest {
    /// The messages of one topic.
    Topic {
        /// The topic.
        name: TopicName,
        /// What it retains: it is logged. `None`: it is ephemeral.
        retention: Option<Retention>,
    },
    /// The messages of all topics that a pattern matches, from now on.
    Pattern(TopicPattern),
}

/// What part of a log is wanted. The messages of a page are always in the log's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HistoryQuery {
    /// The first `limit` messages after an offset; 0 is the beginning.
    After {
        /// The offset.
        offset: u64,
        /// Messages at most.
        limit: usize,
    },
    /// The last `limit` messages before an offset; `None` is the end.
    Before {
        /// The offset.
        offset: Option<u64>,
        /// Messages at most.
        limit: usize,
    },
    /// The last value of each key.
    Latest,
}

/// A part of a log.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Page {
    /// The log's identity.
    pub epoch: Epoch,
    /// The messages.
    pub messages: Vec<Arc<Message>>,
    /// Everything after this offset is retained.
    pub floor: u64,
    /// The offset of the log's last message, retained or not; 0 when there was none.
    pub last: u64,
    /// Whether there are more in the direction of the query.
    pub more: bool,
}

impl Page {
    /// A page of a log.
    #[must_use]
    pub fn new(epoch: Epoch, floor: u64, last: u64, messages: Vec<Arc<Message>>, more: bool) -> Self {
        Self { epoch, messages, floor, last, more }
    }
}

/// Whether the backend can be reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BackendState {
    /// It can.
    Up,
    /// It cannot; it is trying.
    #[default]
    Down,
}
