//! Whose word on a client's address counts.

use std::net::{IpAddr, SocketAddr};

use http::{Extensions, HeaderMap, request::Parts};
use ipnet::IpNet;
use thiserror::Error;

/// Neither an IP address nor a range in CIDR notation.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("neither an IP address nor a range such as 10.0.0.0/8: {0:?}")]
pub struct InvalidProxy(String);

/// The proxies in front of a server. A connection that comes from one of them counts as coming from the last address in
/// `X-Forwarded-For` that is none of them. Nobody else's word is taken: the header is the client's to write.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    /// No proxy: every client is who connects. The default.
    #[must_use]
    pub const fn none() -> Self {
        Self(Vec::new())
    }

    /// These, each an address or a range in CIDR notation (RFC 4632), such as `127.0.0.1`, `10.0.0.0/8` or `fd00::/8`. An
    /// IPv4 address that is mapped into IPv6 is the IPv4 address.
    ///
    /// # Errors
    ///
    /// [`InvalidProxy`] for what is neither.
    pub fn new<I>(proxies: I) -> Result<Self, InvalidProxy>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let parse = |text: &str| range(text).ok_or_else(|| InvalidProxy(text.to_owned()));
        proxies.into_iter().map(|text| parse(text.as_ref())).collect::<Result<_, _>>().map(Self)
    }

    /// Where the client of a request is: the peer, which the extension `SocketAddr` or, with the feature `axum`,
    /// `ConnectInfo<SocketAddr>` names; or what a trusted proxy says of its own peer. `None` when no server has told.
    #[must_use]
    pub fn client(&self, request: &Parts) -> Option<IpAddr> {
        let peer = peer(&request.extensions)?.ip().to_canonical();
        if self.trusts(peer) { Some(self.forwarded(&request.headers).unwrap_or(peer)) } else { Some(peer) }
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|range| range.contains(&address))
    }

    /// The last address of `X-Forwarded-For` that is no trusted proxy's: what is before it may be the client's invention.
    fn forwarded(&self, headers: &HeaderMap) -> Option<IpAddr> {
        let lines = headers.get_all("x-forwarded-for").iter().rev();
        for line in lines {
            for part in line.to_str().ok()?.rsplit(',') {
                let address = part.trim().parse::<IpAddr>().ok()?.to_canonical();
                if !self.trusts(address) {
                    return Some(address);
                }
            }
        }
        None
    }
}

fn peer(extensions: &Extensions) -> Option<SocketAddr> {
    #[cfg(feature = "axum")]
    if let Some(axum::extract::ConnectInfo(peer)) = extensions.get() {
        return Some(*peer);
    }
    extensions.get().copied()
}

fn range(text: &str) -> Option<IpNet> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(address.to_canonical().into());
    }
    let range = text.parse::<IpNet>().ok()?;
    match (range, range.addr().to_canonical()) {
        (IpNet::V6(mapped), IpAddr::V4(address)) => {
            IpNet::new(IpAddr::V4(address), mapped.prefix_len().checked_sub(96)?).ok()
        }
        _ => Some(range),
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn seen(proxies: &TrustedProxies, peer: &str, forwarded: &[&str]) -> Option<String> {
        let mut parts = Request::get("/").body(()).unwrap().into_parts().0;
        parts.extensions.insert(SocketAddr::new(peer.parse().unwrap(), 1));
        for line in forwarded {
            parts.headers.append("x-forwarded-for", line.parse().unwrap());
        }
        proxies.client(&parts).map(|address| address.to_string())
    }

    #[test]
    fn only_a_trusted_proxy_is_believed() {
        let proxies = TrustedProxies::new(["10.0.0.1", "::ffff:10.0.0.2"]).unwrap();
        let seen = |peer, forwarded: &[&str]| seen(&proxies, peer, forwarded);
        assert_eq!(seen("192.0.2.9", &["203.0.113.5"]).as_deref(), Some("192.0.2.9"));
        assert_eq!(seen("10.0.0.1", &["203.0.113.5"]).as_deref(), Some("203.0.113.5"));
        // The first entry was sent by the client itself.
        assert_eq!(seen("10.0.0.1", &["1.1.1.1, 203.0.113.5", "10.0.0.2"]).as_deref(), Some("203.0.113.5"));
        assert_eq!(seen("10.0.0.1", &["unknown"]).as_deref(), Some("10.0.0.1"));
        assert_eq!(seen("10.0.0.1", &[]).as_deref(), Some("10.0.0.1"));
        assert_eq!(seen("::ffff:10.0.0.1", &["203.0.113.5"]).as_deref(), Some("203.0.113.5"));
    }

    #[test]
    fn a_range_is_trusted_as_a_whole_and_no_further() {
        let proxies = TrustedProxies::new(["10.1.0.0/16", "fd00::/8", "::ffff:192.0.2.0/120"]).unwrap();
        let seen = |peer| seen(&proxies, peer, &["203.0.113.5, 10.1.255.255"]);
        for inside in ["10.1.0.0", "10.1.9.9", "fd00::9", "192.0.2.7", "::ffff:10.1.0.1"] {
            assert_eq!(seen(inside).as_deref(), Some("203.0.113.5"), "{inside}");
        }
        for outside in ["10.2.0.0", "fe80::1", "192.0.3.1"] {
            assert_eq!(seen(outside).as_deref(), Some(outside));
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in ["", "proxy", "10.0.0.0/33", "10.0.0.0/", "10.0.0", "::ffff:10.0.0.0/64"] {
            assert_eq!(TrustedProxies::new([text]), Err(InvalidProxy(text.to_owned())));
        }
    }
}
