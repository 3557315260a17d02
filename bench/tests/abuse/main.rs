//! What clients may do wrong, over real sockets and against the benchmark's server: each is told what the protocol's
//! page says, nobody else notices, and nothing is left behind.
//!
//! Frames are made by hand, because no client library sends what is wrong. Every group of cases is a function of the
//! server's address, so that [`memory`] can run them all again and again.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod abrupt;
mod address;
mod budgets;
mod bystander;
mod client;
mod commands;
mod endless;
mod frame;
mod framing;
mod handshake;
mod headers;
mod idle;
mod memory;
mod names;
mod pings;
mod plain;
mod queues;
mod refusal;
mod server;
mod slow;
mod stalled;
mod subscriptions;
mod utf8;
