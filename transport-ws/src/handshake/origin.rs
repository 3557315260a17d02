//! Which pages may connect (RFC 6455, section 10.2; RFC 6454).

use http::HeaderValue;
use thiserror::Error;

/// An origin that is not `scheme://host` or `scheme://host:port`.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("not an origin of the form scheme://host or scheme://host:port: {0:?}")]
pub struct InvalidOrigin(String);

/// The origins that are admitted. A request without an `Origin` header comes from no page and is not held against them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origins {
    /// That of the host which the request went to.
    SameHost,
    /// Exactly these.
    List(Vec<Origin>),
    /// All.
    Any,
}

impl Origins {
    pub(crate) fn list<I>(origins: I) -> Result<Self, InvalidOrigin>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let parse = |text: &str| Origin::parse(text).ok_or_else(|| InvalidOrigin(text.to_owned()));
        origins.into_iter().map(|text| parse(text.as_ref())).collect::<Result<_, _>>().map(Self::List)
    }

    /// Whether a page of `origin` may connect by a request that was sent to `host`.
    pub(super) fn admit(&self, origin: &HeaderValue, host: &HeaderValue) -> bool {
        let parsed = || origin.to_str().ok().and_then(Origin::parse);
        match self {
            Self::Any => true,
            Self::List(admitted) => parsed().is_some_and(|origin| admitted.contains(&origin)),
            // Behind a proxy that ends TLS the request's own scheme is unknown, so the page's stands for both.
            Self::SameHost => parsed().zip(host.to_str().ok()).is_some_and(|(origin, host)| {
                without_default_port(&host.to_ascii_lowercase(), &origin.scheme) == origin.host
            }),
        }
    }
}

/// A page's origin: in lower case, and without the port that its scheme implies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin {
    scheme: String,
    /// With the port, when it is not the scheme's own.
    host: String,
}

impl Origin {
    fn parse(text: &str) -> Option<Self> {
        let (scheme, host) = text.split_once("://")?;
        let named = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
        let is_host = |byte: u8| byte.is_ascii_graphic() && !b"/?#@\\".contains(&byte);
        if scheme.is_empty() || host.is_empty() || !scheme.bytes().all(named) || !host.bytes().all(is_host) {
            return None;
        }
        let scheme = scheme.to_ascii_lowercase();
        let host = without_default_port(&host.to_ascii_lowercase(), &scheme).to_owned();
        Some(Self { scheme, host })
    }
}

fn without_default_port<'a>(host: &'a str, scheme: &str) -> &'a str {
    let port = match scheme {
        "http" | "ws" => ":80",
        "https" | "wss" => ":443",
        _ => return host,
    };
    host.strip_suffix(port).unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admits(origins: &Origins, origin: &str, host: &str) -> bool {
        origins.admit(&HeaderValue::try_from(origin).unwrap(), &HeaderValue::try_from(host).unwrap())
    }

    #[test]
    fn the_same_host_is_the_same_name_and_port() {
        let same = |origin, host| admits(&Origins::SameHost, origin, host);
        assert!(same("http://localhost:3000", "localhost:3000"));
        assert!(same("https://App.Example", "app.example"));
        assert!(same("https://app.example", "app.example:443"));
        assert!(same("http://app.example:80", "app.example"));
        assert!(same("http://[::1]:3000", "[::1]:3000"));

        assert!(!same("http://localhost:5173", "localhost:3000"));
        assert!(!same("https://app.example", "app.example:80"));
        assert!(!same("https://evil.example", "app.example"));
        assert!(!same("https://app.example.evil.example", "app.example"));
        assert!(!same("https://evil.example/app.example", "app.example"));
        assert!(!same("https://app.example@evil.example", "app.example"));
        assert!(!same("null", "app.example"));
        assert!(!same("", "app.example"));
    }

    #[test]
    fn a_list_is_exact() {
        let list = Origins::list(["https://app.example", "http://localhost:5173"]).unwrap();
        assert!(admits(&list, "https://APP.example:443", "other.example"));
        assert!(admits(&list, "http://localhost:5173", "other.example"));
        assert!(!admits(&list, "http://app.example", "app.example"));
        assert!(!admits(&list, "https://sub.app.example", "app.example"));
        assert!(!admits(&list, "https://other.example", "other.example"));
    }

    #[test]
    fn a_list_takes_only_origins() {
        for text in ["app.example", "https://", "https://app.example/", "://app", "https://a b", "*"] {
            assert_eq!(Origins::list([text]), Err(InvalidOrigin(text.to_owned())));
        }
    }
}
