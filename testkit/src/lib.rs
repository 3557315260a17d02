//! For those who write a backend or a transport of Fanfare's, and for those who test an app on it.
//!
//! - [`backend`]: the conformance suite for backends.
//! - [`transport`]: the conformance suite for transports.
//! - [`server`]: real servers for tests, with ports and folders of their own, which are gone when the test is.
//! - [`proxy`]: a TCP proxy that cuts, resets, delays, throttles and swallows.
//!
//! What is here is for tests: it panics where a test is to fail. Servers need a Unix.
#![forbid(unsafe_code)]

pub mod backend;
pub mod proxy;
pub mod server;
mod shared;
pub mod transport;
#[cfg(feature = "v1")]
pub mod v1;

pub use shared::SharedBackend;
