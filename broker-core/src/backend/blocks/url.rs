//! URLs of servers.

use percent_encoding::percent_decode_str;

use super::Secret;
use crate::backend::{BackendError, BackendErrorKind};

/// What URLs of servers say: `scheme://user:password@host1:port,host2/path?name=value`.
///
/// ```
/// use fanfare_core::backend::blocks::ServerUrl;
///
/// // The second scheme means TLS.
/// let schemes = [("queue", false), ("queues", true)];
/// let url = ServerUrl::read("queues://ann:p%40ss@a,b:5000/", &schemes, Ok)?;
/// assert!(url.scheme && url.user.as_deref() == Some("ann"));
/// assert_eq!(url.addresses(4000)?, [("a".to_owned(), 4000), ("b".to_owned(), 5000)]);
/// # Ok::<(), fanfare_core::backend::BackendError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerUrl<S> {
    /// What the scheme means.
    pub scheme: S,
    /// Who logs in; `None` where nothing stands before the `:` or the `@`.
    pub user: Option<String>,
    /// The password; `None` where there is no `:`.
    pub password: Option<Secret>,
    /// What stands behind the hosts, with its `/`, as it was written; empty where that is nothing but `/`.
    pub path: String,
    /// The query: names and values, in their order.
    pub query: Vec<(String, String)>,
    hosts: Vec<(String, Option<u16>)>,
}

impl<S: Copy + PartialEq> ServerUrl<S> {
    /// Reads a URL, or several with commas between them: `a://host1,a://host2` is `a://host1,host2`. What they say beside their hosts
    /// stands in one of them, or in each the same. `schemes` are the known ones with what they mean, and `understand` makes of it
    /// what the caller wants.
    ///
    /// # Errors
    ///
    /// [`Configuration`](BackendErrorKind::Configuration): what is wrong with the URL, in words that do not quote it, for it may hold a
    /// password. So are the errors of `understand` to be; where special characters of a login were not escaped, that is said in
    /// place of what came of it.
    pub fn read<T>(
        text: &str,
        schemes: &[(&str, S)],
        understand: impl FnOnce(Self) -> Result<T, BackendError>,
    ) -> Result<T, BackendError> {
        let urls = apart(text, schemes);
        let read = urls.iter().map(|url| Self::one(url, schemes));
        let all = read.reduce(|all, url| all?.and(url?)).unwrap_or_else(|| Self::one(text, schemes));
        all.and_then(understand).map_err(|error| {
            if urls.iter().any(|url| is_unescaped(url)) { invalid(UNESCAPED) } else { error }
        })
    }

