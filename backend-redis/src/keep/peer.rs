//! One server, with the queues of its two connections.

use crate::{
    settings::{Address, Settings},
    wire::Queue,
};

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Role {
    /// Publishing, logs.
    Commands,
    /// Subscriptions, and what they bring.
    Pushes,
}

impl Role {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Commands => "commands",
            Self::Pushes => "subscriptions",
        }
    }
}

/// One server. Its queues outlive its connections.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) id: u32,
    /// Where it is, on a Cluster; else it is found anew for each connection.
    pub(crate) address: Option<Address>,
    pub(crate) commands: Queue,
    pub(crate) pushes: Queue,
}

impl Peer {
    pub(crate) fn new(id: u32, address: Option<Address>, settings: &Settings) -> Self {
        let peer = Self { id, address, commands: Queue::new(settings.buffer), pushes: Queue::new(None) };
        if peer.address.is_some() {
            // Somebody has sent us there with something in hand.
            peer.commands.expect();
            peer.pushes.expect();
        }
        peer
    }

    pub(crate) fn queue(&self, role: Role) -> &Queue {
        match role {
            Role::Commands => &self.commands,
            Role::Pushes => &self.pushes,
        }
    }
}
