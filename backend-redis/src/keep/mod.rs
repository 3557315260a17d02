//! Keeps connections: finds the server, connects, watches, and connects again.

mod cluster;
mod establish;
mod health;
mod keeper;
mod node;
mod peer;
mod sentinel;
mod servers;

pub(crate) use health::Health;
pub(crate) use node::{Node, lost, within};
pub(crate) use peer::{Peer, Role};
pub(crate) use servers::Servers;
