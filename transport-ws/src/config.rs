//! Limits and timeouts of a mounted transport.

use std::time::Duration;

use crate::handshake::{InvalidOrigin, Origins};

/// What a [transport](crate) allows its clients. Each default is the one that [`Config::new`] names.
///
/// ```
/// use std::time::Duration;
///
/// let config = fanfare_ws::Config::new()
///     .max_message(16 * 1024)
///     .ping_interval(Duration::from_secs(20))
///     .allow_origins(["https://app.example"])?;
/// # Ok::<_, fanfare_ws::InvalidOrigin>(())
/// ```
#[derive(Debug, Clone)]
pub struct Config {
    pub(crate) origins: Origins,
    pub(crate) max_headers: usize,
    pub(crate) max_header_bytes: usize,
    pub(crate) max_message: u32,
    pub(crate) ping_interval: Duration,
    pub(crate) pong_timeout: Duration,
    pub(crate) write_timeout: Duration,
    pub(crate) connect_timeout: Duration,
    pub(crate) idle_timeout: Option<Duration>,
}

impl Config {
    /// The defaults: pages of the same host only, 64 headers and 16 KiB of them, messages of 64 KiB, a ping after 25 s
    /// of silence and 10 s for the pong, 10 s for a write to move, 10 s to authenticate, no idle timeout.
    pub fn new() -> Self {
        Self {
            origins: Origins::SameHost,
            max_headers: 64,
            max_header_bytes: 16 * 1024,
            max_message: 64 * 1024,
            ping_interval: Duration::from_secs(25),
            pong_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(10),
            idle_timeout: None,
        }
    }

    /// Admits pages of exactly these origins, each as `scheme://host` or `scheme://host:port`, and of no other, so also
    /// no longer of the same host. Clients that send no `Origin` header, which browsers always do, are admitted still.
    ///
    /// # Errors
    ///
    /// [`InvalidOrigin`] for one that is not of that form.
    pub fn allow_origins<I>(mut self, origins: I) -> Result<Self, InvalidOrigin>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        self.origins = Origins::list(origins)?;
        Ok(self)
    }

    /// Admits pages of every origin. With cookies as credentials this lets any page that a user visits act as the user.
    pub fn allow_any_origin(mut self) -> Self {
        self.origins = Origins::Any;
        self
    }

    /// The most headers that a handshake may have, and the most bytes that its request line and headers may have
    /// together; more is answered 431. The HTTP server has limits of its own, which come first.
    pub fn max_headers(mut self, count: usize, bytes: usize) -> Self {
        self.max_headers = count;
        self.max_header_bytes = bytes;
        self
    }

    /// The longest message that a client may send, in bytes, at most 4 GiB - 1; close code 1009 for more, sent before
    /// the message is read. It may come in as many fragments as it has 64 bytes, and always in 1024.
    pub fn max_message(mut self, bytes: usize) -> Self {
        self.max_message = u32::try_from(bytes).unwrap_or(u32::MAX);
        self
    }

    /// After how much silence of the client it is sent a ping.
    pub fn ping_interval(mut self, interval: Duration) -> Self {
        self.ping_interval = interval;
        self
    }

    /// How long after a ping was written any byte of the client must have come; close code 4202.
    pub fn pong_timeout(mut self, timeout: Duration) -> Self {
        self.pong_timeout = timeout;
        self
    }

    /// How long a client may take no byte of what is waiting for it; then the connection is cut.
    pub fn write_timeout(mut self, timeout: Duration) -> Self {
        self.write_timeout = timeout;
        self
    }

    /// How long a client may stay unauthenticated; close code 4103.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// After how long without a command of the client it is closed with code 1001, whatever it is sent. `None`: never.
    pub fn idle_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.idle_timeout = timeout.into();
        self
    }
}

impl Default for Config {
    fn default() -> Self {
        Self::new()
    }
}
