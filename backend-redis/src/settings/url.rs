//! Reads the URL of a server.

use std::path::PathBuf;

use fanfare_core::backend::{BackendError, BackendErrorKind};
use percent_encoding::percent_decode_str;

use super::{Address, Credentials, Secret, Topology};

/// The port of a Redis server, and of a Sentinel.
const REDIS_PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26_379;

/// What a URL says.
#[derive(Debug)]
pub(crate) struct Parsed {
    pub(crate) topology: Topology,
    pub(crate) tls: bool,
    pub(crate) credentials: Credentials,
    pub(crate) db: u32,
}

/// Reads a URL. Errors never quote it: it may hold a password.
pub(crate) fn parse(url: &str) -> Result<Parsed, BackendError> {
    read(url).map_err(|error| unescaped(url).unwrap_or(error))
}

/// The error of a URL with an `@` behind what ends the hosts: its login holds what had to be escaped.
fn unescaped(url: &str) -> Option<BackendError> {
    let (_, rest) = url.split_once("://")?;
    let end = rest.find(['/', '?', '#'])?;
    rest[end..].contains('@').then(|| {
        invalid(
            "percent-encode what is special in the login (/ is %2F, ? is %3F, # is %23, @ is %40), and name servers as host1,host2",
        )
    })
}

fn read(url: &str) -> Result<Parsed, BackendError> {
    let (scheme, rest) =
        url.split_once("://").ok_or_else(|| invalid("a URL begins with a scheme: redis://"))?;
    let (rest, fragment) = rest.split_once('#').unwrap_or((rest, ""));
    if !fragment.is_empty() {
        return Err(invalid("the URL has a fragment, which means nothing to Redis: redis://host:6379/0"));
    }
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (kind, tls) = match scheme {
        "redis" | "valkey" => (Kind::Single, false),
        "rediss" | "valkeys" => (Kind::Single, true),
        "redis+sentinel" | "valkey+sentinel" => (Kind::Sentinel, false),
        "rediss+sentinel" | "valkeys+sentinel" => (Kind::Sentinel, true),
        "redis-cluster" | "redis+cluster" | "valkey-cluster" => (Kind::Cluster, false),
        "rediss-cluster" | "rediss+cluster" | "valkeys-cluster" => (Kind::Cluster, true),
        "unix" | "redis+unix" | "valkey+unix" => (Kind::Unix, false),
        _ => {
            return Err(invalid(
                "the URL's scheme is none of redis, rediss, redis+sentinel, redis-cluster, redis+unix",
            ));
        }
    };
    let (authority, path) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    // A password may hold an `@` that was not escaped.
    let (user, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
    let mut credentials = credentials(user)?;
    let mut db = None;
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        match name {
            "db" => db = Some(database(value)?),
            "user" => credentials.user = Some(decode(value)?),
            "pass" | "password" => credentials.password = Some(Secret::new(decode(value)?)),
            // What other programs write into the same URL.
            "protocol" => {}
            _ => return Err(invalid("the URL's query holds something else than db, user and pass")),
        }
    }
    let mut segments = path.split('/').filter(|segment| !segment.is_empty());
    let topology = match kind {
        Kind::Unix => Topology::Single(Address::Unix(PathBuf::from(decode(path)?))),
        Kind::Single => {
            let mut addresses = addresses(hosts, REDIS_PORT)?;
            if addresses.len() > 1 {
                return Err(invalid("several servers are redis-cluster:// or redis+sentinel://"));
            }
            Topology::Single(addresses.remove(0))
        }
        Kind::Sentinel => {
            let master = segments.next().ok_or_else(|| {
                invalid("a Sentinel's URL names the master: redis+sentinel://host:26379/mymaster")
            })?;
            let master = decode(master)?;
            Topology::Sentinel {
                sentinels: addresses(hosts, SENTINEL_PORT)?,
                master,
                credentials: Credentials::default(),
            }
        }
        Kind::Cluster => Topology::Cluster(addresses(hosts, REDIS_PORT)?),
    };
    if kind != Kind::Unix
        && let Some(segment) = segments.next()
    {
        db = Some(database(segment)?);
    }
    let db = db.unwrap_or(0);
    if kind == Kind::Cluster && db != 0 {
        return Err(invalid("a Cluster has one database, 0"));
    }
    Ok(Parsed { topology, tls, credentials, db })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Single,
    Sentinel,
    Cluster,
    Unix,
}

fn credentials(text: &str) -> Result<Credentials, BackendError> {
    let (user, password) = match text.split_once(':') {
        Some((user, password)) => (user, Some(Secret::new(decode(password)?))),
        None => (text, None),
    };
    let user = if user.is_empty() { None } else { Some(decode(user)?) };
    Ok(Credentials { user, password })
}

