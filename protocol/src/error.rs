//! Why a frame is no command.

use std::borrow::Cow;

use fanfare_core::session::{CommandError, ErrorCode, RequestId};
use thiserror::Error;

/// A frame could not be read as a command. It is answered with `error` under `id`, and the connection goes on.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{error}")]
#[non_exhaustive]
pub struct DecodeError {
    /// The command's number, when it could be read.
    pub id: Option<RequestId>,
    /// What to answer: the code, the field and, where one was passed, the limit and the value. It quotes nothing
    /// of the frame.
    pub error: CommandError,
}

impl DecodeError {
    /// A fault of the frame as a whole.
    pub(crate) fn frame(message: impl Into<Cow<'static, str>>) -> Self {
        Self { id: None, error: CommandError::new(ErrorCode::BadRequest, message) }
    }
}

/// A field that does not hold what it should.
pub(crate) fn bad_field(field: &'static str, message: impl Into<Cow<'static, str>>) -> CommandError {
    CommandError::new(ErrorCode::BadRequest, message).field(field)
}

/// More than a limit allows, as `code` (too long or too many).
pub(crate) fn over(code: ErrorCode, field: &'static str, limit: usize, value: usize) -> CommandError {
    let message = match code {
        ErrorCode::TooLarge => "the value is over its limit",
        _ => "there are more entries than the limit",
    };
    CommandError::new(code, message).field(field).limit(wide(limit), wide(value))
}

/// A length as the error carries it.
pub(crate) fn wide(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
