//! A client's no.

use thiserror::Error;

/// The error with which a client answered a call. Both texts are the client's own: trust them no more than the client.
///
/// The broker itself puts one with the code `limit_exceeded` in place of an answer for which there was no room: see
/// [`Limits::answers_bytes`](crate::Limits::answers_bytes).
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the client answered with an error: {code}: {message}")]
#[non_exhaustive]
pub struct ClientError {
    /// What kind of failure, in a word that the client chose: at most 255 bytes, empty where it said nothing.
    pub code: String,
    /// A sentence for a person: at most 1,024 bytes, empty where the client said nothing.
    pub message: String,
}

impl ClientError {
    /// The most bytes of a code.
    pub const MAX_CODE: usize = 255;
    /// The most bytes of a message.
    pub const MAX_MESSAGE: usize = 1024;

    /// An error; what is longer than it may be is cut.
    #[must_use]
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: cut(code.into(), Self::MAX_CODE), message: cut(message.into(), Self::MAX_MESSAGE) }
    }

    /// What stands in place of an answer for which there was no room.
    pub(super) fn no_room() -> Self {
        Self::new("limit_exceeded", "the answers are more bytes than `answers_bytes`")
    }
}

/// The first whole characters that fit.
fn cut(mut text: String, most: usize) -> String {
    if text.len() > most {
        let end = (0..=most).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_long_is_cut_between_characters() {
        let error = ClientError::new("é".repeat(200), "x".repeat(2000));
        assert_eq!((error.code.len(), error.message.len()), (254, 1024));
        assert!(error.code.chars().all(|c| c == 'é'));
    }
}
