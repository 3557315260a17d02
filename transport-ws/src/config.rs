//! Limits and timeouts of a mounted transport.

use std::time::Duration;

use fanfare_http::{InvalidOrigin, InvalidProxy, Origins, TrustedProxies};

/// What a [transport](crate) allows its clients. Each default is the one that [`Config::new`] names.
///
/// ```
/// use std::time::Duration;
///
/// let config = fanfare_ws::Config::new()
///     .max_message(16 * 1024)
///     .pong_timeout(Duration::from_secs(5))
///     .allow_origins(["https://app.example"])?;
/// # Ok::<_, fanfare_ws::InvalidOrigin>(())
/// ```
#[derive(Debug, Clone)]
pub struct Config {
    pub(crate) origins: Origins,
    pub(crate) max_headers: usize,
    pub(crate) max_header_bytes: usize,
    max_message: Option<usize>,
    pub(crate) pong_timeout: Duration,
    pub(crate) write_timeout: Duration,
    pub(crate) connect_timeout: Duration,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) trusted_proxies: TrustedProxies,
}

impl Config {
    /// The defaults: pages of the same host only, 64 headers and 16 KiB of them, messages as long as the broker's
    /// payloads may be, 10 s for a pong, 10 s for a write to move, 10 s to authenticate, no idle timeout, no trusted
    /// proxy. How often a silent client is pinged is the broker's setting, because clients are told.
    pub fn new() -> Self {
        Self {
            origins: Origins::same_host(),
            max_headers: 64,
            max_header_bytes: 16 * 1024,
            max_message: None,
            pong_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(10),
            idle_timeout: None,
            trusted_proxies: TrustedProxies::none(),
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
        self.origins = Origins::any();
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
    /// the message is read. In v1 that is the whole frame, of which the payload is a part. It may come in as many
    /// fragments as it has 64 bytes, and always in 1024. Unless set, the broker's limit for payloads.
    pub fn max_message(mut self, bytes: usize) -> Self {
        self.max_message = Some(bytes);
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

    /// How long a client may stay unauthenticated, the policy's time to decide included; close code 4103. The broker's
    /// own limit applies as well.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// After how long without a message of the client it is closed with code 1000, whatever it is sent. `None`: never.
    pub fn idle_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.idle_timeout = timeout.into();
        self
    }

    /// The proxies in front of this server, each an address or a range such as `10.0.0.0/8`. A connection that comes from one
    /// of them counts as coming from the last address in `X-Forwarded-For` that is none of them. Nobody else's word is taken:
    /// the header is the client's to write.
    ///
    /// # Errors
    ///
    /// [`InvalidProxy`] for what is neither.
    pub fn trusted_proxies<I>(mut self, proxies: I) -> Result<Self, InvalidProxy>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        self.trusted_proxies = TrustedProxies::new(proxies)?;
        Ok(self)
    }

    /// The longest message in bytes, given the broker's limit.
    pub(crate) fn longest_message(&self, broker: usize) -> u32 {
        u32::try_from(self.max_message.unwrap_or(broker)).unwrap_or(u32::MAX)
    }
}

impl Default for Config {
    fn default() -> Self {
        Self::new()
    }
}
