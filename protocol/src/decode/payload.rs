//! JSON that a client publishes.

use bytes::Bytes;
use fanfare_core::{
    message::Payload,
    session::{CommandError, ErrorCode},
};
use serde_json::{error::Category, value::RawValue};

use super::depth::depth_over;
use crate::{DecodeLimits, error::over};

/// The field that a payload is, in commands and in errors.
const FIELD: &str = "data";

impl DecodeLimits {
    /// The payload that a whole body of JSON makes, as a request of HTTP brings it: one value, without the blanks
    /// around it, which mean nothing (RFC 8259, section 2). Its bytes are shared with the body.
    ///
    /// # Errors
    ///
    /// `invalid_payload` for what is no JSON, and `too_large` for what nests deeper than [`depth`](Self::depth).
    ///
    /// ```
    /// let payload = fanfare_protocol::DecodeLimits::default().json(&" [1, 2]\n".into())?;
    /// assert_eq!(payload.as_str(), Some("[1, 2]"));
    /// # Ok::<(), fanfare_core::session::CommandError>(())
    /// ```
    pub fn json(&self, body: &Bytes) -> Result<Payload, CommandError> {
        let text = std::str::from_utf8(body)
            .map_err(|error| invalid(format!("the JSON is not UTF-8 from byte {}", error.valid_up_to())))?;
        let value: &RawValue = serde_json::from_str(text).map_err(|error| match error.classify() {
            Category::Eof => invalid("the JSON ends too early"),
            _ => invalid(format!("malformed JSON at line {}, byte {}", error.line(), error.column())),
        })?;
        check_depth(value.get(), self)?;
        Payload::parsed_json(body.slice_ref(value.get().as_bytes()))
            .map_err(|error| invalid(error.to_string()))
    }
}

/// Refuses a value that would make the frames around it unreadable for others.
pub(super) fn check_depth(json: &str, limits: &DecodeLimits) -> Result<(), CommandError> {
    let Some(depth) = depth_over(json, limits.depth) else { return Ok(()) };
    let mut error = over(ErrorCode::TooLarge, FIELD, limits.depth, depth);
    error.message = "the payload nests too deep".into();
    Err(error)
}

fn invalid(message: impl Into<std::borrow::Cow<'static, str>>) -> CommandError {
    CommandError::new(ErrorCode::InvalidPayload, message).field(FIELD)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(body: &[u8]) -> (ErrorCode, String) {
        let body = Bytes::copy_from_slice(body);
        let error = DecodeLimits::default().json(&body).unwrap_err();
        assert_eq!(error.field, Some("data"));
        (error.code, error.message.into_owned())
    }

    #[test]
    fn a_value_of_each_kind_is_taken_without_the_blanks_around_it() {
        for json in ["null", "true", "-1.5e3", "\"é\\n\"", "[1, 2]", "{\"a\": {}}"] {
            let body = Bytes::from(format!(" \t\r\n{json}\n"));
            let payload = DecodeLimits::default().json(&body).unwrap();
            assert_eq!(payload.as_str(), Some(json));
        }
    }

    #[test]
    fn what_is_no_json_says_where_and_quotes_nothing() {
        let malformed = |message: &str| (ErrorCode::InvalidPayload, message.to_owned());
        assert_eq!(refused(b"{\"secret\" 1}"), malformed("malformed JSON at line 1, byte 11"));
        assert_eq!(refused(b"{} {}"), malformed("malformed JSON at line 1, byte 4"));
        assert_eq!(refused(b""), malformed("the JSON ends too early"));
        assert_eq!(refused(b"[1"), malformed("the JSON ends too early"));
        assert_eq!(refused(b"\"\xff\""), malformed("the JSON is not UTF-8 from byte 1"));
        assert_eq!(refused("\u{feff}{}".as_bytes()).0, ErrorCode::InvalidPayload);
    }

    #[test]
    fn a_value_nests_as_deep_as_in_a_frame() {
        let nested = |depth: usize| Bytes::from(["[".repeat(depth), "]".repeat(depth)].concat());
        DecodeLimits::default().json(&nested(100)).unwrap();
        let error = DecodeLimits::default().json(&nested(101)).unwrap_err();
        assert_eq!((error.code, error.limit, error.value), (ErrorCode::TooLarge, Some(100), Some(101)));
        // A million levels are no danger to the parser.
        assert_eq!(refused(&nested(1 << 20)).0, ErrorCode::TooLarge);
    }
}
