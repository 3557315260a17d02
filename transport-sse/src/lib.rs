//! Fanfare's transport by server-sent events: an [`EventStream`] endpoint for a broker, mountable in axum and in any app on
//! hyper or tower, over HTTP/1.1 and HTTP/2.
//!
//! A page reads it with the browser's own `EventSource`, a script with `curl -N`. Each stream is fed like a WebSocket: an
//! event is encoded once for all its readers, queues are bounded under the topics' overflow policies, and what was lost is
//! told. A reader that comes back with `Last-Event-ID` goes on where it stopped.
#![forbid(unsafe_code)]

mod chunk;
mod config;
mod cursor;
mod encoder;
mod fields;
mod later;
mod mount;
mod service;
mod stream;
mod wanted;

pub use config::Config;
pub use fanfare_http::InvalidProxy;
pub use service::EventStream;
pub use stream::EventBody;

/// Entry points of the fuzz targets. No part of the API.
#[cfg(any(fuzzing, test))]
#[doc(hidden)]
pub mod fuzz {
    pub use crate::cursor::fuzz::cursor;
}
