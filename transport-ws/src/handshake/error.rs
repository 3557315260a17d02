//! Why a handshake is refused, and what the client is told.

use fanfare_core::session::{CommandError, ErrorCode};
use fanfare_http::{Answer, Refused};
use http::{HeaderName, HeaderValue, StatusCode, header};
use thiserror::Error;

/// A refused handshake. Nothing of the request's values is in it, so that it may be logged.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub(crate) enum HandshakeError {
    #[error("the method must be GET")]
    Method,
    #[error("a WebSocket needs HTTP/1.1")]
    HttpVersion,
    #[error("this is the address of a WebSocket: connect with a WebSocket client")]
    NotWebSocket,
    #[error(
        "header {0} asks for no upgrade, though the rest is a WebSocket's handshake: a proxy on the way took it out \
         (nginx needs proxy_http_version 1.1, and proxy_set_header for Upgrade and Connection)"
    )]
    TakenOut(HeaderName),
    #[error("header {0} is missing")]
    Missing(HeaderName),
    #[error("header {0} comes more than once")]
    Doubled(HeaderName),
    #[error("header {0} has a value that it may not have")]
    Invalid(HeaderName),
    #[error("the WebSocket version must be 13")]
    WebSocketVersion,
    #[error("pages of this origin may not connect")]
    Origin,
    #[error("the request has too many headers")]
    TooManyHeaders { limit: usize, value: usize },
    #[error("the request's headers are too large")]
    HeadersTooLarge { limit: usize, value: usize },
    #[error("this connection cannot be upgraded")]
    NotUpgradable,
}

impl HandshakeError {
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::HttpVersion
            | Self::TakenOut(_)
            | Self::Missing(_)
            | Self::Doubled(_)
            | Self::Invalid(_) => StatusCode::BAD_REQUEST,
            Self::NotWebSocket | Self::WebSocketVersion | Self::NotUpgradable => StatusCode::UPGRADE_REQUIRED,
            Self::Origin => StatusCode::FORBIDDEN,
            Self::TooManyHeaders { .. } | Self::HeadersTooLarge { .. } => {
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
            }
        }
    }

    /// The error codes of the wire format v1.
    fn code(&self) -> ErrorCode {
        match self {
            Self::Origin => ErrorCode::Forbidden,
            Self::TooManyHeaders { .. } => ErrorCode::LimitExceeded,
            Self::HeadersTooLarge { .. } => ErrorCode::TooLarge,
            _ => ErrorCode::BadRequest,
        }
    }

    /// What in the request is at fault: a header's name, or a part's.
    fn field(&self) -> Option<&'static str> {
        match self {
            Self::Method => Some("method"),
            Self::HttpVersion => Some("version"),
            Self::NotWebSocket => Some("upgrade"),
            Self::TakenOut(name) | Self::Missing(name) | Self::Doubled(name) | Self::Invalid(name) => {
                Some(known(name))
            }
            Self::WebSocketVersion => Some("sec-websocket-version"),
            Self::Origin => Some("origin"),
            Self::TooManyHeaders { .. } | Self::HeadersTooLarge { .. } => Some("headers"),
            Self::NotUpgradable => None,
        }
    }

    /// The limit that was passed, and by what.
    fn limit(&self) -> Option<(usize, usize)> {
        match *self {
            Self::TooManyHeaders { limit, value } | Self::HeadersTooLarge { limit, value } => {
                Some((limit, value))
            }
            _ => None,
        }
    }

    /// The refusal as a response, its body an error of the wire format v1.
    pub(crate) fn response(&self) -> Answer {
        let mut error = CommandError::new(self.code(), self.to_string());
        error.field = self.field();
        if let Some((limit, value)) = self.limit() {
            error = error.limit(limit as u64, value as u64);
        }
        let mut response = Refused::new(self.status(), error).response();
        let headers = response.headers_mut();
        match self.status() {
            StatusCode::METHOD_NOT_ALLOWED => {
                headers.insert(header::ALLOW, HeaderValue::from_static("GET"));
            }
            // RFC 9110, section 15.5.22, and RFC 6455, section 4.4.
            StatusCode::UPGRADE_REQUIRED => {
                headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
                headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
                headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
            }
            _ => {}
        }
        response
    }
}

/// The name of one of the headers that a handshake is held against.
fn known(name: &HeaderName) -> &'static str {
    let names = [
        "host",
        "upgrade",
        "connection",
        "origin",
        "sec-websocket-version",
        "sec-websocket-key",
        "sec-websocket-protocol",
    ];
    names.into_iter().find(|known| *known == name).unwrap_or("headers")
}
