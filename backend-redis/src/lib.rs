//! Fanfare's Redis backend.
#![forbid(unsafe_code)]

mod backend;
mod error;
mod keep;
mod log;
mod names;
mod receive;
mod settings;
mod wire;

pub use backend::RedisBackend;
use fanfare_core::backend::BackendError;
pub use settings::RedisBuilder;

/// A backend for the server at a URL, with everything else as it is by default.
///
/// # Errors
///
/// What is wrong with the URL. Nothing is connected yet.
pub fn from_url(url: &str) -> Result<RedisBackend, BackendError> {
    RedisBackend::builder(url).build()
}
