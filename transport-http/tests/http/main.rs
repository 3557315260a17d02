//! Publishing by HTTP and the server around it, over real sockets.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod backend;
mod body;
mod limits;
mod origin;
mod protocol;
mod publish;
mod refusals;
mod server;
mod stop;
mod support;
