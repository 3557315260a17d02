//! The transport over real sockets.
#![allow(missing_docs, clippy::unwrap_used)]

mod calls;
mod echo;
mod ending;
mod mounts;
mod plain;
mod policy;
mod raw;
mod refusal;
mod stall;
mod support;
mod v1;
