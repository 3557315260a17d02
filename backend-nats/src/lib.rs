//! Fanfare's NATS backend: what is published on one process is delivered on all, and logs outlive processes.
#![forbid(unsafe_code)]

mod backend;
mod error;
mod keep;
mod log;
mod names;
mod receive;
mod settings;
mod wire;

pub use backend::NatsBackend;
use fanfare_core::backend::BackendError;
pub use settings::{NatsBuilder, Storage, Streams};

/// A backend for the servers at a [URL](crate#urls), with everything else as it is by default.
///
/// # Errors
///
/// [`Configuration`](fanfare_core::backend::BackendErrorKind::Configuration): what is wrong with the URL. Nothing is connected yet.
pub fn from_url(url: &str) -> Result<NatsBackend, BackendError> {
    NatsBackend::builder(url).build()
}
