//! A client's frames to commands.
//!
//! A frame is read once from front to back. A wrong value in a well-formed frame does not end the reading, so
//! the error can carry the `id` that comes after it. The parser is not recursive where the client could make it
//! deep: it skips values in a loop.

mod command;
mod depth;
mod field;
mod fields;
mod frame;
mod list;
mod method;
mod payload;

use fanfare_core::session::{Command, ErrorCode, RequestId};

use crate::{
    DecodeError, DecodeLimits,
    error::{over, wide},
};

/// A command, and the number under which the client wants its answer.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Decoded {
    /// The number; without one only an error is answered.
    pub id: Option<RequestId>,
    /// The command.
    pub command: Command,
}

/// Reads a text frame under the default [`DecodeLimits`].
///
/// # Errors
///
/// [`DecodeError`] holds the answer for the client.
pub fn decode_text(frame: &str) -> Result<Decoded, DecodeError> {
    DecodeLimits::default().decode_text(frame)
}

/// Reads a binary frame under the default [`DecodeLimits`]: the length of the header as a big-endian `u32`, the
/// header (a `publish` without `data`, as JSON), then the payload.
///
/// # Errors
///
/// [`DecodeError`] holds the answer for the client.
pub fn decode_binary(frame: &[u8]) -> Result<Decoded, DecodeError> {
    DecodeLimits::default().decode_binary(frame)
}

impl DecodeLimits {
    /// [`decode_text`] under these limits.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] holds the answer for the client.
    pub fn decode_text(&self, frame: &str) -> Result<Decoded, DecodeError> {
        frame::decode(frame, None, self)
    }

    /// [`decode_binary`] under these limits.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] holds the answer for the client.
    pub fn decode_binary(&self, frame: &[u8]) -> Result<Decoded, DecodeError> {
        let Some((length, rest)) = frame.split_first_chunk() else {
            return Err(DecodeError::frame("a binary frame begins with the length of its header, 4 bytes"));
        };
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        let Some((header, payload)) = rest.split_at_checked(length) else {
            let mut error = over(ErrorCode::BadRequest, "header", rest.len(), length);
            error.message = "the header's length is beyond the frame's end".into();
            return Err(DecodeError { id: None, error });
        };
        let header = std::str::from_utf8(header).map_err(|error| {
            let at = wide(error.valid_up_to());
            DecodeError::frame(format!("the header is not UTF-8 from byte {at}"))
        })?;
        frame::decode(header, Some(payload), self)
    }
}
