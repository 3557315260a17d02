//! Who is there, and what is told of it.

use std::sync::Arc;

use crate::session::ClientId;

/// One member of a topic: a client that is subscribed to it by name.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Member {
    /// The connection's public name.
    pub client: ClientId,
    /// The user, as the policy said. Several members may be one user: each tab is a client.
    pub user: Option<Arc<str>>,
    /// What the app says of the member: JSON, as text.
    pub meta: Option<Arc<str>>,
}

impl Member {
    /// A member about whom nothing is said.
    #[must_use]
    pub fn new(client: ClientId) -> Self {
        Self { client, user: None, meta: None }
    }
}

/// How many are there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PresenceCounts {
    /// Clients.
    pub clients: u64,
    /// Different users among them; clients without a user are not counted here.
    pub users: u64,
}

/// A part of the list of members, in the order of their clients' names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PresencePage {
    /// The members.
    pub members: Vec<Member>,
    /// How many there are in all.
    pub counts: PresenceCounts,
    /// Where the next page begins; `None` when this is the last one.
    pub next: Option<ClientId>,
}

/// What a watcher is told.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PresenceEvent {
    /// Who is there: forget what was told before.
    Snapshot(PresencePage),
    /// What has changed since.
    Changes(PresenceChanges),
    /// How many there are. The topic has more members than its [`listed_members`](super::PresenceConfig::listed_members): until
    /// the next snapshot a list that was made of what was told before is not kept current.
    Counts(PresenceCounts),
}

/// What has changed: nobody stands in it twice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PresenceChanges {
    /// Who was not there before.
    pub join: Vec<Member>,
    /// Who is not there any more.
    pub leave: Vec<ClientId>,
    /// Who was there and is, and of whom something else is said now.
    pub update: Vec<Member>,
    /// How many there are now.
    pub counts: PresenceCounts,
}

impl PresenceEvent {
    /// How many there are.
    #[must_use]
    pub fn counts(&self) -> PresenceCounts {
        match self {
            Self::Snapshot(page) => page.counts,
            Self::Changes(changes) => changes.counts,
            Self::Counts(counts) => *counts,
        }
    }
}
