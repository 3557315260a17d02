//! How a backend is configured.

use std::{path::PathBuf, time::Duration};

use fanfare_core::backend::{BackendError, BackendErrorKind};

use super::{LogSettings, Login, Room, Secret, Settings, Storage, Streams, parse, url};
use crate::NatsBackend;

/// How long a prefix may be: bytes. It is a part of each subject and of the streams' names.
const MAX_PREFIX: usize = 64;

/// A [`NatsBackend`] to be configured. Nothing is connected before the broker starts.
#[derive(Debug)]
#[must_use]
pub struct NatsBuilder {
    settings: Result<Settings, BackendError>,
}

impl NatsBuilder {
    pub(crate) fn new(url: &str) -> Self {
        let settings = parse(url).map(|parsed| Settings {
            servers: parsed.servers,
            tls: parsed.tls,
            #[cfg(feature = "tls")]
            tls_config: None,
            roots: None,
            certificate: None,
            login: parsed.login,
            prefix: "fanfare".to_owned(),
            connect_within: Duration::from_millis(500),
            answer_within: Duration::from_secs(3),
            publish_within: Duration::from_secs(4),
            ping_every: Duration::from_secs(2),
            buffer: None,
            logs: LogSettings {
                streams: Streams::default(),
                storage: Storage::default(),
                replicas: 1,
                domain: None,
            },
        });
        Self { settings }
    }

    /// The first token of each subject, and the beginning of each stream's name: `fanfare` unless set. Letters, digits, `-` and `_`.
    /// Clusters of nodes with different prefixes share a server and nothing else.
    pub fn prefix(self, prefix: impl Into<String>) -> Self {
        let prefix = prefix.into();
        let is_token = |ch: char| ch.is_ascii_alphanumeric() || matches!(ch, '-' | '_');
        if prefix.is_empty() || prefix.len() > MAX_PREFIX || !prefix.chars().all(is_token) {
            return self.fail("the prefix is 1 to 64 letters, digits, - and _");
        }
        self.set(|settings| settings.prefix = prefix)
    }

    /// More servers of the same cluster (`host:port`), beside those of the URL. Others that the servers tell of are used, too.
    pub fn servers<S: AsRef<str>>(self, servers: impl IntoIterator<Item = S>) -> Self {
        match servers.into_iter().map(|server| url::address(server.as_ref())).collect::<Result<Vec<_>, _>>() {
            Ok(servers) => self.set(|settings| settings.servers.extend(servers)),
            Err(error) => Self { settings: self.settings.and(Err(error)) },
        }
    }

    /// Logs in with a name and a password.
    pub fn user_and_password(self, user: impl Into<String>, password: impl Into<String>) -> Self {
        let (user, password) = (user.into(), Secret::new(password.into()));
        self.set(|settings| settings.login = Login::User { user, password })
    }

    /// Logs in with a token.
    pub fn token(self, token: impl Into<String>) -> Self {
        let token = Secret::new(token.into());
        self.set(|settings| settings.login = Login::Token(token))
    }

    /// Logs in with an nkey, of which this is the seed (`SU...`). It never leaves the process.
    pub fn nkey(self, seed: impl Into<String>) -> Self {
        let seed = Secret::new(seed.into());
        self.set(|settings| settings.login = Login::Nkey(seed))
    }

    /// Logs in with a JWT and the seed of its key: the text of a credentials file.
    pub fn credentials(self, text: impl Into<String>) -> Self {
        let text = Secret::new(text.into());
        self.set(|settings| settings.login = Login::Credentials(text))
    }

    /// The same from a file, which is read for each connection, so that it can be renewed.
    pub fn credentials_file(self, path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        self.set(|settings| settings.login = Login::CredentialsFile(path))
    }

    /// How TLS is spoken, in all detail. TLS is spoken then also where the server does not ask for it.
    #[cfg(feature = "tls")]
    pub fn tls_config(self, config: std::sync::Arc<tokio_rustls::rustls::ClientConfig>) -> Self {
        self.set(|settings| {
            settings.tls = true;
            settings.tls_config = Some(config);
        })
    }

    /// Trusts the authorities of a PEM file, and no others, in place of the system's root certificates. TLS is spoken then.
    #[cfg(feature = "tls")]
    pub fn root_certificates(self, file: impl Into<PathBuf>) -> Self {
        let file = file.into();
        self.set(|settings| {
            settings.tls = true;
            settings.roots = Some(file);
        })
    }

    /// Shows a client's certificate, with its private key: two PEM files. TLS is spoken then.
    #[cfg(feature = "tls")]
    pub fn client_certificate(self, certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        let files = (certificate.into(), key.into());
        self.set(|settings| {
            settings.tls = true;
            settings.certificate = Some(files);
        })
    }

    /// Who makes the streams that hold logs: the backend unless set.
    pub fn streams(self, streams: Streams) -> Self {
        self.set(|settings| settings.logs.streams = streams)
    }

    /// Where streams that the backend creates keep messages: on disk unless set.
    pub fn storage(self, storage: Storage) -> Self {
        self.set(|settings| settings.logs.storage = storage)
    }

    /// How many servers hold each log, for streams that the backend creates: 1 unless set, 5 at most, and no more than
    /// the cluster has servers.
    pub fn replicas(self, replicas: usize) -> Self {
        if !(1..=5).contains(&replicas) {
            return self.fail("a stream has 1 to 5 replicas");
        }
        self.set(|settings| settings.logs.replicas = replicas)
    }

    /// The JetStream domain in which logs are kept: the server's own unless set.
    pub fn jetstream_domain(self, domain: impl Into<String>) -> Self {
        let domain = domain.into();
        if domain.is_empty() || domain.contains(|ch: char| ch.is_whitespace() || "*>.".contains(ch)) {
            return self.fail("a JetStream domain is one token of a subject");
        }
        self.set(|settings| settings.logs.domain = Some(domain))
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

    /// The backend.
    ///
    /// # Errors
    ///
    /// [`BackendErrorKind::Configuration`]: what is wrong with the URL or the settings.
    pub fn build(self) -> Result<NatsBackend, BackendError> {
        let settings = self.settings?;
        let fail = |message| Err(BackendError::new(BackendErrorKind::Configuration, "settings", message));
        if cfg!(not(feature = "tls")) && settings.tls {
            return fail("TLS needs the feature `tls` of fanfare-nats");
        }
        let signs =
            matches!(settings.login, Login::Nkey(_) | Login::Credentials(_) | Login::CredentialsFile(_));
        if cfg!(not(feature = "nkeys")) && signs {
            return fail("this login needs the feature `nkeys` of fanfare-nats");
        }
        Ok(NatsBackend::new(settings))
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
