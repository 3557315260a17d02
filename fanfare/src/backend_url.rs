//! A backend that is named by a URL.

use fanfare_core::{
    BrokerBuilder,
    backend::{BackendError, BackendErrorKind, memory::MemoryBackend},
};
use thiserror::Error;

/// How long what stands before `://` may be to be quoted in an error: bytes.
const QUOTED: usize = 24;

/// Lets a URL say what carries messages between nodes, so that it can come from the app's configuration.
///
/// | URL | backend | feature |
/// | --- | --- | --- |
/// | `memory:` | this process alone | |
/// | `redis://user:password@host:6379/0` | a Redis or Valkey server | `redis` |
/// | `rediss://..` | the same with TLS | `redis` |
/// | `redis+sentinel://host:26379,host:26379/mymaster` | the master that Sentinels name | `redis` |
/// | `redis-cluster://host:6379,host:6379` | a Cluster | `redis` |
/// | `redis+unix:///run/redis.sock?db=0` | a server on this machine | `redis` |
/// | `nats://user:password@host:4222,host:4222` | a NATS server, or several of a cluster | `nats` |
/// | `tls://..` | the same with TLS | `nats` |
///
/// `valkey` may stand for `redis` in each. Blanks and other characters that have a meaning in URLs are percent-encoded.
pub trait BackendFromUrl: Sized {
    /// Takes the backend that the URL names, with everything else as it is by default. Nothing is connected before the start.
    ///
    /// ```
    /// use fanfare::{BackendFromUrl, Broker, policy::Open};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let url = std::env::var("BACKEND").unwrap_or("memory:".into());
    /// let broker = Broker::builder().policy(Open).backend_from_url(&url)?.start().await?;
    /// # Ok(()) }
    /// ```
    ///
    /// What a URL cannot say (a prefix for keys, deadlines, certificates) is said to the backend's own builder, whose result
    /// [`BrokerBuilder::backend`] takes.
    ///
    /// # Errors
    ///
    /// What is wrong with the URL. No error quotes more of it than its scheme, since it may hold a password.
    fn backend_from_url(self, url: &str) -> Result<Self, BackendUrlError>;
}

/// Why a URL names no backend.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BackendUrlError {
    /// It begins with no scheme.
    #[error("a backend's URL begins with a scheme, as in memory: or redis://host:6379")]
    NoScheme,
    /// No backend has this scheme.
    #[error(
        "no backend has the scheme {0}://: there are memory:, redis://, rediss://, redis+sentinel://, redis-cluster://, nats://, tls://"
    )]
    UnknownScheme(String),
    /// The backend is not compiled in.
    #[error("{scheme}:// needs the feature `{feature}` of the crate fanfare")]
    MissingFeature {
        /// The URL's scheme.
        scheme: String,
        /// The feature to switch on.
        feature: &'static str,
    },
    /// The backend does not take it.
    #[error("the backend does not take its URL")]
    Invalid(#[source] BackendError),
}

impl BackendFromUrl for BrokerBuilder {
    fn backend_from_url(self, url: &str) -> Result<Self, BackendUrlError> {
        if let Some(rest) = url.strip_prefix("memory:") {
            return match rest {
                "" | "//" => Ok(self.backend(MemoryBackend::new())),
                _ => Err(invalid("nothing follows memory:")),
            };
        }
        let scheme = scheme(url).ok_or(BackendUrlError::NoScheme)?;
        // What follows a sign says how servers are arranged or reached, which is the backend's affair.
        match scheme.split(['+', '-']).next() {
            Some("redis" | "rediss" | "valkey" | "valkeys") => redis(self, scheme, url),
            Some("nats" | "tls") => nats(self, scheme, url),
            _ => Err(BackendUrlError::UnknownScheme(scheme.to_owned())),
        }
    }
}

#[cfg(feature = "redis")]
fn redis(builder: BrokerBuilder, _: &str, url: &str) -> Result<BrokerBuilder, BackendUrlError> {
    Ok(builder.backend(fanfare_redis::from_url(url).map_err(BackendUrlError::Invalid)?))
}

#[cfg(not(feature = "redis"))]
fn redis(_: BrokerBuilder, scheme: &str, _: &str) -> Result<BrokerBuilder, BackendUrlError> {
    Err(BackendUrlError::MissingFeature { scheme: scheme.to_owned(), feature: "redis" })
}

#[cfg(feature = "nats")]
fn nats(builder: BrokerBuilder, _: &str, url: &str) -> Result<BrokerBuilder, BackendUrlError> {
    Ok(builder.backend(fanfare_nats::from_url(url).map_err(BackendUrlError::Invalid)?))
}

#[cfg(not(feature = "nats"))]
fn nats(_: BrokerBuilder, scheme: &str, _: &str) -> Result<BrokerBuilder, BackendUrlError> {
    Err(BackendUrlError::MissingFeature { scheme: scheme.to_owned(), feature: "nats" })
}

/// What stands before `://`, if that can be a scheme (RFC 3986, section 3.1). Anything else may be a secret that stands in
/// the wrong place.
fn scheme(url: &str) -> Option<&str> {
    let (scheme, _) = url.split_once("://")?;
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    let is_scheme = scheme.len() <= QUOTED
        && scheme.bytes().all(is_letter)
        && scheme.starts_with(|first: char| first.is_ascii_alphabetic());
    is_scheme.then_some(scheme)
}

fn invalid(message: &'static str) -> BackendUrlError {
    BackendUrlError::Invalid(BackendError::new(BackendErrorKind::Configuration, "url", message))
}
