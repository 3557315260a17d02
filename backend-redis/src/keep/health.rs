//! Whether the backend works: all its connections do.

use std::{collections::HashMap, sync::Arc, time::Duration};

use fanfare_core::backend::{
    BackendState,
    blocks::{self, Inbox},
};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::Role;
use crate::error::Trouble;

/// Collects the state of all connections.
pub(crate) struct Health {
    of_all: blocks::Health,
    /// Which connections are up, by server.
    links: Mutex<HashMap<(u32, Role), bool>>,
}

impl Health {
    pub(crate) fn new(inbox: Arc<Inbox>, state: watch::Sender<BackendState>) -> Self {
        Self { of_all: blocks::Health::new(inbox, state), links: Mutex::default() }
    }

    /// A connection that has to be up for the backend to be.
    pub(crate) fn expect(&self, peer: u32) {
        for role in [Role::Commands, Role::Pushes] {
            self.change(|links| {
                links.entry((peer, role)).or_insert(false);
            });
        }
    }

    /// A server that is needed no longer.
    pub(crate) fn forget(&self, peer: u32) {
        self.change(|links| links.retain(|(other, _), _| *other != peer));
    }

    pub(crate) fn set(&self, peer: u32, role: Role, is_up: bool) {
        self.change(|links| {
            if let Some(up) = links.get_mut(&(peer, role)) {
                *up = is_up;
            }
        });
    }

    fn change(&self, change: impl FnOnce(&mut HashMap<(u32, Role), bool>)) {
        let mut links = self.links.lock();
        change(&mut links);
        // Said under the lock, so that changes are heard of in their order.
        self.of_all.set(!links.is_empty() && links.values().all(|up| *up));
    }

    /// Why a connection cannot be made, or was lost.
    pub(crate) fn failed(&self, trouble: &Trouble) {
        self.of_all.failed(trouble);
    }

    pub(crate) fn is_up(&self) -> bool {
        self.of_all.is_up()
    }

    /// Waits until all are up, and tells the core from then on.
    pub(crate) async fn started(&self, limit: Duration) -> Result<(), Option<Trouble>> {
        self.of_all.started(limit).await
    }

    /// The core is told nothing any more.
    pub(crate) fn end(&self) {
        self.of_all.end();
    }
}
