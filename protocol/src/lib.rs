//! Fanfare's wire format v1: frames to and from bytes.
//!
//! A client's frame becomes a [`Command`](fanfare_core::session::Command) with [`decode_text`] or
//! [`decode_binary`]; what the core tells a client ([`Frame`](fanfare_core::message::Frame)) becomes bytes with
//! [`encode`]. Both work on whole frames without the framing of the transport, which is the caller's: there are
//! no sockets here and no HTTP.
//!
//! One JSON object per text frame; its key names the method. A payload that is JSON is embedded byte for byte,
//! text is a JSON string, and binary travels behind a JSON header in a binary frame. `PROTOCOL.md` in the
//! project's root is the format's specification, and a test parses its examples.
//!
//! ```
//! use fanfare_core::session::Command;
//!
//! let frame = r#"{"id":3,"publish":{"topic":"chat.lobby","data":{"text":"hello"}}}"#;
//! let decoded = fanfare_protocol::decode_text(frame)?;
//! let Command::Publish(publish) = decoded.command else { unreachable!() };
//! assert_eq!(publish.topics, ["chat.lobby"]);
//! assert_eq!(publish.payload.as_str(), Some(r#"{"text":"hello"}"#));
//! # Ok::<(), fanfare_protocol::DecodeError>(())
//! ```
#![forbid(unsafe_code)]

mod decode;
mod encode;
mod error;
mod limits;

pub use decode::{Decoded, decode_binary, decode_text};
pub use encode::{Kind, encode, encode_text_only};
pub use error::DecodeError;
pub use limits::DecodeLimits;

/// The name of this wire format as a WebSocket subprotocol (RFC 6455, section 1.9).
pub const SUBPROTOCOL: &str = "fanfare.v1";
