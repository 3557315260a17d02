//! Which pages may send requests (RFC 6454; for WebSocket RFC 6455, section 10.2).

use http::{HeaderMap, HeaderValue, header, request::Parts};
use thiserror::Error;

/// An origin that is not `scheme://host` or `scheme://host:port`.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("not an origin of the form scheme://host or scheme://host:port: {0:?}")]
pub struct InvalidOrigin(String);

/// The pages whose requests are admitted, by their origin. A request without an `Origin` header comes from no page of
/// another origin, or from no page at all, and is not held against them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Origins(Admitted);

#[derive(Debug, Clone, PartialEq, Eq, Default)]
enum Admitted {
    #[default]
    SameHost,
    List(Vec<Origin>),
    Any,
}

impl Origins {
    /// That of the host which a request went to: its name and port as in `Host` or `:authority`. The default.
    #[must_use]
    pub const fn same_host() -> Self {
        Self(Admitted::SameHost)
    }

    /// Exactly these, each as `scheme://host` or `scheme://host:port`, and no other, so also no longer the same host's.
    ///
    /// # Errors
    ///
    /// [`InvalidOrigin`] for one that is not of that form.
    pub fn list<I>(origins: I) -> Result<Self, InvalidOrigin>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let parse = |text: &str| Origin::parse(text).ok_or_else(|| InvalidOrigin(text.to_owned()));
        let origins = origins.into_iter().map(|text| parse(text.as_ref())).collect::<Result<_, _>>()?;
        Ok(Self(Admitted::List(origins)))
    }

    /// All. With cookies as credentials this lets any page that a user visits act as the user.
    #[must_use]
    pub const fn any() -> Self {
        Self(Admitted::Any)
    }

    /// Whether the page that sent a request is admitted. A request with several origins comes from none that is. Where no
    /// origin is said or asked for by name, a browser's own word counts that the request crosses sites (`Sec-Fetch-Site`,
    /// <https://www.w3.org/TR/fetch-metadata/>).
    #[must_use]
    pub fn admit(&self, request: &Parts) -> bool {
        let mut origins = request.headers.get_all(header::ORIGIN).iter();
        let origin = origins.next();
        match (&self.0, origin) {
            (Admitted::Any, _) => true,
            _ if origins.next().is_some() => false,
            (Admitted::List(admitted), Some(origin)) => {
                parsed(origin).is_some_and(|origin| admitted.contains(&origin))
            }
            _ if crosses_sites(request) => false,
            (_, None) => true,
            // Behind a proxy that ends TLS the request's own scheme is unknown, so the page's stands for both.
            (Admitted::SameHost, Some(origin)) => {
                parsed(origin).zip(host(request)).is_some_and(|(origin, host)| {
                    without_default_port(&host.to_ascii_lowercase(), &origin.scheme) == origin.host
                })
            }
        }
    }
}

fn parsed(origin: &HeaderValue) -> Option<Origin> {
    origin.to_str().ok().and_then(Origin::parse)
}

fn crosses_sites(request: &Parts) -> bool {
    request.headers.get("sec-fetch-site").is_some_and(|site| site == "cross-site")
}

/// The host that a request went to: in HTTP/2 it may be part of the target alone (RFC 9113, section 8.3.1).
fn host(request: &Parts) -> Option<&str> {
    fn only(headers: &HeaderMap) -> Option<&str> {
        let mut hosts = headers.get_all(header::HOST).iter();
        let host = hosts.next()?;
        if hosts.next().is_some() { None } else { host.to_str().ok() }
    }
    request.uri.authority().map(http::uri::Authority::as_str).or_else(|| only(&request.headers))
}

/// A page's origin: in lower case, and without the port that its scheme implies.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Origin {
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
    use http::Request;

    use super::*;

    fn request(origin: &str, host: &str) -> Parts {
        let request = Request::get("/").header(header::HOST, host).header(header::ORIGIN, origin);
        request.body(()).unwrap().into_parts().0
    }

    fn admits(origins: &Origins, origin: &str, host: &str) -> bool {
        origins.admit(&request(origin, host))
    }

    #[test]
    fn the_same_host_is_the_same_name_and_port() {
        let same = |origin, host| admits(&Origins::same_host(), origin, host);
        assert!(same("http://localhost:3000", "localhost:3000"));
        assert!(same("https://App.Example", "app.example"));
        assert!(same("https://app.example", "app.example:443"));
        assert!(same("http://app.example:80", "app.example"));
        assert!(same("http://[::1]:3000", "[::1]:3000"));

        assert!(!same("http://localhost:5173", "localhost:3000"));
        assert!(!same("https://app.example", "app.example:80"));
        assert!(!same("https://evil.example", "app.example"));
        assert!(!same("https://app.example", "evil.example"));
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

    #[test]
    fn http2_names_the_host_in_its_target() {
        let request = |origin: &str| {
            let request = Request::get("https://app.example/events").header(header::ORIGIN, origin);
            request.body(()).unwrap().into_parts().0
        };
        assert!(Origins::same_host().admit(&request("https://app.example")));
        assert!(!Origins::same_host().admit(&request("https://evil.example")));
    }

    #[test]
    fn a_browser_that_says_it_crosses_sites_is_believed() {
        let crossing = |origin: Option<&str>| {
            let mut parts = request("https://app.example", "app.example");
            parts.headers.insert("sec-fetch-site", "cross-site".parse().unwrap());
            match origin {
                Some(origin) => parts.headers.insert(header::ORIGIN, origin.parse().unwrap()),
                None => parts.headers.remove(header::ORIGIN),
            };
            parts
        };
        let list = Origins::list(["https://other.example"]).unwrap();
        // An image or a link of a foreign page.
        assert!(!Origins::same_host().admit(&crossing(None)));
        assert!(!list.admit(&crossing(None)));
        // The same host over plain HTTP.
        assert!(!Origins::same_host().admit(&crossing(Some("http://app.example"))));
        assert!(list.admit(&crossing(Some("https://other.example"))));
        assert!(Origins::any().admit(&crossing(None)));
    }

    #[test]
    fn no_origin_is_no_page_and_two_are_none() {
        let mut parts = request("https://app.example", "app.example");
        parts.headers.append(header::ORIGIN, "https://app.example".parse().unwrap());
        assert!(!Origins::same_host().admit(&parts));
        assert!(Origins::any().admit(&parts));
        parts.headers.remove(header::ORIGIN);
        assert!(Origins::same_host().admit(&parts));
        assert!(Origins::list(["https://other.example"]).unwrap().admit(&parts));
    }
}
