//! Reads the URL of a server.

use std::path::PathBuf;

use fanfare_core::backend::{BackendError, BackendErrorKind, blocks::ServerUrl};

use super::{Address, Credentials, Secret, Topology};

/// The port of a Redis server, and of a Sentinel.
const REDIS_PORT: u16 = 6379;
pub(super) const SENTINEL_PORT: u16 = 26_379;

/// What a URL begins with, how the servers are arranged then, and whether TLS is spoken.
const SCHEMES: [(&str, (Kind, bool)); 17] = [
    ("redis", (Kind::Single, false)),
    ("rediss", (Kind::Single, true)),
    ("redis+sentinel", (Kind::Sentinel, false)),
    ("rediss+sentinel", (Kind::Sentinel, true)),
    ("redis-cluster", (Kind::Cluster, false)),
    ("rediss-cluster", (Kind::Cluster, true)),
    ("redis+cluster", (Kind::Cluster, false)),
    ("rediss+cluster", (Kind::Cluster, true)),
    ("redis+unix", (Kind::Unix, false)),
    ("unix", (Kind::Unix, false)),
    ("valkey", (Kind::Single, false)),
    ("valkeys", (Kind::Single, true)),
    ("valkey+sentinel", (Kind::Sentinel, false)),
    ("valkeys+sentinel", (Kind::Sentinel, true)),
    ("valkey-cluster", (Kind::Cluster, false)),
    ("valkeys-cluster", (Kind::Cluster, true)),
    ("valkey+unix", (Kind::Unix, false)),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Single,
    Sentinel,
    Cluster,
    Unix,
}

/// What a URL says.
#[derive(Debug)]
pub(crate) struct Parsed {
    pub(crate) topology: Topology,
    pub(crate) tls: bool,
    pub(crate) credentials: Credentials,
    pub(crate) db: u32,
}

/// Reads a URL, or several with commas between them. Errors never quote them: they may hold a password.
pub(crate) fn parse(urls: &str) -> Result<Parsed, BackendError> {
    ServerUrl::read(urls, &SCHEMES, understand)
}

fn understand(url: ServerUrl<(Kind, bool)>) -> Result<Parsed, BackendError> {
    let (kind, tls) = url.scheme;
    let mut segments = url.segments()?.into_iter();
    let tcp =
        |port| Ok(url.addresses(port)?.into_iter().map(|(host, port)| Address::Tcp(host, port)).collect());
    let topology = match kind {
        Kind::Unix => Topology::Single(Address::Unix(
            segments.by_ref().fold("/".into(), |path: PathBuf, name| path.join(name)),
        )),
        Kind::Single => {
            let servers: Vec<_> = tcp(REDIS_PORT)?;
            let [server] = <[_; 1]>::try_from(servers).map_err(|_| invalid(SEVERAL))?;
            Topology::Single(server)
        }
        Kind::Sentinel => {
            let master = segments.next().ok_or_else(|| {
                invalid("a Sentinel's URL names the master: redis+sentinel://host:26379/mymaster")
            })?;
            Topology::Sentinel { sentinels: tcp(SENTINEL_PORT)?, master, credentials: Credentials::default() }
        }
        Kind::Cluster => Topology::Cluster(tcp(REDIS_PORT)?),
    };
    let mut db = segments.next().map_or(Ok(0), |segment| database(&segment))?;
    let mut credentials = Credentials { user: url.user, password: url.password };
    for (name, value) in url.query {
        match name.as_str() {
            "db" => db = database(&value)?,
            "user" => credentials.user = Some(value),
            "pass" | "password" => credentials.password = Some(Secret::new(value)),
            // What other programs write into the same URL.
            "protocol" => {}
            _ => return Err(invalid("the URL's query holds something else than db, user and pass")),
        }
    }
    if kind == Kind::Cluster && db != 0 {
        return Err(invalid("a Cluster has one database, 0"));
    }
    Ok(Parsed { topology, tls, credentials, db })
}

const SEVERAL: &str = "a redis:// URL names one server: several are a Cluster (redis-cluster://a,b), or Sentinels with the name of their master (redis+sentinel://a,b/mymaster)";

fn database(text: &str) -> Result<u32, BackendError> {
    text.parse().map_err(|_| invalid("the URL's path is no number of a database: redis://host:6379/0"))
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
    fn several_urls_are_read_as_one() {
        let ann = Credentials { user: Some("ann".into()), password: Some(Secret::new("a,b")) };
        for urls in [
            "rediss-cluster://ann:a,b@a:1,valkeys-cluster://b/",
            "rediss+cluster://a:1,rediss+cluster://ann:a,b@b/0",
        ] {
            let parsed = parse(urls).unwrap();
            assert_eq!(parsed.topology, Topology::Cluster(vec![tcp("a", 1), tcp("b", 6379)]), "{urls}");
            assert_eq!((parsed.tls, &parsed.credentials), (true, &ann), "{urls}");
        }
        for urls in [
            "redis+sentinel://a,redis+sentinel://b:5000/m/2",
            "redis+sentinel://a/m/2,redis+sentinel://b:5000/m/2",
        ] {
            let parsed = parse(urls).unwrap();
            let Topology::Sentinel { sentinels, master, .. } = parsed.topology else { panic!("{urls}") };
            assert_eq!(
                (sentinels, master.as_str(), parsed.db),
                (vec![tcp("a", 26_379), tcp("b", 5000)], "m", 2)
            );
        }
        for (urls, says) in [
            ("redis://a:6379,redis://b:6379", "redis-cluster://a,b"),
            ("redis://a:6379,b:6379", "redis-cluster://a,b"),
            ("redis-cluster://a,redis://b", "alike"),
            ("redis-cluster://a,rediss-cluster://b", "alike"),
            ("redis-cluster://:x@a,redis-cluster://:y@b", "several logins"),
            ("redis+sentinel://a/m,redis+sentinel://b/other", "different paths"),
        ] {
            let error = parse(urls).unwrap_err();
            assert!(error.message().contains(says), "{urls}: {error}");
        }
    }

    #[test]
    fn a_login_that_is_not_escaped_is_said() {
        let error = parse("redis://u:22/x@h:6379").unwrap_err();
        assert!(error.message().contains("percent-encode"), "what came of it was a database: {error}");
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
