//! What goes wrong with one command, in terms that a client can act on.

use std::{borrow::Cow, fmt, time::Duration};

use thiserror::Error;

use crate::{message::InvalidPayload, topic::InvalidTopic};

/// The answer to a command that failed. It never holds a payload or a token.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{}: {message}", code.as_str())]
#[non_exhaustive]
pub struct CommandError {
    /// What kind of failure.
    pub code: ErrorCode,
    /// A sentence for a person.
    pub message: Cow<'static, str>,
    /// The field of the command that is to blame.
    pub field: Option<&'static str>,
    /// The limit that was passed.
    pub limit: Option<u64>,
    /// The value that passed it.
    pub value: Option<u64>,
    /// Whether the same command can succeed later.
    pub retry: bool,
    /// When to try again.
    pub retry_after: Option<Duration>,
}

impl CommandError {
    /// An error with the code's own word on whether a retry can help.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        let retry = code.retry_can_help();
        Self {
            code,
            message: message.into(),
            field: None,
            limit: None,
            value: None,
            retry,
            retry_after: None,
        }
    }

    /// Names the field that is to blame.
    #[must_use]
    pub fn field(mut self, field: &'static str) -> Self {
        self.field = Some(field);
        self
    }

    /// Names the limit that was passed and the value that passed it.
    #[must_use]
    pub fn limit(mut self, limit: u64, value: u64) -> Self {
        self.limit = Some(limit);
        self.value = Some(value);
        self
    }

    /// Says when to try again.
    #[must_use]
    pub fn retry_after(mut self, after: Duration) -> Self {
        self.retry = true;
        self.retry_after = Some(after);
        self
    }

    pub(crate) fn invalid_topic(field: &'static str, error: &InvalidTopic) -> Self {
        let mut refused = Self::new(ErrorCode::InvalidTopic, error.to_string()).field(field);
        refused.limit = error.limit();
        refused.value = error.value();
        refused
    }
}

/// The kind of a [`CommandError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorCode {
    /// The command could not be read, or its fields do not fit together.
    BadRequest,
    /// No command has this name.
    UnknownMethod,
    /// The client must authenticate first.
    Unauthenticated,
    /// The credential has expired.
    TokenExpired,
    /// The policy refuses this.
    Forbidden,
    /// No topic or pattern can have this name.
    InvalidTopic,
    /// The payload is not what it claims to be.
    InvalidPayload,
    /// The client is not subscribed to this.
    NotSubscribed,
    /// Something is longer than its limit.
    TooLarge,
    /// There are more of something than its limit.
    LimitExceeded,
    /// Too many in too short a time.
    RateLimited,
    /// No answer in time: whether it took effect is unknown.
    Timeout,
    /// The app has no method of this name.
    NoSuchMethod,
    /// The backend is away.
    BackendUnavailable,
    /// A fault of the server.
    Internal,
    /// The server is about to stop.
    Draining,
    /// The right to it was taken back.
    Revoked,
    /// The server has ended it.
    Kicked,
}

impl ErrorCode {
    /// The name on the wire, in snake case.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadRequest => "bad_request",
            Self::UnknownMethod => "unknown_method",
            Self::Unauthenticated => "unauthenticated",
            Self::TokenExpired => "token_expired",
            Self::Forbidden => "forbidden",
            Self::InvalidTopic => "invalid_topic",
            Self::InvalidPayload => "invalid_payload",
            Self::NotSubscribed => "not_subscribed",
            Self::TooLarge => "too_large",
            Self::LimitExceeded => "limit_exceeded",
            Self::RateLimited => "rate_limited",
            Self::Timeout => "timeout",
            Self::NoSuchMethod => "no_such_method",
            Self::BackendUnavailable => "backend_unavailable",
            Self::Internal => "internal",
            Self::Draining => "draining",
            Self::Revoked => "revoked",
            Self::Kicked => "kicked",
        }
    }

    /// Whether the same command can succeed later, unchanged.
    #[must_use]
    pub fn retry_can_help(self) -> bool {
        matches!(
            self,
            Self::RateLimited | Self::Timeout | Self::BackendUnavailable | Self::Internal | Self::Draining
        )
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A policy's or a hook's no. The client sees the code and the message.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{}: {message}", code.as_str())]
pub struct Refusal {
    /// What kind of refusal.
    pub code: ErrorCode,
    /// A sentence for a person.
    pub message: Cow<'static, str>,
    /// When another try makes sense; `None` where it does not.
    pub retry_after: Option<Duration>,
}

impl Refusal {
    /// A refusal with a code of its own.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into(), retry_after: None }
    }

    /// This client may not do this.
    #[must_use]
    pub fn forbidden(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::Forbidden, message)
    }

    /// The credential is missing or wrong.
    #[must_use]
    pub fn unauthenticated(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::Unauthenticated, message)
    }

    /// The payload is not what the app expects.
    #[must_use]
    pub fn invalid_payload(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::InvalidPayload, message)
    }
}

/// What the client sent cannot be read; what cannot be written is the server's fault.
impl From<InvalidPayload> for Refusal {
    fn from(error: InvalidPayload) -> Self {
        match error {
            InvalidPayload::Encode(_) => Self::new(ErrorCode::Internal, "the answer could not be written"),
            error => Self::invalid_payload(error.to_string()),
        }
    }
}

impl From<Refusal> for CommandError {
    fn from(refusal: Refusal) -> Self {
        let mut error = Self::new(refusal.code, refusal.message);
        if let Some(after) = refusal.retry_after {
            error = error.retry_after(after);
        }
        error
    }
}
