//! The transport over real sockets, and its body alone where the clock matters.
#![allow(missing_docs, clippy::unwrap_used)]

mod basics;
mod calls;
mod clock;
mod closing;
mod continuity;
mod cuts;
mod examples;
mod forging;
mod middleware;
mod overflow;
mod own;
mod parser;
mod refusal;
mod secrets;
mod several;
mod stall;
mod support;
