//! How a backend is configured.

use std::time::Duration;

use fanfare_core::backend::{BackendError, BackendErrorKind, blocks::address};

use super::{Address, Room, Secret, Settings, Topology, parse, url::SENTINEL_PORT};
use crate::RedisBackend;

/// A [`RedisBackend`] to be configured. Nothing is connected before the broker starts.
#[derive(Debug)]
#[must_use]
pub struct RedisBuilder {
    settings: Result<Settings, BackendError>,
}

impl RedisBuilder {
    pub(crate) fn new(url: &str) -> Self {
        let settings = parse(url).map(|parsed| Settings {
            topology: parsed.topology,
            tls: parsed.tls,
            #[cfg(feature = "tls")]
            tls_config: None,
            credentials: parsed.credentials,
            db: parsed.db,
            prefix: "fanfare:".to_owned(),
            connect_within: Duration::from_millis(500),
            answer_within: Duration::from_secs(3),
            publish_within: Duration::from_secs(4),
            ping_every: Duration::from_secs(2),
            buffer: None,
            cluster_patterns: false,
        });
        Self { settings }
    }

    /// What stands before the name of each key and channel: `fanfare:` unless set. Clusters of nodes with different prefixes
    /// share a server and nothing else.
    pub fn prefix(self, prefix: impl Into<String>) -> Self {
        let prefix = prefix.into();
        if prefix.contains(['{', '}']) {
            return self
                .fail("the prefix holds no braces: they decide in which slot of a Cluster a key lies");
        }
        self.set(|settings| settings.prefix = prefix)
    }

    /// The ACL user; `default` unless set here or in the URL.
    pub fn user(self, user: impl Into<String>) -> Self {
        let user = user.into();
        self.set(|settings| settings.credentials.user = Some(user))
    }

    /// The password.
    pub fn password(self, password: impl Into<String>) -> Self {
        let password = Secret::new(password.into());
        self.set(|settings| settings.credentials.password = Some(password))
    }

    /// The number of the database; 0 unless set here or in the URL. A Cluster has no other.
    pub fn database(self, db: u32) -> Self {
        match &self.settings {
            Ok(Settings { topology: Topology::Cluster(_), .. }) if db != 0 => {
                self.fail("a Cluster has one database, 0")
            }
            _ => self.set(|settings| settings.db = db),
        }
    }

    /// Follows the master of this name, asking these Sentinels (`host:port`), in place of the server that the URL names.
    pub fn sentinel<S: AsRef<str>>(
        self,
        sentinels: impl IntoIterator<Item = S>,
        master: impl Into<String>,
    ) -> Self {
        let address = |sentinel: S| address(sentinel.as_ref(), SENTINEL_PORT);
        let sentinels = sentinels
            .into_iter()
            .map(|sentinel| address(sentinel).map(|(host, port)| Address::Tcp(host, port)));
        let sentinels = sentinels.collect::<Result<_, _>>();
        match (&self.settings, sentinels) {
            (Err(_), _) => self,
            (_, Err(error)) => Self { settings: Err(error) },
            (Ok(_), Ok(sentinels)) => {
                let (master, credentials) = (master.into(), super::Credentials::default());
                self.set(|settings| {
                    settings.topology = Topology::Sentinel { sentinels, master, credentials };
                })
            }
        }
    }

    /// User and password for the Sentinels themselves; none unless set.
    pub fn sentinel_login(self, user: Option<&str>, password: impl Into<String>) -> Self {
        let login =
            super::Credentials { user: user.map(Into::into), password: Some(Secret::new(password.into())) };
        match &self.settings {
            Ok(Settings { topology: Topology::Sentinel { .. }, .. }) | Err(_) => self.set(|settings| {
                if let Topology::Sentinel { credentials, .. } = &mut settings.topology {
                    *credentials = login;
                }
            }),
            Ok(_) => self.fail("a login for Sentinels needs Sentinels: name them first"),
        }
    }

    /// How TLS is spoken: certificates of an authority of your own, or a client's certificate. For `rediss://` URLs, which
    /// trust the system's root certificates unless this is set.
    #[cfg(feature = "tls")]
    pub fn tls_config(self, config: std::sync::Arc<tokio_rustls::rustls::ClientConfig>) -> Self {
        self.set(|settings| {
            settings.tls = true;
            settings.tls_config = Some(config);
        })
    }

    /// How long making one TCP connection may take: 500 ms unless set.
    pub fn connect_within(self, limit: Duration) -> Self {
        self.set(|settings| settings.connect_within = limit.max(Duration::from_millis(1)))
    }

    /// How long a server that was asked something may be silent until its connection is given up: 3 s unless set.
    pub fn answer_within(self, limit: Duration) -> Self {
        self.set(|settings| settings.answer_within = limit.max(Duration::from_millis(1)))
    }

    /// How long a publish waits for its acknowledgement: 4 s unless set. After that its outcome is unknown.
    pub fn publish_within(self, limit: Duration) -> Self {
        self.set(|settings| settings.publish_within = limit.max(Duration::from_millis(1)))
    }

    /// How long a connection may be silent until it is tested: 2 s unless set.
    pub fn ping_every(self, every: Duration) -> Self {
        self.set(|settings| settings.ping_every = every.max(Duration::from_millis(10)))
    }

    /// Holds back what is published while the server is away, up to so many messages and bytes, and sends it when the server
    /// is back. Without it such publishes fail at once.
    ///
    /// A publish that is held back longer than [`publish_within`](Self::publish_within) still fails for its caller, with an
    /// unknown outcome: it may be sent later.
    pub fn publish_buffer(self, messages: usize, bytes: usize) -> Self {
        self.set(|settings| settings.buffer = Some(Room { messages, bytes }))
    }

    /// Sends each message on a Cluster a second time on a classic channel, which the Cluster carries to all its servers, so that
    /// patterns work there. Off unless set: it costs each server of the Cluster every message, and all nodes have to set it.
    pub fn cluster_patterns(self, yes: bool) -> Self {
        self.set(|settings| settings.cluster_patterns = yes)
    }

    /// The backend.
    ///
    /// # Errors
    ///
    /// [`BackendErrorKind::Configuration`]: what is wrong with the URL or the settings.
    pub fn build(self) -> Result<RedisBackend, BackendError> {
        let settings = self.settings?;
        #[cfg(not(feature = "tls"))]
        if settings.tls {
            let message = "rediss:// needs the feature `tls` of fanfare-redis";
            return Err(BackendError::new(BackendErrorKind::Configuration, "url", message));
        }
        Ok(RedisBackend::new(settings))
    }

    fn set(mut self, set: impl FnOnce(&mut Settings)) -> Self {
        if let Ok(settings) = &mut self.settings {
            set(settings);
        }
        self
    }

    fn fail(self, message: &'static str) -> Self {
        let error = BackendError::new(BackendErrorKind::Configuration, "settings", message);
        Self { settings: self.settings.and(Err(error)) }
    }
}
