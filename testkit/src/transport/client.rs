//! A client, as the suite sees it.

use std::time::Duration;

use async_trait::async_trait;
use fanfare_core::message::Payload;

/// What a client connects for.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Wanted {
    /// The names of topics to subscribe to.
    pub topics: Vec<String>,
    /// What [`Client::resume`] of an earlier connection gave: begin where that one stopped. `None`: begin live.
    pub resume: Option<String>,
    /// A credential, to be handed over in the transport's own way.
    pub token: Option<String>,
}

impl Wanted {
    /// Some topics, from now on.
    pub fn topics<T: Into<String>>(topics: impl IntoIterator<Item = T>) -> Self {
        Self { topics: topics.into_iter().map(Into::into).collect(), ..Self::default() }
    }

    /// The same from where an earlier connection stopped.
    #[must_use]
    pub fn resuming(mut self, resume: Option<String>) -> Self {
        self.resume = resume;
        self
    }

    /// The same with a credential.
    #[must_use]
    pub fn with_token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into());
        self
    }
}

/// A client that is connected. Dropped, its connection is closed without a word.
///
/// It must not read ahead: while nobody asks for the [`next`](Self::next) event, its socket is not read, so that the suite
/// can stall. A buffer of less than 64 KiB is fine.
#[async_trait]
pub trait Client: Send {
    /// The next event; `None` when the connection has ended without a word, or after [`Event::Closed`]. Replies and heartbeats are none.
    async fn next(&mut self) -> Option<Event>;

    /// What the client would hand back to go on after the last event it got. `None` where it has no position: on ephemeral topics.
    fn resume(&self) -> Option<String>;
}

/// What a client is told.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// A message.
    Message {
        /// Its topic.
        topic: String,
        /// Its payload, of the kind that it was published with.
        payload: Payload,
    },
    /// Messages were lost here.
    Gap {
        /// The topic.
        topic: String,
        /// How many, if that is known.
        missed: Option<u64>,
        /// Why: [`GapReason::as_str`](fanfare_core::message::GapReason::as_str).
        reason: String,
    },
    /// All that was missed has come.
    Live {
        /// The topic.
        topic: String,
    },
    /// Who is there, or who has come and gone.
    #[cfg(feature = "v1")]
    Presence {
        /// The topic.
        topic: String,
        /// What the frame says: `snapshot`, or `join`, `leave` and `update`; `clients` and `users`.
        said: serde_json::Value,
    },
    /// The server calls the client.
    Call {
        /// What the answer has to name.
        id: String,
        /// The method.
        method: String,
        /// What the method is given.
        payload: Payload,
    },
    /// The server has subscribed the client.
    Subscribed {
        /// To which topic or pattern.
        topic: String,
    },
    /// The server has ended a subscription.
    Unsubscribed {
        /// Of which topic or pattern.
        topic: String,
        /// Why: [`ErrorCode::as_str`](fanfare_core::session::ErrorCode::as_str).
        code: String,
        /// Whether it makes sense to subscribe again.
        retry: bool,
    },
    /// The client's token is about to expire.
    Token {
        /// When.
        expires: Duration,
    },
    /// The server ends the connection.
    Closed {
        /// Why: [`CloseKind::name`](fanfare_core::session::CloseKind::name).
        name: String,
        /// When to come back.
        retry_after: Option<Duration>,
    },
}

/// A client was not let in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not let in: {0}")]
pub struct Refused(
    /// What the server said.
    pub String,
);
