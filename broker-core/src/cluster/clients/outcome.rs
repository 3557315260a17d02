//! What became of an order.

use std::sync::Arc;

use crate::{backend::NodeId, session::ClientId};

/// What [`Clients::list`](super::Clients::list) found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Members {
    /// The clients, in no order; at most as many as were [asked for](super::Clients::limit).
    pub clients: Vec<MemberInfo>,
    /// How many there are, named or not.
    pub total: usize,
    /// How many nodes have answered.
    pub answered: usize,
    /// How many nodes were asked, this one included.
    pub asked: usize,
}

/// One connected client.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemberInfo {
    /// The connection's public name.
    pub client: ClientId,
    /// Its user, as the policy said.
    pub user: Option<Arc<str>>,
    /// The node that it is connected to.
    pub node: NodeId,
    /// The name of its transport.
    pub transport: Arc<str>,
}

/// What an operation on clients has brought about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reached {
    /// How many clients were meant.
    pub clients: usize,
    /// For how many of them something is different now.
    pub changed: usize,
    /// For how many of them it failed: they had no room for another subscription, the backend did not answer, or hooks are more than 1,024 changes behind
    /// what they are subscribed to.
    pub failed: usize,
    /// How many nodes have answered.
    pub answered: usize,
    /// How many nodes were asked, this one included.
    pub asked: usize,
}

impl Members {
    /// Whether every node has answered, and every client is named.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.answered == self.asked && self.clients.len() == self.total
    }
}

impl Reached {
    /// Whether every node has answered, and nothing has failed.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.answered == self.asked && self.failed == 0
    }
}

/// What one node says of its clients.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) total: usize,
    pub(super) clients: Vec<MemberInfo>,
}

/// What one node has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) clients: usize,
    pub(super) changed: usize,
    pub(super) failed: usize,
}

impl Tally {
    pub(super) fn add(&mut self, other: Self) {
        self.clients += other.clients;
        self.changed += other.changed;
        self.failed += other.failed;
    }
}
