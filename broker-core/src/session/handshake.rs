//! What is known of a client before it has said anything.

use std::{fmt, net::IpAddr, sync::Arc};

use crate::policy::Identity;

/// What a transport knows of a client when it connects: where it comes from and
/// what its request said. Values may be secrets, so `Debug` shows names alone.
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct Handshake {
    /// The transport's name, such as `ws`.
    pub transport: &'static str,
    /// The client's address; behind a trusted proxy the one that the proxy told.
    pub address: Option<IpAddr>,
    /// The path of the request.
    pub path: String,
    /// A credential that came with the request or with the `connect` command.
    pub token: Option<String>,
    headers: Vec<(String, String)>,
    query: Vec<(String, String)>,
    refreshes: Option<Arc<Identity>>,
}

impl Handshake {
    /// The handshake of a transport.
    #[must_use]
    pub fn new(transport: &'static str) -> Self {
        Self { transport, ..Self::default() }
    }

    /// Adds a header; its name is kept in lower case.
    #[must_use]
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into().to_ascii_lowercase(), value.into()));
        self
    }

    /// Adds a query parameter, decoded.
    #[must_use]
    pub fn with_query(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.query.push((name.into(), value.into()));
        self
    }

    /// Sets the credential.
    #[must_use]
    pub fn with_token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into());
        self
    }

    /// Sets the client's address.
    #[must_use]
    pub fn with_address(mut self, address: IpAddr) -> Self {
        self.address = Some(address);
        self
    }

    /// Sets the path of the request.
    #[must_use]
    pub fn with_path(mut self, path: impl Into<String>) -> Self {
        self.path = path.into();
        self
    }

    pub(super) fn refreshing(mut self, identity: Arc<Identity>) -> Self {
        self.refreshes = Some(identity);
        self
    }

    /// Who the client is so far, when it is admitted already and brings a new token ([`Command::Refresh`](super::Command::Refresh)).
    /// Nothing else is known then but the token and the transport: what the first request said is not kept.
    #[must_use]
    pub fn refreshes(&self) -> Option<&Identity> {
        self.refreshes.as_deref()
    }

    /// The first header of a name, which is compared without case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, |n| n.eq_ignore_ascii_case(name))
    }

    /// The first query parameter of a name.
    #[must_use]
    pub fn query(&self, name: &str) -> Option<&str> {
        find(&self.query, |n| n == name)
    }

    /// A cookie of the request (RFC 6265, section 5.4).
    #[must_use]
    pub fn cookie(&self, name: &str) -> Option<&str> {
        let cookies = self.headers.iter().filter(|(n, _)| n == "cookie").flat_map(|(_, v)| v.split(';'));
        cookies.filter_map(|pair| pair.trim().split_once('=')).find(|(n, _)| *n == name).map(|(_, v)| v)
    }

    /// The credential, wherever the client put it: the `connect` command or the
    /// transport's own place, `Authorization: Bearer`, the query parameter
    /// `token`, the cookie `token`; in this order.
    #[must_use]
    pub fn credential(&self) -> Option<&str> {
        let bearer = || {
            let (scheme, token) = self.header("authorization")?.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
        };
        self.token.as_deref().or_else(bearer).or_else(|| self.query("token")).or_else(|| self.cookie("token"))
    }
}

fn find(pairs: &[(String, String)], is: impl Fn(&str) -> bool) -> Option<&str> {
    pairs.iter().find(|(name, _)| is(name)).map(|(_, value)| value.as_str())
}

impl fmt::Debug for Handshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn names(pairs: &[(String, String)]) -> Vec<&str> {
            pairs.iter().map(|(name, _)| name.as_str()).collect()
        }
        f.debug_struct("Handshake")
            .field("transport", &self.transport)
            .field("address", &self.address)
            .field("path", &self.path)
            .field("token", &self.token.as_ref().map(|_| "[redacted]"))
            .field("headers", &names(&self.headers))
            .field("query", &names(&self.query))
            .field("refreshes", &self.refreshes)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_is_found_wherever_it_is_and_never_shown() {
        let cookie = Handshake::new("ws").with_header("Cookie", "a=1; token=secret1; b=2");
        assert_eq!(cookie.credential(), Some("secret1"));
        let query = cookie.with_query("token", "secret2");
        assert_eq!(query.credential(), Some("secret2"));
        let bearer = query.with_header("Authorization", "bearer secret3");
        assert_eq!(bearer.credential(), Some("secret3"));
        let token = bearer.with_token("secret4");
        assert_eq!(token.credential(), Some("secret4"));
        assert!(!format!("{token:?}").contains("secret"), "{token:?}");
    }
}
