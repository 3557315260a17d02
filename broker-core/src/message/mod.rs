//! A message, from its publisher to the bytes that subscribers share.

mod encode;
mod gap;
mod payload;
mod position;

use std::{
    fmt,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;

pub(crate) use encode::Encodings;
pub use encode::{Encoder, Format, Frame, MAX_FORMATS};
pub(crate) use gap::counted;
pub use gap::{Gap, GapReason};
pub use payload::{InvalidPayload, Payload, PayloadKind};
pub use position::{Epoch, InvalidPosition, Position};

use crate::{session::ClientId, topic::TopicName};

/// A message: immutable and shared by all its receivers.
pub struct Message {
    parts: MessageParts,
    log: Option<LogPlace>,
    encodings: Encodings,
}

/// What a publisher decides of a message; the log adds its place.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct MessageParts {
    /// The topic.
    pub topic: TopicName,
    /// The payload.
    pub payload: Payload,
    /// The event's name, at most 255 bytes.
    pub event: Option<Arc<str>>,
    /// The key by which values replace each other, at most 255 bytes.
    pub key: Option<Arc<str>>,
    /// The publisher's own name for this message, at most 255 bytes: a repeat
    /// within the topic's window is not stored again.
    pub message_id: Option<Arc<str>>,
    /// Who published; `None` is the app itself.
    pub publisher: Option<Publisher>,
    /// When it was published: milliseconds since 1970.
    pub time_ms: u64,
    /// The clients that do not get this message, also not on replay.
    pub except: Option<Arc<[ClientId]>>,
}

impl MessageParts {
    /// The parts of a message by the app itself, published now.
    #[must_use]
    pub fn new(topic: TopicName, payload: impl Into<Payload>) -> Self {
        Self {
            topic,
            payload: payload.into(),
            event: None,
            key: None,
            message_id: None,
            publisher: None,
            time_ms: now_ms(),
            except: None,
        }
    }

    /// Among whose messages the `message_id` is the same.
    #[must_use]
    pub fn id_scope(&self) -> IdScope {
        match &self.publisher {
            None => IdScope::App,
            Some(Publisher { user: None, .. }) => IdScope::Anonymous,
            Some(Publisher { user: Some(user), .. }) => IdScope::User(user.clone()),
        }
    }
}

/// Among whose messages a `message_id` is the same: a client that chooses the id of somebody else's message must not be able to pass for it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum IdScope {
    /// The app's own.
    App,
    /// Those of all clients without a user, which have nothing that lasts longer than a connection to tell them apart.
    Anonymous,
    /// A user's.
    User(Arc<str>),
}

/// A message's place in the log of its topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogPlace {
    /// The position.
    pub position: Position,
    /// The offset of the message before it in the topic; 0 for the log's first.
    pub prev: u64,
}

/// Who published a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publisher {
    /// The connection, public.
    pub client: ClientId,
    /// The user whom the policy admitted.
    pub user: Option<Arc<str>>,
}

impl Message {
    /// A message of an ephemeral topic.
    #[must_use]
    pub fn ephemeral(parts: MessageParts) -> Self {
        Self { parts, log: None, encodings: Encodings::default() }
    }

    /// A message of a logged topic.
    #[must_use]
    pub fn logged(parts: MessageParts, place: LogPlace) -> Self {
        Self { parts, log: Some(place), encodings: Encodings::default() }
    }

    /// The topic.
    #[must_use]
    pub fn topic(&self) -> &TopicName {
        &self.parts.topic
    }

    /// The payload.
    #[must_use]
    pub fn payload(&self) -> &Payload {
        &self.parts.payload
    }

    /// The event's name.
    #[must_use]
    pub fn event(&self) -> Option<&str> {
        self.parts.event.as_deref()
    }

    /// The key by which values replace each other.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        self.parts.key.as_deref()
    }

    /// The publisher's own name for this message.
    #[must_use]
    pub fn message_id(&self) -> Option<&str> {
        self.parts.message_id.as_deref()
    }

    /// Who published; `None` is the app itself.
    #[must_use]
    pub fn publisher(&self) -> Option<&Publisher> {
        self.parts.publisher.as_ref()
    }

    /// When it was published: milliseconds since 1970.
    #[must_use]
    pub fn time_ms(&self) -> u64 {
        self.parts.time_ms
    }

    /// The position in the topic's log; `None` on an ephemeral topic.
    #[must_use]
    pub fn position(&self) -> Option<Position> {
        self.log.map(|place| place.position)
    }

    /// The place in the topic's log; `None` on an ephemeral topic.
    #[must_use]
    pub fn place(&self) -> Option<LogPlace> {
        self.log
    }

    /// The clients that do not get this message.
    #[must_use]
    pub fn except(&self) -> &[ClientId] {
        self.parts.except.as_deref().unwrap_or_default()
    }

    /// Whether the message is hidden from a client.
    #[must_use]
    pub fn hides_from(&self, client: ClientId) -> bool {
        self.except().contains(&client)
    }

    /// What the publisher decided, for a backend that carries it elsewhere.
    #[must_use]
    pub fn parts(&self) -> &MessageParts {
        &self.parts
    }

    /// The message in a wire format: encoded at most once, then shared.
    #[must_use]
    pub fn encoded(&self, format: &Format) -> &Bytes {
        self.encodings.get(format, self)
    }

    /// What a queue is charged for holding this message where it has no wire
    /// format, and what the log is charged for keeping it: bytes.
    pub(crate) fn weight(&self) -> usize {
        let text = |s: &Option<Arc<str>>| s.as_deref().map_or(0, str::len);
        let parts = &self.parts;
        parts.payload.len() + text(&parts.event) + text(&parts.key) + text(&parts.message_id)
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("topic", &self.parts.topic)
            .field("event", &self.parts.event)
            .field("position", &self.position())
            .field("payload", &self.parts.payload)
            .finish_non_exhaustive()
    }
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
