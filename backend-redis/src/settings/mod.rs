//! What a backend is told of its server.

mod builder;
mod url;

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

pub use builder::RedisBuilder;
use fanfare_core::backend::blocks::{Room, Secret};
pub(crate) use url::parse;

/// Everything that is settled before the start.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) topology: Topology,
    /// `rediss://`.
    pub(crate) tls: bool,
    #[cfg(feature = "tls")]
    pub(crate) tls_config: Option<Arc<tokio_rustls::rustls::ClientConfig>>,
    pub(crate) credentials: Credentials,
    pub(crate) db: u32,
    pub(crate) prefix: String,
    /// A TCP connection is made within this time.
    pub(crate) connect_within: Duration,
    /// A server that is asked something says something within this time, or is given up.
    pub(crate) answer_within: Duration,
    /// A publish is acknowledged within this time.
    pub(crate) publish_within: Duration,
    /// How long a connection may be silent before it is asked.
    pub(crate) ping_every: Duration,
    /// What is held back while the server is away.
    pub(crate) buffer: Option<Room>,
    pub(crate) cluster_patterns: bool,
}

/// How the servers are arranged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Topology {
    Single(Address),
    Sentinel { sentinels: Vec<Address>, master: String, credentials: Credentials },
    Cluster(Vec<Address>),
}

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Address {
    Tcp(String, u16),
    Unix(PathBuf),
}

/// Who we are for a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Credentials {
    pub(crate) user: Option<String>,
    pub(crate) password: Option<Secret>,
}

impl Topology {
    /// The hosts that the URL names.
    pub(crate) fn hosts(&self) -> impl Iterator<Item = &str> {
        let addresses = match self {
            Self::Single(address) => std::slice::from_ref(address),
            Self::Sentinel { sentinels, .. } => sentinels,
            Self::Cluster(seeds) => seeds,
        };
        addresses.iter().filter_map(|address| match address {
            Address::Tcp(host, _) => Some(host.as_str()),
            Address::Unix(_) => None,
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp(host, port) => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}
