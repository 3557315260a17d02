//! Limits and timeouts of publishing by HTTP.

use std::time::Duration;

use crate::{InvalidOrigin, InvalidProxy, Origins, TrustedProxies};

/// What publishing by HTTP allows its clients. Each default is the one that [`PublishConfig::new`] names. How long
/// payloads may be, and how fast they may come, are the broker's limits.
///
/// ```
/// use std::time::Duration;
///
/// let config = fanfare_http::PublishConfig::new()
///     .body_timeout(Duration::from_secs(5))
///     .allow_origins(["https://app.example"])?;
/// # Ok::<_, fanfare_http::InvalidOrigin>(())
/// ```
#[derive(Debug, Clone)]
pub struct PublishConfig {
    pub(super) origins: Origins,
    pub(super) proxies: TrustedProxies,
    pub(super) body_timeout: Duration,
    pub(super) max_query: usize,
    pub(super) at_once: usize,
    pub(super) reports: bool,
}

impl PublishConfig {
    /// The defaults: pages of the same host only, no trusted proxy, 10 s for a body to come, 8 KiB of query, 1,024 requests at
    /// once, reports for who asks.
    #[must_use]
    pub fn new() -> Self {
        Self {
            origins: Origins::same_host(),
            proxies: TrustedProxies::none(),
            body_timeout: Duration::from_secs(10),
            max_query: 8 * 1024,
            at_once: 1024,
            reports: true,
        }
    }

    /// Admits pages of exactly these origins, each as `scheme://host` or `scheme://host:port`, and of no other, so also
    /// no longer of the same host. Who sends no `Origin` header, which browsers always do with a `POST`, is admitted still. For a page of another origin the
    /// app also has to answer its browser's questions (CORS), which is left to a layer such as tower-http's.
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

    /// Admits pages of every origin. With cookies as credentials this lets any page that a user visits publish as the user.
    #[must_use]
    pub fn allow_any_origin(mut self) -> Self {
        self.origins = Origins::any();
        self
    }

    /// The proxies in front of this server, each an address or a range such as `10.0.0.0/8`: see [`TrustedProxies`].
    ///
    /// # Errors
    ///
    /// [`InvalidProxy`] for what is neither.
    pub fn trusted_proxies<I>(mut self, proxies: I) -> Result<Self, InvalidProxy>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        self.proxies = TrustedProxies::new(proxies)?;
        Ok(self)
    }

    /// How long a body may take to come as a whole, once its client is admitted; 408 for one that takes longer.
    #[must_use]
    pub fn body_timeout(mut self, timeout: Duration) -> Self {
        self.body_timeout = timeout;
        self
    }

    /// The longest query, in bytes; 414 for more.
    #[must_use]
    pub fn max_query(mut self, bytes: usize) -> Self {
        self.max_query = bytes;
        self
    }

    /// How many requests are served at once, at least one, each of which may hold a payload in memory; 503 for one more. Of
    /// one user or address it is the broker's `publishes_in_flight`; 429 for one more.
    #[must_use]
    pub fn at_once(mut self, requests: usize) -> Self {
        self.at_once = requests;
        self
    }

    /// Whether `report=1` is answered: it tells who may publish to a topic how many subscribe to it, and how fast they read.
    /// Where it is not, it is 403.
    #[must_use]
    pub fn reports(mut self, answered: bool) -> Self {
        self.reports = answered;
        self
    }
}

impl Default for PublishConfig {
    fn default() -> Self {
        Self::new()
    }
}
