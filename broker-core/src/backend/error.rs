//! What goes wrong with a backend.

use std::borrow::Cow;

use thiserror::Error;

use crate::session::{CommandError, ErrorCode};

/// A backend's failure: its kind, what was attempted, and what lies behind it.
#[derive(Debug, Error)]
#[error("{operation}: {message}")]
pub struct BackendError {
    kind: BackendErrorKind,
    operation: &'static str,
    message: Cow<'static, str>,
    #[source]
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl BackendError {
    /// A failure of an operation. The message says what to do about it; it never holds a secret.
    #[must_use]
    pub fn new(
        kind: BackendErrorKind,
        operation: &'static str,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { kind, operation, message: message.into(), source: None }
    }

    /// The same with the error that lies behind it.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What kind of failure.
    #[must_use]
    pub fn kind(&self) -> BackendErrorKind {
        self.kind
    }

    /// What to do about it, as it was given to [`new`](Self::new).
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What was attempted.
    #[must_use]
    pub fn operation(&self) -> &'static str {
        self.operation
    }

    /// Whether the same call can succeed later.
    #[must_use]
    pub fn retry_can_help(&self) -> bool {
        matches!(self.kind, BackendErrorKind::Unavailable | BackendErrorKind::OutcomeUnknown)
    }
}

/// What a client is told: what it can do about it, and nothing of what is behind it.
impl From<&BackendError> for CommandError {
    fn from(error: &BackendError) -> Self {
        match error.kind {
            BackendErrorKind::Unavailable => Self::new(ErrorCode::BackendUnavailable, "the backend is away"),
            BackendErrorKind::OutcomeUnknown => {
                Self::new(ErrorCode::Timeout, "the backend did not answer: it may be done or not")
            }
            BackendErrorKind::TooLarge => {
                Self::new(ErrorCode::TooLarge, "the message is larger than the backend takes").field("data")
            }
            BackendErrorKind::Refused | BackendErrorKind::Configuration | BackendErrorKind::Corrupt => {
                let message =
                    "the backend refuses this, until somebody changes it: the server's log says why";
                let mut refused = Self::new(ErrorCode::Internal, message);
                refused.retry = false;
                refused
            }
        }
    }
}

/// The kind of a [`BackendError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BackendErrorKind {
    /// The backend cannot be reached; nothing was done.
    Unavailable,
    /// The connection broke, or time ran out, before an answer came: a message may have been stored or not.
    OutcomeUnknown,
    /// The backend refuses this, now and later.
    Refused,
    /// A message is larger than the backend or its server takes: nothing was done.
    TooLarge,
    /// The settings are wrong, or do not fit the server.
    Configuration,
    /// The log of the topic cannot be read or is not ours.
    Corrupt,
}
