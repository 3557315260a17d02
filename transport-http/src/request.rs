//! What a policy may know of a request.

use std::borrow::Cow;

use fanfare_core::session::Handshake;
use http::request::Parts;
use percent_encoding::percent_decode_str;

use crate::TrustedProxies;

/// Tells the core what a request said; `transport` is for policies and hooks to know by which way it came. Headers that
/// are not ASCII are left out.
#[must_use]
pub fn handshake(request: &Parts, transport: &'static str, proxies: &TrustedProxies) -> Handshake {
    let mut handshake = Handshake::new(transport).with_path(request.uri.path());
    if let Some(address) = proxies.client(request) {
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

/// A request's query, decoded as HTML forms encode it
/// (<https://url.spec.whatwg.org/#concept-urlencoded-parser>): pairs of name and value, in their order. What is not UTF-8 is
/// replaced.
pub fn query(request: &Parts) -> impl Iterator<Item = (String, String)> {
    raw_query(request).map(|(name, value)| (decoded(name), decoded(value)))
}

/// The same with `None` in place of what is not UTF-8.
pub(crate) fn exact_query(request: &Parts) -> impl Iterator<Item = (Option<String>, Option<String>)> {
    let exact = |text: &str| percent_decode_str(&spaced(text)).decode_utf8().ok().map(Cow::into_owned);
    raw_query(request).map(move |(name, value)| (exact(name), exact(value)))
}

fn raw_query(request: &Parts) -> impl Iterator<Item = (&str, &str)> {
    let pairs = request.uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

fn decoded(text: &str) -> String {
    percent_decode_str(&spaced(text)).decode_utf8_lossy().into_owned()
}

fn spaced(text: &str) -> Cow<'_, str> {
    if text.contains('+') { text.replace('+', " ").into() } else { text.into() }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn parts(uri: &str) -> Parts {
        Request::get(uri).header("X-Name", "value").body(()).unwrap().into_parts().0
    }

    #[test]
    fn the_query_is_decoded() {
        let request = parts("/ws?topic=chat.a%20b&token=a+b%2Bc&flag&empty=&=x");
        let handshake = handshake(&request, "ws", &TrustedProxies::none());
        assert_eq!(handshake.query("topic"), Some("chat.a b"));
        assert_eq!(handshake.query("flag"), Some(""));
        assert_eq!(handshake.credential(), Some("a b+c"));
        assert_eq!(handshake.path, "/ws");
        assert_eq!(handshake.header("x-name"), Some("value"));
        assert_eq!(handshake.transport, "ws");
    }

    #[test]
    fn nobody_told_means_unknown() {
        assert_eq!(handshake(&parts("/ws"), "ws", &TrustedProxies::none()).address, None);
    }
}
