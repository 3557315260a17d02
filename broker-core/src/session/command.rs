//! What a client asks for, decoded: no wire format.

use super::ClientId;
use crate::{
    calls::ClientError,
    message::{Payload, Position},
};

/// A command of a client.
#[derive(Clone)]
#[non_exhaustive]
pub enum Command {
    /// Authenticate, and subscribe to all that is wanted in one go.
    Connect(ConnectCommand),
    /// Subscribe to a topic or a pattern.
    Subscribe(SubscribeCommand),
    /// Leave a topic or a pattern.
    Unsubscribe {
        /// As it was subscribed.
        topic: String,
    },
    /// Publish a message.
    Publish(PublishCommand),
    /// Read what is retained.
    History(HistoryCommand),
    /// Read who is there on a topic.
    Presence(PresenceCommand),
    /// Is anybody there?
    Ping,
    /// Bring a new credential, before the old one expires.
    Refresh {
        /// The credential, for the policy.
        token: String,
    },
    /// Call a method of the app.
    Call(CallCommand),
    /// Answer a call of the server. It is served at once, also while others wait.
    Answer(AnswerCommand),
}

/// Tokens are secrets.
impl std::fmt::Debug for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Connect(connect) => f.debug_tuple("Connect").field(connect).finish(),
            Self::Subscribe(subscribe) => f.debug_tuple("Subscribe").field(subscribe).finish(),
            Self::Unsubscribe { topic } => f.debug_struct("Unsubscribe").field("topic", topic).finish(),
            Self::Publish(publish) => f.debug_tuple("Publish").field(publish).finish(),
            Self::History(history) => f.debug_tuple("History").field(history).finish(),
            Self::Presence(presence) => f.debug_tuple("Presence").field(presence).finish(),
            Self::Ping => f.write_str("Ping"),
            Self::Refresh { .. } => f.write_str("Refresh([redacted])"),
            Self::Call(call) => f.debug_tuple("Call").field(call).finish(),
            Self::Answer(answer) => f.debug_tuple("Answer").field(answer).finish(),
        }
    }
}

/// See [`Command::Connect`].
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct ConnectCommand {
    /// The client's credential, for the policy.
    pub token: Option<String>,
    /// The secret of an earlier connection's session ([`Connected::session`](super::Connected::session)), to take it up again. One that is not known
    /// any more does no harm.
    pub session: Option<String>,
    /// Subscriptions to make at once, each answered on its own.
    pub subscribe: Vec<SubscribeCommand>,
}

/// The token is a secret, and so is the session's.
impl std::fmt::Debug for ConnectCommand {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConnectCommand")
            .field("token", &self.token.as_ref().map(|_| "[redacted]"))
            .field("session", &self.session.as_ref().map(|_| "[redacted]"))
            .field("subscribe", &self.subscribe)
            .finish()
    }
}

/// See [`Command::Subscribe`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct SubscribeCommand {
    /// A topic's name, or a pattern.
    pub topic: String,
    /// Where to begin.
    pub start: Start,
    /// Whether to be told who is there, and who comes and goes: on a topic by its name that keeps presence.
    pub presence: bool,
}

impl SubscribeCommand {
    /// A subscription that begins with the next message.
    #[must_use]
    pub fn live(topic: impl Into<String>) -> Self {
        Self::starting(topic, Start::Live)
    }

    /// A subscription that begins at `start`.
    #[must_use]
    pub fn starting(topic: impl Into<String>, start: Start) -> Self {
        Self { topic: topic.into(), start, presence: false }
    }

    /// The same, and told who is there.
    #[must_use]
    pub fn with_presence(mut self) -> Self {
        self.presence = true;
        self
    }
}

/// Where a subscription begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Start {
    /// With the next message.
    #[default]
    Live,
    /// After a position: what was missed since comes first.
    After(Position),
    /// With the last `n` retained messages.
    Last(u64),
    /// With all that is retained.
    Earliest,
    /// With the last value of each key.
    Latest,
}

/// See [`Command::Publish`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PublishCommand {
    /// The topics; several only where all are ephemeral.
    pub topics: Vec<String>,
    /// The payload.
    pub payload: Payload,
    /// The event's name.
    pub event: Option<String>,
    /// The key by which values replace each other.
    pub key: Option<String>,
    /// The client's own name for the message.
    pub message_id: Option<String>,
    /// Whether the publisher gets the message, too, where it is subscribed.
    pub echo: bool,
}

impl PublishCommand {
    /// A message to one topic, echoed to the publisher where it is subscribed.
    #[must_use]
    pub fn new(topic: impl Into<String>, payload: impl Into<Payload>) -> Self {
        Self::to_topics(vec![topic.into()], payload)
    }

    /// A message to several topics: one copy per connection.
    #[must_use]
    pub fn to_topics(topics: Vec<String>, payload: impl Into<Payload>) -> Self {
        Self { topics, payload: payload.into(), event: None, key: None, message_id: None, echo: true }
    }
}

/// See [`Command::History`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct HistoryCommand {
    /// The topic's name.
    pub topic: String,
    /// Which end to read from.
    pub from: HistoryFrom,
    /// How many messages at most; the session's limit applies as well.
    pub limit: Option<u64>,
}

impl HistoryCommand {
    /// The retained messages of a topic, newest page first.
    #[must_use]
    pub fn newest(topic: impl Into<String>) -> Self {
        Self { topic: topic.into(), from: HistoryFrom::Newest, limit: None }
    }
}

/// See [`Command::Presence`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct PresenceCommand {
    /// The topic's name.
    pub topic: String,
    /// After whom the page begins: the `next` of the page before.
    pub after: Option<ClientId>,
    /// How many members at most; 100 unless said, and the broker's limit applies as well. 0 asks for the counts alone.
    pub limit: Option<u64>,
}

impl PresenceCommand {
    /// The first page of a topic's members.
    #[must_use]
    pub fn first(topic: impl Into<String>) -> Self {
        Self { topic: topic.into(), after: None, limit: None }
    }
}

/// Which part of the history is wanted. A page's messages are always in the log's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HistoryFrom {
    /// The last ones.
    Newest,
    /// The last ones before a position.
    Before(Position),
    /// The first ones after a position.
    After(Position),
}

/// See [`Command::Call`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CallCommand {
    /// The method's name, in the form of a topic's.
    pub method: String,
    /// What the method is given.
    pub payload: Payload,
}

impl CallCommand {
    /// A call.
    #[must_use]
    pub fn new(method: impl Into<String>, payload: impl Into<Payload>) -> Self {
        Self { method: method.into(), payload: payload.into() }
    }
}

/// See [`Command::Answer`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AnswerCommand {
    /// The call that is answered, as the server named it.
    pub call_id: String,
    /// The answer.
    pub result: Result<Payload, ClientError>,
}

impl AnswerCommand {
    /// An answer.
    #[must_use]
    pub fn new(call_id: impl Into<String>, result: Result<Payload, ClientError>) -> Self {
        Self { call_id: call_id.into(), result }
    }
}
