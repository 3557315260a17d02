//! What goes wrong with NATS, in words that say what to do.

use std::{borrow::Cow, io, sync::Arc};

use fanfare_core::backend::{BackendError, BackendErrorKind};
use thiserror::Error;

/// A failure that can be told to several who wait. It holds no secret.
#[derive(Clone, Debug, Error)]
#[error("{message}")]
pub(crate) struct Trouble {
    pub(crate) kind: BackendErrorKind,
    pub(crate) message: Cow<'static, str>,
    #[source]
    pub(crate) source: Option<Arc<io::Error>>,
}

impl Trouble {
    pub(crate) fn new(kind: BackendErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    pub(crate) fn unavailable(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(BackendErrorKind::Unavailable, message)
    }

    pub(crate) fn unknown(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(BackendErrorKind::OutcomeUnknown, message)
    }

    pub(crate) fn configuration(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(BackendErrorKind::Configuration, message)
    }

    pub(crate) fn refused(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(BackendErrorKind::Refused, message)
    }

    pub(crate) fn io(message: impl Into<Cow<'static, str>>, source: io::Error) -> Self {
        Self { source: Some(Arc::new(source)), ..Self::unavailable(message) }
    }

    /// Waiting does not help: somebody has to change something.
    pub(crate) fn is_lasting(&self) -> bool {
        !matches!(self.kind, BackendErrorKind::Unavailable | BackendErrorKind::OutcomeUnknown)
    }

    pub(crate) fn into_error(self, operation: &'static str) -> BackendError {
        let error = BackendError::new(self.kind, operation, self.message);
        match self.source {
            Some(source) => error.caused_by(source),
            None => error,
        }
    }

    /// What a server says of a connection (`-ERR`).
    pub(crate) fn of_connection(error: &str) -> Self {
        let lower = error.to_ascii_lowercase();
        let says = |text: &str| lower.contains(text);
        if says("authorization violation") || says("authentication") && !says("timeout") && !says("expired") {
            Self::configuration(
                "the server refuses the login: see user, password, token, nkey or credentials",
            )
        } else if says("authentication expired") || says("revoked") {
            Self::configuration(
                "the server says that the credentials have expired or are revoked: renew them",
            )
        } else if says("authentication timeout") {
            Self::unavailable("the server did not hear our login in time")
        } else if says("secure connection") || says("tls required") {
            Self::configuration("the server wants TLS: use a tls:// URL")
        } else if says("maximum connections") || says("maximum account") {
            Self::unavailable("the server has as many connections as it takes: see `max_connections`")
        } else if says("maximum payload") {
            Self::refused("a message is larger than the server takes: see `max_payload`")
        } else if says("slow consumer") {
            Self::unavailable("the server gave the connection up because we read too slowly")
        } else if says("stale connection") {
            Self::unavailable("the server gave the connection up because it did not hear of us")
        } else if says("permissions violation") {
            Self::refused(
                "the user may not use a subject of ours: it needs those of the prefix, and what the crate's documentation lists",
            )
        } else {
            Self::unavailable(format!("the server closed the connection: {}", plain(error)))
        }
    }
}

/// A server's words, as far as they are to be shown.
pub(crate) fn plain(text: &str) -> String {
    text.chars().filter(|ch| !ch.is_control()).take(200).collect()
}
