//! What a backend is told of its servers.

mod builder;
mod url;

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

pub use builder::NatsBuilder;
use fanfare_core::backend::blocks::{Room, Secret};
pub(crate) use url::parse;

/// Everything that is settled before the start.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) servers: Vec<Address>,
    /// TLS is spoken also where the server does not ask for it.
    pub(crate) tls: bool,
    #[cfg(feature = "tls")]
    pub(crate) tls_config: Option<Arc<tokio_rustls::rustls::ClientConfig>>,
    pub(crate) roots: Option<PathBuf>,
    pub(crate) certificate: Option<(PathBuf, PathBuf)>,
    pub(crate) login: Login,
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
    pub(crate) logs: LogSettings,
}

/// How logs are kept.
#[derive(Clone, Debug)]
pub(crate) struct LogSettings {
    pub(crate) streams: Streams,
    pub(crate) storage: Storage,
    pub(crate) replicas: usize,
    pub(crate) domain: Option<String>,
}

/// Who makes the streams that hold logs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Streams {
    /// The backend: it creates a stream where there is none, raises its limits where a topic's configuration asks for it, and
    /// replaces one that has lost its end.
    #[default]
    Managed,
    /// The operator: the backend uses the stream that it finds, and says what is wrong with it.
    Checked,
}

/// Where a stream that the backend creates keeps its messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Storage {
    /// On disk.
    #[default]
    File,
    /// In the server's memory: a restart begins all logs anew, and says so.
    Memory,
}

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Address {
    pub(crate) host: String,
    pub(crate) port: u16,
}

/// Who we are for a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Login {
    #[default]
    Nobody,
    User {
        user: String,
        password: Secret,
    },
    Token(Secret),
    Nkey(Secret),
    /// The text of a credentials file: a JWT and the seed of its key.
    Credentials(Secret),
    /// The same in a file, which is read for each connection, for it may be renewed.
    CredentialsFile(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self { host, port } => write!(f, "{host}:{port}"),
        }
    }
}