    fn one(url: &str, schemes: &[(&str, S)]) -> Result<Self, BackendError> {
        let (scheme, rest) = url
            .split_once("://")
            .ok_or_else(|| invalid(format!("a URL begins with a scheme, one of {}", names(schemes))))?;
        let (_, scheme) = *schemes
            .iter()
            .find(|(known, _)| *known == scheme)
            .ok_or_else(|| invalid(format!("the URL's scheme is none of {}", names(schemes))))?;
        let (rest, fragment) = rest.split_once('#').unwrap_or((rest, ""));
        if !fragment.is_empty() {
            return Err(invalid("the URL has a fragment, which means nothing to a server: leave it out"));
        }
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        // A password may hold an `@` that was not escaped.
        let (login, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
        let (user, password) = login.split_once(':').map_or((login, None), |(user, rest)| (user, Some(rest)));
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        let hosts = hosts.split(',').filter(|_| !hosts.is_empty());
        Ok(Self {
            scheme,
            user: Some(decoded(user)?).filter(|user| !user.is_empty()),
            password: password.map(|password| decoded(password).map(Secret::new)).transpose()?,
            path: path.trim_end_matches('/').to_owned(),
            query: pairs
                .map(|(name, value)| Ok((name.to_owned(), decoded(value)?)))
                .collect::<Result<_, _>>()?,
            hosts: hosts.map(host).collect::<Result<_, _>>()?,
        })
    }

    /// This URL and another one of a list.
    fn and(mut self, other: Self) -> Result<Self, BackendError> {
        if other.scheme != self.scheme {
            return Err(invalid("the URLs have schemes that mean different things: write all of them alike"));
        }
        let has_login = |url: &Self| url.user.is_some() || url.password.is_some();
        if !has_login(&self) {
            (self.user, self.password) = (other.user, other.password);
        } else if has_login(&other) && (&self.user, &self.password) != (&other.user, &other.password) {
            return Err(invalid("the URLs hold several logins: there is one for all servers"));
        }
        if self.path.is_empty() {
            self.path = other.path;
        } else if !other.path.is_empty() && other.path != self.path {
            return Err(invalid("the URLs have different paths: there is one for all servers"));
        }
        for pair in other.query {
            match self.query.iter().find(|(name, _)| *name == pair.0) {
                None => self.query.push(pair),
                Some(same) if *same == pair => {}
                Some(_) => {
                    return Err(invalid("the URLs have different queries: there is one for all servers"));
                }
            }
        }
        self.hosts.extend(other.hosts);
        Ok(self)
    }

    /// The servers, at least one: hosts and ports, with the usual port where none is given.
    ///
    /// # Errors
    ///
    /// [`Configuration`](BackendErrorKind::Configuration) where no host is named.
    pub fn addresses(&self, port: u16) -> Result<Vec<(String, u16)>, BackendError> {
        let of = |(host, given): &(String, Option<u16>)| (host.clone(), given.unwrap_or(port));
        if self.hosts.is_empty() { Err(invalid(NO_HOST)) } else { Ok(self.hosts.iter().map(of).collect()) }
    }

    /// The parts of the path, decoded.
    ///
    /// # Errors
    ///
    /// [`Configuration`](BackendErrorKind::Configuration) where they are not UTF-8.
    pub fn segments(&self) -> Result<Vec<String>, BackendError> {
        self.path.split('/').filter(|segment| !segment.is_empty()).map(decoded).collect()
    }
}

const NO_HOST: &str = "the URL names no host";

const UNESCAPED: &str = "percent-encode what is special in the login (/ is %2F, ? is %3F, # is %23, @ is %40), and name servers as host1,host2";

/// A server that stands alone: `host`, `host:port`, `[v6]:port`. With the usual port where none is given.
///
/// # Errors
///
/// [`Configuration`](BackendErrorKind::Configuration) where it is no such thing.
pub fn address(text: &str, port: u16) -> Result<(String, u16), BackendError> {
    host(text).map(|(host, given)| (host, given.unwrap_or(port)))
}

fn host(text: &str) -> Result<(String, Option<u16>), BackendError> {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, rest)) => (host, rest.strip_prefix(':')),
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    if host.is_empty() {
        return Err(invalid(NO_HOST));
    }
    let port = port.map(str::parse).transpose();
    Ok((decoded(host)?, port.map_err(|_| invalid("the URL's port is no number of 1 to 65535"))?))
}

/// The URLs of a list: a comma ends one where a scheme follows. Others are between hosts, or in a password.
fn apart<'a, S>(urls: &'a str, schemes: &[(&str, S)]) -> Vec<&'a str> {
    let (mut apart, mut begin) = (Vec::new(), 0);
    for (at, _) in urls.match_indices(',') {
        let follows = |(scheme, _): &(&str, S)| {
            urls[at + 1..].strip_prefix(scheme).is_some_and(|rest| rest.starts_with("://"))
        };
        if schemes.iter().any(follows) {
            apart.push(&urls[begin..at]);
            begin = at + 1;
        }
    }
    apart.push(&urls[begin..]);
    apart
}

/// Whether there is an `@` behind what ends the hosts: then the login holds what had to be escaped.
fn is_unescaped(url: &str) -> bool {
    let rest = url.split_once("://").map_or("", |(_, rest)| rest);
    rest.find(['/', '?', '#']).is_some_and(|end| rest[end..].contains('@'))
}

/// Text that was percent-encoded (RFC 3986, section 2.1).
fn decoded(text: &str) -> Result<String, BackendError> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded.map(Into::into).map_err(|_| invalid("the URL is not UTF-8"))
}

