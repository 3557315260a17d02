//! The opening handshake (RFC 6455, section 4.2), without any I/O.
//!
//! The limits here are held against a request that the HTTP server has already read: how many bytes of headers it
//! reads, and how long it waits for them, are settings of that server.

mod error;
mod headers;
mod key;
mod protocol;

#[cfg(test)]
mod tests;

use bytes::Bytes;
use http::{HeaderValue, Method, Response, StatusCode, Version, header, request::Parts};
use http_body_util::Full;

pub(crate) use error::HandshakeError;
pub(crate) use protocol::Subprotocol;

use crate::Config;

/// A handshake that fulfils RFC 6455 and the limits.
#[derive(Debug)]
pub(crate) struct Accepted {
    accept: HeaderValue,
    /// What the client wants to speak.
    pub(crate) protocol: Subprotocol,
}

impl Accepted {
    /// Holds a request against RFC 6455, section 4.2.1, and the limits.
    pub(crate) fn check(request: &Parts, config: &Config) -> Result<Self, HandshakeError> {
        within_limits(request, config)?;
        if request.method != Method::GET {
            return Err(HandshakeError::Method);
        }
        asks_for_upgrade(request)?;
        if request.version != Version::HTTP_11 {
            return Err(HandshakeError::HttpVersion);
        }

        let headers = &request.headers;
        headers::only(headers, header::HOST)?;
        headers::require_token(headers, header::UPGRADE, "websocket")?;
        headers::require_token(headers, header::CONNECTION, "upgrade")?;
        if headers::only(headers, header::SEC_WEBSOCKET_VERSION)? != "13" {
            return Err(HandshakeError::WebSocketVersion);
        }
        let accept = key::accept(headers::only(headers, header::SEC_WEBSOCKET_KEY)?)?;
        headers::at_most_one(headers, header::ORIGIN)?;
        if !config.origins.admit(request) {
            return Err(HandshakeError::Origin);
        }
        Ok(Self { accept, protocol: Subprotocol::select(headers)? })
    }

    /// The answer that completes the handshake (section 4.2.2).
    pub(crate) fn response(&self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::default());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, self.accept.clone());
        if let Some(protocol) = self.protocol.answer() {
            headers.insert(header::SEC_WEBSOCKET_PROTOCOL, protocol);
        }
        response
    }
}

/// Tells a page that is opened at a WebSocket's address, and a handshake whose connection headers a proxy kept to
/// itself, from a handshake that is wrong.
fn asks_for_upgrade(request: &Parts) -> Result<(), HandshakeError> {
    let headers = &request.headers;
    if !headers.contains_key(header::SEC_WEBSOCKET_KEY) {
        let plain = request.version == Version::HTTP_11 && !headers.contains_key(header::UPGRADE);
        return if plain { Err(HandshakeError::NotWebSocket) } else { Ok(()) };
    }
    if !headers.contains_key(header::UPGRADE) {
        return Err(HandshakeError::TakenOut(header::UPGRADE));
    }
    // What proxies put there by themselves (RFC 9110, section 7.6.1).
    let hop = headers::tokens(headers, &header::CONNECTION)?
        .all(|option| ["close", "keep-alive"].iter().any(|known| option.eq_ignore_ascii_case(known)));
    if hop { Err(HandshakeError::TakenOut(header::CONNECTION)) } else { Ok(()) }
}

fn within_limits(request: &Parts, config: &Config) -> Result<(), HandshakeError> {
    let count = request.headers.len();
    if count > config.max_headers {
        return Err(HandshakeError::TooManyHeaders { limit: config.max_headers, value: count });
    }
    // Each line as it was on the wire: "GET target HTTP/1.1", "name: value", and its end.
    let target = request.uri.path_and_query().map_or(1, |target| target.as_str().len());
    let lines = request.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4);
    let bytes = request.method.as_str().len() + target + 12 + lines.sum::<usize>();
    if bytes > config.max_header_bytes {
        return Err(HandshakeError::HeadersTooLarge { limit: config.max_header_bytes, value: bytes });
    }
    Ok(())
}