/// `host`, `host:port`, `[v6]:port`, several with commas.
fn addresses(hosts: &str, port: u16) -> Result<Vec<Address>, BackendError> {
    hosts.split(',').map(|host| address(host, port)).collect()
}

pub(super) fn address(text: &str, port: u16) -> Result<Address, BackendError> {
    let (host, text) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, rest)) => (host, rest.strip_prefix(':')),
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    if host.is_empty() {
        return Err(invalid("the URL names no host"));
    }
    let port = match text {
        Some(text) => text.parse().map_err(|_| invalid("the URL's port is no number of 1 to 65535"))?,
        None => port,
    };
    Ok(Address::Tcp(decode(host)?, port))
}

fn database(text: &str) -> Result<u32, BackendError> {
    text.parse().map_err(|_| invalid("the URL's path is no number of a database: redis://host:6379/0"))
}

fn decode(text: &str) -> Result<String, BackendError> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded.map(Into::into).map_err(|_| invalid("the URL is not UTF-8"))
}

fn invalid(message: &'static str) -> BackendError {
    BackendError::new(BackendErrorKind::Configuration, "url", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(host: &str, port: u16) -> Address {
        Address::Tcp(host.into(), port)
    }

    #[test]
    fn urls_are_read() {
        let parsed = parse("redis://localhost").unwrap();
        assert_eq!(parsed.topology, Topology::Single(tcp("localhost", 6379)));
        assert_eq!((parsed.db, parsed.tls), (0, false));
        let parsed = parse("rediss://ann:p%40ss@[::1]:7000/3").unwrap();
        assert_eq!(parsed.topology, Topology::Single(tcp("::1", 7000)));
        assert_eq!((parsed.db, parsed.tls), (3, true));
        assert_eq!(parsed.credentials.user.as_deref(), Some("ann"));
        assert_eq!(parsed.credentials.password.unwrap().reveal(), "p@ss");
        let parsed = parse("redis://:secret@h/").unwrap();
        assert_eq!(parsed.credentials.user, None);
        let parsed = parse("redis+sentinel://a,b:5000/mymaster/2").unwrap();
        let Topology::Sentinel { sentinels, master, .. } = parsed.topology else { panic!() };
        assert_eq!((sentinels, master.as_str()), (vec![tcp("a", 26_379), tcp("b", 5000)], "mymaster"));
        assert_eq!(parsed.db, 2);
        let parsed = parse("redis-cluster://a:1,b:2").unwrap();
        assert_eq!(parsed.topology, Topology::Cluster(vec![tcp("a", 1), tcp("b", 2)]));
        let parsed = parse("redis+unix:///run/redis.sock?db=2&user=ann&pass=x").unwrap();
        assert_eq!(parsed.topology, Topology::Single(Address::Unix("/run/redis.sock".into())));
        assert_eq!(parsed.db, 2);
    }

    #[test]
    fn a_login_that_is_not_escaped_is_said() {
        for url in [
            "redis://u:hunter2/x@h",
            "redis://u:hunter2?x@h",
            "redis://u:hunter2#x@h",
            "redis://u:22/x@h:6379",
            "redis://u:22?x@h:6379",
            "redis://u:22#x@h:6379",
            "redis-cluster://u:22/x@h:1,i:2",
        ] {
            let error = parse(url).unwrap_err();
            assert!(error.message().contains("percent-encode"), "{url}: {error}");
            assert!(!format!("{error:?}").contains("hunter2"), "{url}");
        }
        let parsed = parse("redis+unix:///run/app@host.sock").unwrap();
        assert_eq!(
            parsed.topology,
            Topology::Single(Address::Unix("/run/app@host.sock".into())),
            "that is none"
        );
    }

    #[test]
    fn what_is_no_url_is_refused_without_quoting_it() {
        for url in [
            "",
            "localhost",
            "http://u:hunter2@h",
            "redis://u:hunter2@",
            "redis://u:hunter2@h:port",
            "redis://u:hunter2@h:70000",
            "redis://u:hunter2@h/zero",
            "redis://u:hunter2@a,b",
            "redis+sentinel://u:hunter2@h",
            "redis-cluster://u:hunter2@h/1",
            "redis://u:hunter2@h?x=y",
        ] {
            let error = parse(url).unwrap_err();
            assert_eq!(error.kind(), BackendErrorKind::Configuration, "{url}");
            assert!(!format!("{error:?} {error}").contains("hunter2"), "{url}");
        }
    }
}
