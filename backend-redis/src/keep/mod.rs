//! Keeps connections: finds the server, connects, watches, and connects again.

mod establish;
mod health;
mod keeper;
mod outage;
mod peer;
mod sentinel;

pub(crate) use health::Health;
pub(crate) use keeper::{Node, change, lost, within};
pub(crate) use peer::{Peer, Role};
