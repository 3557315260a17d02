//! For those who write a backend or a transport of Fanfare's, and for those who test an app on it.
//!
//! - [`backend`]: the conformance suite for backends.
//! - [`transport`]: the conformance suite for transports.
//! - [`faults`]: a backend's server is killed, restarted, cut off, slow; two brokers and the books of what they lost.
//! - [`server`]: real servers for tests, with ports and folders of their own, which are gone when the test is.
//! - [`proxy`]: a TCP proxy that cuts, resets, delays, throttles and swallows.
//!
//! # Features
//!
//! - `test-util`: test clients for apps, over the real WebSocket transport and no network, under paused time (module `app`).
//! - `v1`: frames of the wire format v1, for a transport's harness (module `v1`).
//!
//! What is here is for tests: it panics where a test is to fail. Servers need a Unix.
#![forbid(unsafe_code)]

#[cfg(feature = "test-util")]
pub mod app;
pub mod backend;
pub mod faults;
pub mod proxy;
pub mod server;
mod shared;
pub mod transport;
#[cfg(feature = "v1")]
pub mod v1;

#[cfg(feature = "test-util")]
pub use app::{TestBroker, TestClient};
pub use shared::SharedBackend;
