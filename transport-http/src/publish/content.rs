//! What a body is, as its headers say, and the payload that it makes.

use bytes::Bytes;
use fanfare_core::{
    message::{Payload, PayloadKind},
    session::{CommandError, ErrorCode},
};
use fanfare_protocol::DecodeLimits;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use crate::Refused;

/// The content types that are taken, as a refusal says it in its header `Accept` (RFC 9110, section 15.5.16).
pub(super) const ACCEPTED: HeaderValue =
    HeaderValue::from_static("application/json, text/plain, application/octet-stream");

/// What the headers of a request say that its body is.
pub(super) fn kind(headers: &HeaderMap) -> Result<PayloadKind, Refused> {
    if let Some(coding) = headers.get(header::CONTENT_ENCODING)
        && !coding.as_bytes().eq_ignore_ascii_case(b"identity")
    {
        return Err(unsupported("content-encoding", "the body may not be compressed"));
    }
    let Some(text) = only(headers, header::CONTENT_TYPE)? else {
        return Err(unsupported(
            "content-type",
            "say what the body is: application/json, text/plain or application/octet-stream",
        ));
    };
    let mut parts = text.split(';');
    let essence = parts.next().unwrap_or_default().trim().to_ascii_lowercase();
    let Some((kind, subtype)) = essence.split_once('/').filter(|(kind, subtype)| {
        !kind.is_empty() && !subtype.is_empty() && essence.bytes().all(|byte| byte.is_ascii_graphic())
    }) else {
        return Err(unsupported("content-type", "this is no content type"));
    };
    if essence == "application/x-www-form-urlencoded" || essence == "multipart/form-data" {
        return Err(unsupported(
            "content-type",
            "forms are not published: say what the body is, as by `curl --json DATA`, or by \
             `curl -H 'content-type: text/plain' -d DATA`",
        ));
    }
    let is_json = essence == "application/json" || subtype.ends_with("+json");
    if (is_json || kind == "text") && !is_utf8(parts) {
        return Err(unsupported("content-type", "text is taken in UTF-8 alone"));
    }
    Ok(match kind {
        _ if is_json => PayloadKind::Json,
        "text" => PayloadKind::Text,
        _ => PayloadKind::Binary,
    })
}

/// The payload that a body makes.
pub(super) fn payload(kind: PayloadKind, body: Bytes) -> Result<Payload, Refused> {
    let made = match kind {
        PayloadKind::Json => DecodeLimits::default().json(&body),
        kind => Payload::from_parts(kind, body)
            .map_err(|error| CommandError::new(ErrorCode::InvalidPayload, error.to_string()).field("data")),
    };
    made.map_err(|error| match error.code {
        // What cannot even be read is another fault than what the app does not want.
        ErrorCode::InvalidPayload => Refused::new(StatusCode::BAD_REQUEST, error),
        _ => error.into(),
    })
}

/// The value of a header that may come once.
pub(super) fn only(headers: &HeaderMap, name: HeaderName) -> Result<Option<&str>, Refused> {
    let mut values = headers.get_all(&name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let field = if name == header::CONTENT_TYPE { "content-type" } else { "idempotency-key" };
    let bad = |message| Refused::from(CommandError::new(ErrorCode::BadRequest, message).field(field));
    if values.next().is_some() {
        return Err(bad("the header comes more than once"));
    }
    value.to_str().map(Some).map_err(|_| bad("the header is not ASCII"))
}

/// Whether the parameters of a content type name no other charset (RFC 9110, section 8.3.2).
fn is_utf8<'a>(mut parameters: impl Iterator<Item = &'a str>) -> bool {
    parameters.all(|parameter| {
        let Some((name, value)) = parameter.split_once('=') else { return true };
        let value = value.trim().trim_matches('"');
        let fits = ["utf-8", "utf8", "us-ascii"].iter().any(|known| value.eq_ignore_ascii_case(known));
        fits || !name.trim().eq_ignore_ascii_case("charset")
    })
}

fn unsupported(field: &'static str, message: &'static str) -> Refused {
    let error = CommandError::new(ErrorCode::BadRequest, message).field(field);
    Refused::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(content_type: &str) -> Result<PayloadKind, u16> {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, content_type.parse().unwrap());
        kind(&headers).map_err(|refused| refused.status.as_u16())
    }

    #[test]
    fn the_content_type_says_what_the_body_is() {
        for json in [
            "application/json",
            "Application/JSON; charset=UTF-8",
            "application/ld+json;profile=x",
            "application/json;charset=\"utf-8\"",
        ] {
            assert_eq!(said(json), Ok(PayloadKind::Json), "{json}");
        }
        for text in ["text/plain", "TEXT/html; charset=utf-8", "text/csv;header=present; charset=us-ascii"] {
            assert_eq!(said(text), Ok(PayloadKind::Text), "{text}");
        }
        for binary in ["application/octet-stream", "image/png", "application/xml; charset=latin1"] {
            assert_eq!(said(binary), Ok(PayloadKind::Binary), "{binary}");
        }
    }

    #[test]
    fn what_would_be_guessed_is_refused() {
        for refused in [
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
            "text/plain; charset=latin1",
            "application/json; charset=utf-16",
            "json",
            "",
            "/",
            "text/ plain",
        ] {
            assert_eq!(said(refused), Err(415), "{refused:?}");
        }
        assert_eq!(kind(&HeaderMap::new()).unwrap_err().status, 415);
    }

    #[test]
    fn what_comes_twice_or_compressed_is_refused() {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, "text/plain".parse().unwrap());
        headers.insert(header::CONTENT_ENCODING, "gzip".parse().unwrap());
        assert_eq!(kind(&headers).unwrap_err().status, 415);
        headers.insert(header::CONTENT_ENCODING, "Identity".parse().unwrap());
        assert_eq!(kind(&headers).unwrap(), PayloadKind::Text);
        headers.append(header::CONTENT_TYPE, "application/json".parse().unwrap());
        assert_eq!(kind(&headers).unwrap_err().status, 400);
    }

    #[test]
    fn a_body_has_to_be_what_it_says() {
        let made = |kind, body: &'static [u8]| {
            payload(kind, Bytes::from_static(body)).map_err(|refused| (refused.status, refused.error.code))
        };
        assert_eq!(made(PayloadKind::Text, b" as it is\n").unwrap().as_str(), Some(" as it is\n"));
        assert_eq!(made(PayloadKind::Json, b" {}\n").unwrap().as_str(), Some("{}"));
        assert_eq!(made(PayloadKind::Binary, b"\xff").unwrap().bytes(), b"\xff".as_slice());
        let malformed = Err((StatusCode::BAD_REQUEST, ErrorCode::InvalidPayload));
        assert_eq!(made(PayloadKind::Text, b"\xff"), malformed);
        assert_eq!(made(PayloadKind::Json, b"{"), malformed);
        assert_eq!(made(PayloadKind::Json, b""), malformed);
        let deep = Bytes::from("[".repeat(101) + &"]".repeat(101));
        let refused = payload(PayloadKind::Json, deep).unwrap_err();
        assert_eq!((refused.status.as_u16(), refused.error.code), (413, ErrorCode::TooLarge));
    }
}
