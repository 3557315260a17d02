//! Limits and timeouts of a mounted transport.

use std::time::Duration;

use fanfare_http::{InvalidProxy, TrustedProxies};

/// What a [transport](crate) allows its readers. Each default is the one that [`Config::new`] names.
///
/// ```
/// use std::time::Duration;
///
/// let config = fanfare_sse::Config::new().max_topics(16).write_timeout(Duration::from_secs(5));
/// ```
#[derive(Debug, Clone)]
pub struct Config {
    pub(crate) max_headers: usize,
    pub(crate) max_header_bytes: usize,
    max_topics: usize,
    pub(crate) write_timeout: Duration,
    pub(crate) connect_timeout: Duration,
    pub(crate) retry: Duration,
    pub(crate) trusted_proxies: TrustedProxies,
}

impl Config {
    /// The defaults: 64 headers and 16 KiB of them, 64 topics, 10 s for a write to move, 10 s to be admitted, readers come
    /// back after 2 s, no trusted proxy. How often a silent stream gets a comment as a heartbeat is the broker's setting
    /// ([`BrokerBuilder::ping_interval`](fanfare_core::BrokerBuilder::ping_interval)).
    #[must_use]
    pub fn new() -> Self {
        Self {
            max_headers: 64,
            max_header_bytes: 16 * 1024,
            max_topics: 64,
            write_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(10),
            retry: Duration::from_secs(2),
            trusted_proxies: TrustedProxies::none(),
        }
    }

    /// The most headers that a request may have, and the most bytes that its request line and headers may have
    /// together; more is answered 431. The HTTP server has limits of its own, which come first.
    #[must_use]
    pub fn max_headers(mut self, count: usize, bytes: usize) -> Self {
        self.max_headers = count;
        self.max_header_bytes = bytes;
        self
    }

    /// The most topics and patterns of one stream, at most 200 and never more than the broker's limit for one connection. A
    /// reader sends a cursor of up to 38 bytes for each of them back in a header, and nginx takes headers of 8 KiB.
    #[must_use]
    pub fn max_topics(mut self, topics: usize) -> Self {
        self.max_topics = topics.clamp(1, MOST_TOPICS);
        self
    }

    /// How long a reader may take nothing of what waits for it; then its stream ends, its subscriptions and its queue with it.
    /// See [`EventStream`](crate::EventStream#slow-readers) for what becomes of the socket.
    #[must_use]
    pub fn write_timeout(mut self, timeout: Duration) -> Self {
        self.write_timeout = timeout;
        self
    }

    /// How long the policy and the subscriptions together may take to let a reader in; then it is answered 504.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// After how long a reader is asked to come back when the connection breaks, more or less: each is given a time of its own
    /// between half and one and a half of this, so that a restart does not bring them all at once. At most a day.
    #[must_use]
    pub fn retry(mut self, after: Duration) -> Self {
        self.retry = after.min(DAY);
        self
    }

    /// The proxies in front of this server, whose word on the client's address counts: each an address or a range such as
    /// `10.0.0.0/8`, see [`TrustedProxies`].
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

    /// The most topics of one stream, given the broker's limit.
    pub(crate) fn topics(&self, broker: usize) -> usize {
        self.max_topics.min(broker)
    }
}

/// Longer than this is as good as never, and a time around it has to be one still.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Whose cursor is below 8 KiB.
const MOST_TOPICS: usize = 200;

impl Default for Config {
    fn default() -> Self {
        Self::new()
    }
}
