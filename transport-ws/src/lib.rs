//! Fanfare's WebSocket transport.
#![forbid(unsafe_code)]

mod config;
mod frame;
mod handshake;
mod heartbeat;
mod read;
mod upgrade;
mod wheel;
mod wire;

pub use config::Config;
pub use handshake::InvalidOrigin;

/// Entry points of the fuzz targets. No part of the API.
#[cfg(any(fuzzing, test))]
#[doc(hidden)]
pub mod fuzz {
    pub use crate::frame::fuzz::frames;
}
