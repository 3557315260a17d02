//! WebSocket frames to and from bytes (RFC 6455, sections 5 to 8), without any I/O.
//!
//! The [`Parser`] reads out of a buffer that it only borrows, so that all connections of a thread can share one. A
//! message that came in one piece is handed out as a slice of that buffer; only what arrived in part is kept, and
//! only until the rest has come. Between messages a parser holds no memory but itself.

mod close;
pub(crate) mod encode;
mod error;
#[cfg(any(fuzzing, test))]
pub(crate) mod fuzz;
mod header;
mod mask;
mod parser;
mod utf8;

#[cfg(test)]
mod parser_tests;
#[cfg(test)]
mod reference;

pub(crate) use close::CloseFrame;
pub(crate) use error::ProtocolError;
pub(crate) use header::Opcode;
pub(crate) use parser::{Event, Parser};
