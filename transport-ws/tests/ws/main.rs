//! The transport over real sockets.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;
mod v1;