fn names<S>(schemes: &[(&str, S)]) -> String {
    schemes.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

fn invalid(message: impl Into<std::borrow::Cow<'static, str>>) -> BackendError {
    BackendError::new(BackendErrorKind::Configuration, "url", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEMES: [(&str, u8); 3] = [("one", 1), ("uno", 1), ("two", 2)];

    fn read(text: &str) -> Result<ServerUrl<u8>, BackendError> {
        ServerUrl::read(text, &SCHEMES, Ok)
    }

    fn at(host: &str, port: u16) -> (String, u16) {
        (host.to_owned(), port)
    }

    #[test]
    fn urls_are_read() {
        let url = read("one://ann:p%40s,s@[::1]:7000,b/a%20b/2?x=%26&y&z=/a@b").unwrap();
        assert_eq!((url.scheme, url.user.as_deref()), (1, Some("ann")));
        assert_eq!(url.password.as_ref().map(Secret::reveal), Some("p@s,s"));
        assert_eq!(url.addresses(80).unwrap(), [at("::1", 7000), at("b", 80)]);
        assert_eq!(url.segments().unwrap(), ["a b", "2"]);
        let query = [("x", "&"), ("y", ""), ("z", "/a@b")];
        assert_eq!(url.query, query.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let url = read("two://h/").unwrap();
        assert_eq!((url.scheme, url.user, url.password, url.path.as_str()), (2, None, None, ""));
        for (login, user, password) in
            [("u", Some("u"), None), (":p", None, Some("p")), ("u:", Some("u"), Some(""))]
        {
            let url = read(&format!("one://{login}@h")).unwrap();
            assert_eq!((url.user.as_deref(), url.password.as_ref().map(Secret::reveal)), (user, password));
        }
        let url = read("one:///run/a").unwrap();
        assert_eq!(url.path, "/run/a");
        assert!(url.addresses(80).unwrap_err().message().contains("no host"));
        assert_eq!(address("[::1]", 80).unwrap(), at("::1", 80));
    }

    #[test]
    fn several_are_read_as_one() {
        let url = read("one://a:1,uno://b,c:3").unwrap();
        assert_eq!(url.addresses(2).unwrap(), [at("a", 1), at("b", 2), at("c", 3)]);
        let whole = read("one://ann:a,b@a,b/x?y=z").unwrap();
        for urls in [
            "one://ann:a,b@a,one://b/x?y=z",
            "one://a/x?y=z,one://ann:a,b@b",
            "one://ann:a,b@a/x?y=z,uno://ann:a,b@b/x/?y=z",
        ] {
            assert_eq!(read(urls).unwrap(), whole, "{urls}");
        }
        for (urls, says) in [
            ("one://a,two://b", "alike"),
            ("one://x@a,one://y@b", "several logins"),
            ("one://x:p@a,one://x:q@b,one://c", "several logins"),
            ("one://a/x,one://b/y", "different paths"),
            ("one://a?x=1,one://b?x=2", "different queries"),
        ] {
            let error = read(urls).unwrap_err();
            assert!(error.message().contains(says), "{urls}: {error}");
        }
    }

    #[test]
    fn a_login_that_is_not_escaped_is_said() {
        for url in [
            "one://u:hunter2/x@h",
            "one://u:hunter2?x@h",
            "one://u:hunter2#x@h",
            "one://u:22/x@h:6379",
            "one://a,one://u:hunter2/x@h",
        ] {
            let failed = |_| Err::<(), _>(invalid("the path means nothing"));
            let error = ServerUrl::read(url, &SCHEMES, failed).unwrap_err();
            assert!(error.message().contains("percent-encode"), "{url}: {error}");
        }
    }

    #[test]
    fn what_is_no_url_is_refused_without_quoting_it() {
        for url in [
            "",
            "localhost",
            "http://u:hunter2@h",
            "one://u:hunter2@h:port",
            "one://u:hunter2@h:70000",
            "one://u:hunter2@a,,b",
            "one://u:hunter2@:80",
            "one://u:hunter2@h#x",
            "one://u:hunter2%ff@h",
            "one://u:hunter2@a,one://u:other@b",
        ] {
            let error = read(url).unwrap_err();
            assert_eq!(error.kind(), BackendErrorKind::Configuration, "{url}");
            assert!(!format!("{error:?} {error}").contains("hunter2"), "{url}");
        }
        assert!(!format!("{:?}", read("one://u:hunter2@h").unwrap()).contains("hunter2"));
    }
}
