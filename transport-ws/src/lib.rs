//! Fanfare's WebSocket transport: a [`WebSocket`] endpoint for a broker, mountable in axum and in any app on hyper or
//! tower.
//!
//! It takes the connection over from the HTTP server. A TCP socket is written by the fan-out itself, without waiting and without a
//! task in between; any other stream, such as TLS, is served by its own task. Frames are read and written by this
//! crate (RFC 6455, without extensions). [`Config`] holds what clients are allowed.
#![forbid(unsafe_code)]

mod config;
mod connection;
mod echo;
mod encoder;
mod frame;
mod handshake;
mod heartbeat;
mod mount;
mod read;
mod refuse;
mod service;
mod upgrade;

pub use config::Config;
pub use echo::Echo;
pub use fanfare_http::{InvalidOrigin, InvalidProxy, Server};
pub use service::WebSocket;

/// Entry points of the fuzz targets. No part of the API.
#[cfg(any(fuzzing, test))]
#[doc(hidden)]
pub mod fuzz {
    pub use crate::frame::fuzz::frames;
}
