//! How a client is told no by HTTP.

use bytes::{Bytes, BytesMut};
use fanfare_core::{
    ConnectError,
    message::Frame,
    session::{CommandError, ErrorCode, Reply},
};
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::Full;

/// A response that is known as a whole.
pub type Answer = Response<Full<Bytes>>;

/// A request that is refused, as an HTTP status and an error of the wire format v1, which becomes the body:
/// `{"error":{"code":"too_large","message":"..","field":"data","limit":65536,"value":70001,"retry":false}}`.
///
/// From a [`CommandError`] or a [`ConnectError`] it takes the [`status`] that belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refused {
    /// The status.
    pub status: StatusCode,
    /// What the body says.
    pub error: CommandError,
}

impl Refused {
    /// A refusal with a status of its own.
    #[must_use]
    pub const fn new(status: StatusCode, error: CommandError) -> Self {
        Self { status, error }
    }

    /// The response: JSON that no cache keeps, with `WWW-Authenticate` at a 401 (RFC 9110, section 11.6.1), and `Retry-After` in seconds,
    /// rounded up, where a retry can help at a 429 or 503 (section 10.2.3).
    #[must_use]
    pub fn response(self) -> Answer {
        let Self { status, error } = self;
        let (retry, retry_after) = (error.retry, error.retry_after);
        let mut body = BytesMut::new();
        let reply = Reply::Error(Box::new(error));
        let _text = fanfare_protocol::encode(Frame::Reply { id: None, reply: &reply }, &mut body);
        let mut response = Response::new(Full::from(body.freeze()));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        let later = status == StatusCode::TOO_MANY_REQUESTS || status == StatusCode::SERVICE_UNAVAILABLE;
        if retry_after.is_some() || (retry && later) {
            let seconds = retry_after.map_or(1, |after| after.as_millis().div_ceil(1000).max(1));
            headers.insert(header::RETRY_AFTER, u64::try_from(seconds).unwrap_or(u64::MAX).into());
        }
        response
    }
}

impl From<CommandError> for Refused {
    fn from(error: CommandError) -> Self {
        // More of something than one request may hold will not fit later, either.
        let in_the_request = error.code == ErrorCode::LimitExceeded && error.field.is_some();
        let status = if in_the_request { StatusCode::BAD_REQUEST } else { status(error.code) };
        Self { status, error }
    }
}

impl From<&ConnectError> for Refused {
    fn from(refused: &ConnectError) -> Self {
        let error = |code| CommandError::new(code, refused.to_string());
        // Others leave, and make room.
        let full = |limit: usize| {
            let mut error = error(ErrorCode::LimitExceeded).limit(limit as u64, limit as u64 + 1);
            error.retry = true;
            error
        };
        match refused {
            ConnectError::Draining => Self::new(StatusCode::SERVICE_UNAVAILABLE, error(ErrorCode::Draining)),
            ConnectError::Full { limit } => Self::new(StatusCode::SERVICE_UNAVAILABLE, full(*limit)),
            ConnectError::TooMany { limit, .. } => Self::new(StatusCode::TOO_MANY_REQUESTS, full(*limit)),
            ConnectError::Refused(refusal) => Self::new(status(refusal.code), refusal.clone().into()),
            _ => {
                let error = CommandError::new(ErrorCode::Internal, "the client is not let in");
                Self::new(StatusCode::SERVICE_UNAVAILABLE, error)
            }
        }
    }
}

/// The HTTP status for an error of the wire format.
#[must_use]
pub fn status(code: ErrorCode) -> StatusCode {
    match code {
        ErrorCode::Unauthenticated | ErrorCode::TokenExpired => StatusCode::UNAUTHORIZED,
        ErrorCode::Forbidden => StatusCode::FORBIDDEN,
        ErrorCode::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorCode::InvalidPayload => StatusCode::UNPROCESSABLE_ENTITY,
        ErrorCode::LimitExceeded | ErrorCode::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        ErrorCode::BackendUnavailable | ErrorCode::Draining => StatusCode::SERVICE_UNAVAILABLE,
        ErrorCode::Timeout => StatusCode::GATEWAY_TIMEOUT,
        ErrorCode::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::BAD_REQUEST,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn after(error: CommandError) -> Option<String> {
        let response = Refused::from(error).response();
        response.headers().get(header::RETRY_AFTER).map(|value| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn who_may_come_back_is_told_when() {
        let limited = || CommandError::new(ErrorCode::RateLimited, "too many");
        assert_eq!(after(limited()).as_deref(), Some("1"));
        assert_eq!(after(limited().retry_after(Duration::from_millis(1500))).as_deref(), Some("2"));
        assert_eq!(after(limited().retry_after(Duration::ZERO)).as_deref(), Some("1"));
        assert_eq!(after(CommandError::new(ErrorCode::Draining, "soon")).as_deref(), Some("1"));
        assert_eq!(after(CommandError::new(ErrorCode::Forbidden, "no")), None);
    }

    #[test]
    fn a_server_that_is_full_will_have_room_again() {
        for (refused, status) in [
            (ConnectError::Full { limit: 2 }, 503),
            (ConnectError::TooMany { what: "of this user", limit: 2 }, 429),
            (ConnectError::Draining, 503),
        ] {
            let refused = Refused::from(&refused);
            assert!(refused.error.retry);
            let response = refused.response();
            assert_eq!(
                (response.status().as_u16(), response.headers().contains_key(header::RETRY_AFTER)),
                (status, true)
            );
        }
    }

    #[test]
    fn a_refusal_is_json_that_nobody_caches() {
        let response = Refused::from(CommandError::new(ErrorCode::Unauthenticated, "who?")).response();
        assert_eq!(response.status(), 401);
        assert_eq!(response.headers()[header::WWW_AUTHENTICATE], "Bearer");
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json");
        assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
    }

    #[test]
    fn too_many_in_one_request_is_not_too_many_requests() {
        let error = || CommandError::new(ErrorCode::LimitExceeded, "too many topics");
        assert_eq!(Refused::from(error().field("topics")).status, 400);
        assert_eq!(Refused::from(error()).status, 429);
    }
}
