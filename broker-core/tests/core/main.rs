//! The core as its users see it: the rules of the core, recovery, sessions, cancellation.
//!
//! Everything runs on one thread under paused time: what a test sees depends on nothing but its own steps.

// `allow-unwrap-in-tests` does not reach the helpers of an integration test.
#![allow(clippy::unwrap_used)]

mod addresses;
mod auto_traits;
mod backends;
mod cancellation;
mod clients;
mod presence;
mod recovery;
mod reentrancy;
mod rules;
mod sessions;
mod support;
