//! Why bytes are no envelope.

use thiserror::Error;

use crate::{message::InvalidPayload, topic::InvalidTopic};

/// Why bytes are no [`Envelope`](super::Envelope). It never holds the bytes themselves.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EnvelopeError {
    /// The first byte is no version that this node reads: a newer node wrote it, or somebody else.
    #[error("the first byte is {found:#04x}: a newer node wrote this, or it is no message of ours")]
    Version {
        /// The first byte.
        found: u8,
    },
    /// It ends before it should.
    #[error("the envelope is cut short")]
    Short,
    /// There is no such kind of payload.
    #[error("there is no payload kind {found}")]
    Kind {
        /// The byte.
        found: u8,
    },
    /// Flags that nobody sets.
    #[error("the flags {found:#04x} do not exist")]
    Flags {
        /// The flags.
        found: u8,
    },
    /// A number is longer than it has to be, or than 64 bits.
    #[error("a number is malformed")]
    Number,
    /// The place in the log is malformed, or missing where there has to be one.
    #[error("the place in the log is malformed or missing")]
    Place,
    /// A text is none.
    #[error("the field `{field}` is not UTF-8")]
    NotUtf8 {
        /// The field.
        field: &'static str,
        /// Where it ends to be UTF-8.
        #[source]
        source: std::str::Utf8Error,
    },
    /// The topic's name is none.
    #[error("the topic's name is not valid")]
    Topic(#[from] InvalidTopic),
    /// The payload is not what its kind says.
    #[error("the payload is not valid")]
    Payload(#[from] InvalidPayload),
}
