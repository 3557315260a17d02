//! Keeps the connection: finds a server, connects, watches, and connects again.

mod establish;
mod keeper;
mod moving;
mod node;
mod servers;

pub(crate) use keeper::keep;
use keeper::subscribe_to;
pub(crate) use node::{Node, lost, within};
use servers::{Server, Servers};
