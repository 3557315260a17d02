//! What a command is answered with.

use std::{sync::Arc, time::Duration};

use super::{ClientId, CommandError};
use crate::{
    message::{Message, Payload, Position},
    presence::PresencePage,
};

/// The answer to a command.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Reply {
    /// To [`Command::Connect`](super::Command::Connect).
    Connected(Box<Connected>),
    /// To [`Command::Subscribe`](super::Command::Subscribe).
    Subscribed(Subscribed),
    /// To [`Command::Unsubscribe`](super::Command::Unsubscribe).
    Unsubscribed,
    /// To [`Command::Publish`](super::Command::Publish).
    Published(Published),
    /// To [`Command::History`](super::Command::History).
    History(HistoryPage),
    /// To [`Command::Presence`](super::Command::Presence).
    Presence(PresencePage),
    /// To [`Command::Ping`](super::Command::Ping).
    Pong,
    /// To [`Command::Refresh`](super::Command::Refresh).
    Refreshed {
        /// When the admission ends now; `None` is never.
        expires: Option<Duration>,
    },
    /// To [`Command::Call`](super::Command::Call): what the method answered.
    Called(Payload),
    /// To [`Command::Answer`](super::Command::Answer): it was taken, or came too late.
    Answered,
    /// The command failed.
    Error(Box<CommandError>),
}

impl From<CommandError> for Reply {
    fn from(error: CommandError) -> Self {
        Self::Error(Box::new(error))
    }
}

/// The client is admitted.
#[derive(Clone)]
#[non_exhaustive]
pub struct Connected {
    /// The connection's public name.
    pub client: ClientId,
    /// The user, as the policy said.
    pub user: Option<Arc<str>>,
    /// The secret with which the client can take its session up on another connection; `None` where sessions are not kept. `Debug` does not show
    /// it.
    pub session: Option<String>,
    /// Whether the client has taken up an earlier session: it has that one's name, and `subscribed` lists what that one was subscribed to as
    /// well.
    pub resumed: bool,
    /// How often the server pings.
    pub ping: Duration,
    /// When the admission ends; `None` is never.
    pub expires: Option<Duration>,
    /// The subscriptions asked for in the same command, each with its own outcome, in their order; behind them those of the session that was
    /// taken up.
    pub subscribed: Vec<(String, Result<Subscribed, CommandError>)>,
}

/// The session's secret is not shown.
impl std::fmt::Debug for Connected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connected")
            .field("client", &self.client)
            .field("user", &self.user)
            .field("session", &self.session.as_ref().map(|_| "[redacted]"))
            .field("resumed", &self.resumed)
            .field("ping", &self.ping)
            .field("expires", &self.expires)
            .field("subscribed", &self.subscribed)
            .finish()
    }
}

impl Connected {
    /// An admission without end, of a client without a user, with no subscriptions.
    #[must_use]
    pub fn new(client: ClientId, ping: Duration) -> Self {
        Self {
            client,
            user: None,
            session: None,
            resumed: false,
            ping,
            expires: None,
            subscribed: Vec::new(),
        }
    }
}

/// The client is subscribed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Subscribed {
    /// Whether all that was missed will come: true for a recovery that is
    /// complete, false for one with a gap; `None` where nothing was to recover.
    pub recovered: Option<bool>,
    /// The position before the first message that follows; `None` on an
    /// ephemeral topic or a pattern.
    pub position: Option<Position>,
}

impl Subscribed {
    /// A subscription's outcome.
    #[must_use]
    pub const fn new(recovered: Option<bool>, position: Option<Position>) -> Self {
        Self { recovered, position }
    }
}

/// The backend accepted a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Published {
    /// The position in the topic's log; `None` on an ephemeral topic.
    pub position: Option<Position>,
    /// The `message_id` was seen before: this is the first message's position,
    /// and nothing new was stored.
    pub duplicate: bool,
}

impl Published {
    /// A publish's outcome.
    #[must_use]
    pub const fn new(position: Option<Position>, duplicate: bool) -> Self {
        Self { position, duplicate }
    }
}

/// A page of a topic's history, in the log's order.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HistoryPage {
    /// The messages.
    pub messages: Vec<Arc<Message>>,
    /// Whether there are more beyond this page.
    pub more: bool,
}

impl HistoryPage {
    /// A page.
    #[must_use]
    pub fn new(messages: Vec<Arc<Message>>, more: bool) -> Self {
        Self { messages, more }
    }
}
