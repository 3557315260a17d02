//! The transport over real sockets.
#![allow(missing_docs, clippy::unwrap_used)]

mod basics;
mod parser;
mod support;
