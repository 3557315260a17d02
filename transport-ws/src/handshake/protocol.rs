//! Which subprotocol a connection speaks (RFC 6455, section 1.9).

use http::{HeaderMap, HeaderValue, header::SEC_WEBSOCKET_PROTOCOL};

use super::{HandshakeError, headers};

/// The wire format's name as a subprotocol.
const V1: &str = "fanfare.v1";

/// What a client offered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Subprotocol {
    /// Nothing, which stands for v1.
    Unsaid,
    /// v1, perhaps among others.
    V1,
    /// Only others, of which this is the first. The socket is accepted in that name and closed with 4002: a page is
    /// told nothing of a refused handshake, and takes an answer without one of its protocols for a refusal.
    Unknown(HeaderValue),
}

impl Subprotocol {
    pub(super) fn select(headers: &HeaderMap) -> Result<Self, HandshakeError> {
        let mut first = None;
        for offered in headers::tokens(headers, &SEC_WEBSOCKET_PROTOCOL)? {
            if offered == V1 {
                return Ok(Self::V1);
            }
            first = first.or(Some(offered));
        }
        match first.map(HeaderValue::from_str) {
            None => Ok(Self::Unsaid),
            Some(Ok(name)) => Ok(Self::Unknown(name)),
            Some(Err(_)) => Err(HandshakeError::Invalid(SEC_WEBSOCKET_PROTOCOL)),
        }
    }

    /// The value of the response's `Sec-WebSocket-Protocol`.
    pub(super) fn answer(&self) -> Option<HeaderValue> {
        match self {
            Self::Unsaid => None,
            Self::V1 => Some(HeaderValue::from_static(V1)),
            Self::Unknown(name) => Some(name.clone()),
        }
    }
}
