//! Fanfare's WebSocket transport.
#![forbid(unsafe_code)]

mod config;
mod frame;
mod handshake;

pub use config::Config;
pub use handshake::InvalidOrigin;
