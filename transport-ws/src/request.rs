//! What a policy may know of a request.

use std::{
    borrow::Cow,
    net::{IpAddr, SocketAddr},
};

use fanfare_core::session::Handshake;
use http::{Extensions, HeaderMap, request::Parts};
use percent_encoding::percent_decode_str;

use crate::Config;

/// The transport's name in [`Handshake::transport`].
const TRANSPORT: &str = "ws";

/// Tells the core what the request said. Headers that are not ASCII are left out.
pub(crate) fn handshake(request: &Parts, config: &Config) -> Handshake {
    let mut handshake = Handshake::new(TRANSPORT).with_path(request.uri.path());
    if let Some(address) = address(request, config) {
        handshake = handshake.with_address(address);
    }
    for (name, value) in &request.headers {
        if let Ok(value) = value.to_str() {
            handshake = handshake.with_header(name.as_str(), value);
        }
    }
    for (name, value) in query(request) {
        handshake = handshake.with_query(name, value);
    }
    handshake
}

/// The request's query, decoded as HTML forms encode it.
pub(crate) fn query(request: &Parts) -> impl Iterator<Item = (String, String)> {
    let pairs = request.uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decoded(name), decoded(value))
    })
}

fn decoded(text: &str) -> String {
    let spaced: Cow<'_, str> = if text.contains('+') { text.replace('+', " ").into() } else { text.into() };
    percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
}

/// Where the client is: the peer, or what a trusted proxy says of its own peer.
fn address(request: &Parts, config: &Config) -> Option<IpAddr> {
    let peer = peer(&request.extensions)?.ip().to_canonical();
    if config.trusted_proxies.contains(&peer) {
        Some(forwarded(&request.headers, config).unwrap_or(peer))
    } else {
        Some(peer)
    }
}

fn peer(extensions: &Extensions) -> Option<SocketAddr> {
    #[cfg(feature = "axum")]
    if let Some(axum::extract::ConnectInfo(peer)) = extensions.get() {
        return Some(*peer);
    }
    extensions.get().copied()
}

/// The last address of `X-Forwarded-For` that is no trusted proxy's: what is before it may be the client's invention.
fn forwarded(headers: &HeaderMap, config: &Config) -> Option<IpAddr> {
    let lines = headers.get_all("x-forwarded-for").iter();
    let text = lines.map(|line| line.to_str().ok()).collect::<Option<Vec<_>>>()?.join(",");
    for part in text.rsplit(',') {
        let address = part.trim().parse::<IpAddr>().ok()?.to_canonical();
        if !config.trusted_proxies.contains(&address) {
            return Some(address);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn parts(uri: &str) -> Parts {
        Request::get(uri).body(()).unwrap().into_parts().0
    }

    fn from(peer: &str, forwarded: &[&str], config: &Config) -> Option<String> {
        let mut parts = parts("/ws");
        parts.extensions.insert(SocketAddr::new(peer.parse().unwrap(), 1));
        for line in forwarded {
            parts.headers.append("x-forwarded-for", line.parse().unwrap());
        }
        handshake(&parts, config).address.map(|address| address.to_string())
    }

    #[test]
    fn the_query_is_decoded() {
        let request = parts("/ws?topic=chat.a%20b&token=a+b%2Bc&flag&empty=&=x");
        let handshake = handshake(&request, &Config::new());
        assert_eq!(handshake.query("topic"), Some("chat.a b"));
        assert_eq!(handshake.query("flag"), Some(""));
        assert_eq!(handshake.credential(), Some("a b+c"));
        assert_eq!(handshake.path, "/ws");
    }

    #[test]
    fn only_a_trusted_proxy_is_believed() {
        let config =
            Config::new().trusted_proxies(["10.0.0.1".parse().unwrap(), "::ffff:10.0.0.2".parse().unwrap()]);
        let seen = |peer, forwarded: &[&str]| from(peer, forwarded, &config);
        assert_eq!(seen("192.0.2.9", &["203.0.113.5"]).as_deref(), Some("192.0.2.9"));
        assert_eq!(seen("10.0.0.1", &["203.0.113.5"]).as_deref(), Some("203.0.113.5"));
        // The first entry was sent by the client itself.
        assert_eq!(seen("10.0.0.1", &["1.1.1.1, 203.0.113.5", "10.0.0.2"]).as_deref(), Some("203.0.113.5"));
        assert_eq!(seen("10.0.0.1", &["unknown"]).as_deref(), Some("10.0.0.1"));
        assert_eq!(seen("10.0.0.1", &[]).as_deref(), Some("10.0.0.1"));
        assert_eq!(seen("::ffff:10.0.0.1", &["203.0.113.5"]).as_deref(), Some("203.0.113.5"));
    }

    #[test]
    fn nobody_told_means_unknown() {
        assert_eq!(handshake(&parts("/ws"), &Config::new()).address, None);
    }
}
