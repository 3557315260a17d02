//! What goes wrong with a server.

use std::{borrow::Cow, error::Error, sync::Arc};

use thiserror::Error;

use crate::backend::{BackendError, BackendErrorKind};

/// What goes wrong with a server, in words that say what to do. It is a [`BackendError`] before it is known whom it is told: when a
/// connection breaks, all who wait for answers are told the same, each under the name of what it has called. It holds no secret.
#[derive(Clone, Debug, Error)]
#[error("{message}")]
pub struct Trouble {
    kind: BackendErrorKind,
    message: Cow<'static, str>,
    #[source]
    source: Option<Arc<dyn Error + Send + Sync>>,
}

impl Trouble {
    /// Trouble of a kind.
    #[must_use]
    pub fn new(kind: BackendErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    /// [`BackendErrorKind::Unavailable`]: nothing was done, and it may be another time.
    #[must_use]
    pub fn unavailable(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(BackendErrorKind::Unavailable, message)
    }

    /// [`BackendErrorKind::OutcomeUnknown`]: it may have been done.
    #[must_use]
    pub fn outcome_unknown(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(BackendErrorKind::OutcomeUnknown, message)
    }

    /// [`BackendErrorKind::Configuration`]: settings are wrong, here or at the server.
    #[must_use]
    pub fn configuration(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(BackendErrorKind::Configuration, message)
    }

    /// [`BackendErrorKind::Refused`]: it will not be done another time either.
    #[must_use]
    pub fn refused(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(BackendErrorKind::Refused, message)
    }

    /// [`BackendErrorKind::TooLarge`]: nothing was done, and somebody has to allow more, or send less.
    #[must_use]
    pub fn too_large(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(BackendErrorKind::TooLarge, message)
    }

    /// The same with the error that lies behind it.
    #[must_use]
    pub fn caused_by(self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { source: Some(source.into().into()), ..self }
    }

    /// What kind of trouble.
    #[must_use]
    pub fn kind(&self) -> BackendErrorKind {
        self.kind
    }

    /// Waiting does not help: somebody has to change something.
    #[must_use]
    pub fn is_lasting(&self) -> bool {
        !matches!(self.kind, BackendErrorKind::Unavailable | BackendErrorKind::OutcomeUnknown)
    }

    /// The error of a call.
    #[must_use]
    pub fn into_error(self, operation: &'static str) -> BackendError {
        let error = BackendError::new(self.kind, operation, self.message);
        match self.source {
            Some(source) => error.caused_by(source),
            None => error,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn several_are_told_the_same() {
        let trouble = Trouble::unavailable("is it running?")
            .caused_by(io::Error::new(io::ErrorKind::ConnectionRefused, "refused"));
        for operation in ["publish", "subscribe"] {
            let error = trouble.clone().into_error(operation);
            assert_eq!(error.to_string(), format!("{operation}: is it running?"));
            assert_eq!((error.kind(), error.operation()), (BackendErrorKind::Unavailable, operation));
            assert_eq!(error.source().unwrap().to_string(), "refused");
        }
        assert_eq!((trouble.to_string().as_str(), trouble.is_lasting()), ("is it running?", false));
        assert!(!Trouble::outcome_unknown("").is_lasting());
        assert!(Trouble::configuration("").is_lasting() && Trouble::refused("").is_lasting());
        assert!(Trouble::too_large("").is_lasting());
    }
}
