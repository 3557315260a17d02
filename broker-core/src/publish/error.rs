//! Why a message was not accepted.

use thiserror::Error;

use crate::{
    backend::{BackendError, BackendErrorKind},
    message::InvalidPayload,
    session::{CommandError, ErrorCode, Refusal},
    topic::InvalidTopic,
};

/// Why a message was not accepted, with an exact meaning: all but
/// [`OutcomeUnknown`](PublishError::OutcomeUnknown) and [`NotCarried`](PublishError::NotCarried) mean that nobody gets it.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PublishError {
    /// No topic can have this name.
    #[error("the topic's name is not valid")]
    InvalidTopic(#[from] InvalidTopic),
    /// The value is no payload.
    #[error("the payload is not valid")]
    InvalidPayload(#[from] InvalidPayload),
    /// Something is longer than its limit.
    #[error("{field} is {value} bytes long, the limit is {limit}")]
    TooLarge {
        /// What is too long: `data`, `event`, `key` or `message_id`.
        field: &'static str,
        /// The limit in bytes.
        limit: usize,
        /// The length in bytes.
        value: usize,
    },
    /// An event's name must be fit for every transport: no control characters, and no `$` in front, which is the system's.
    #[error("{field} holds a control character, or begins with `$`")]
    InvalidLabel {
        /// Which: `event`, `key` or `message_id`.
        field: &'static str,
    },
    /// The topic's kind does not allow this.
    #[error("{reason}")]
    Unsupported {
        /// The field that does not fit: `message_id`, `topic` or `topics`.
        field: &'static str,
        /// Why.
        reason: &'static str,
    },
    /// There are more topics than the limit.
    #[error("{value} topics, the limit is {limit}")]
    TooManyTopics {
        /// The limit.
        limit: usize,
        /// How many there are.
        value: usize,
    },
    /// The topic's own rate is used up.
    #[error("the topic takes no more messages at the moment")]
    RateLimited,
    /// The shards are busy ([`try_publish`](crate::Broker::try_publish) alone).
    #[error("the fan-out is busy: a publisher would have to wait")]
    Busy,
    /// A hook refused it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The broker is about to stop.
    #[error("the broker is about to stop")]
    Draining,
    /// The backend did not store it.
    #[error("the backend did not take the message")]
    NotStored(#[source] BackendError),
    /// The topic is ephemeral, and the backend did not carry the message, as far as is known: the subscribers
    /// of this node have it, and those of other nodes are told of a gap once they can be reached.
    #[error("only subscribers of this node have the message: the backend did not carry it")]
    NotCarried(#[source] BackendError),
    /// The backend may have stored it or not. Publish it again with the same
    /// `message_id` to find out.
    #[error("the backend did not answer: the message may be stored or not")]
    OutcomeUnknown(#[source] BackendError),
}

impl From<BackendError> for PublishError {
    fn from(error: BackendError) -> Self {
        match error.kind() {
            BackendErrorKind::OutcomeUnknown => Self::OutcomeUnknown(error),
            _ => Self::NotStored(error),
        }
    }
}

impl From<PublishError> for CommandError {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::InvalidTopic(invalid) => Self::invalid_topic("topic", &invalid),
            PublishError::InvalidPayload(invalid) => {
                Self::new(ErrorCode::InvalidPayload, invalid.to_string()).field("data")
            }
            PublishError::TooLarge { field, limit, value } => {
                let message = format!("{field} is {value} bytes long, the limit is {limit}");
                Self::new(ErrorCode::TooLarge, message).field(field).limit(limit as u64, value as u64)
            }
            PublishError::InvalidLabel { field } => {
                Self::new(ErrorCode::BadRequest, error.to_string()).field(field)
            }
            PublishError::Unsupported { field, reason } => {
                Self::new(ErrorCode::BadRequest, reason).field(field)
            }
            PublishError::TooManyTopics { limit, value } => {
                let message = format!("{value} topics, the limit is {limit}");
                Self::new(ErrorCode::LimitExceeded, message).field("topics").limit(limit as u64, value as u64)
            }
            PublishError::RateLimited | PublishError::Busy => {
                Self::new(ErrorCode::RateLimited, error.to_string())
            }
            PublishError::Refused(refusal) => refusal.into(),
            PublishError::Draining => Self::new(ErrorCode::Draining, error.to_string()),
            PublishError::NotStored(backend) => Self::from(&backend),
            PublishError::NotCarried(ref backend) => {
                let mut refused = Self::from(backend);
                if backend.retry_can_help() {
                    // Whoever is subscribed elsewhere is told of a gap: nobody has to find out.
                    refused.code = ErrorCode::BackendUnavailable;
                }
                refused.message = error.to_string().into();
                refused
            }
            PublishError::OutcomeUnknown(_) => {
                Self::new(ErrorCode::Timeout, "the backend did not answer: the message may be stored or not")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use BackendErrorKind::{Configuration, Corrupt, OutcomeUnknown, Refused, TooLarge, Unavailable};

    use super::*;
    use crate::broker::SubscribeError;

    fn failed(kind: BackendErrorKind) -> BackendError {
        BackendError::new(kind, "publish", "10.0.0.1 has no stream orders").caused_by("an inner secret")
    }

    #[test]
    fn a_client_is_told_what_it_can_do_and_nothing_of_what_is_behind_it() {
        for (kind, stored, carried, read, retry) in [
            (Unavailable, "backend_unavailable", "backend_unavailable", "backend_unavailable", true),
            (OutcomeUnknown, "timeout", "backend_unavailable", "backend_unavailable", true),
            (Refused, "internal", "internal", "internal", false),
            (Configuration, "internal", "internal", "internal", false),
            (Corrupt, "internal", "internal", "internal", false),
            (TooLarge, "too_large", "too_large", "too_large", false),
        ] {
            let told: [(CommandError, &str); 3] = [
                (PublishError::from(failed(kind)).into(), stored),
                (PublishError::NotCarried(failed(kind)).into(), carried),
                (SubscribeError::from(failed(kind)).into(), read),
            ];
            for (error, code) in told {
                assert_eq!((error.code.as_str(), error.retry), (code, retry), "{kind:?}: {error}");
                let shown = format!("{error:?}");
                assert!(!shown.contains("10.0.0.1") && !shown.contains("secret"), "{shown}");
            }
        }
    }
}
