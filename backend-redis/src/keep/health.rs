//! Whether the backend works: all its connections do.

use std::{collections::HashMap, sync::Arc};

use fanfare_core::backend::{BackendState, blocks::Inbox};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::Role;
use crate::error::Trouble;

/// What is known of all connections together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Status {
    pub(crate) is_up: bool,
    /// Why it is not, or was not last.
    pub(crate) trouble: Option<Trouble>,
}

/// Collects the state of all connections, and says it to the core.
pub(crate) struct Health {
    inbox: Arc<Inbox>,
    links: Mutex<Links>,
    status: watch::Sender<Status>,
    state: watch::Sender<BackendState>,
}

#[derive(Default)]
struct Links {
    up: HashMap<(u32, Role), bool>,
    is_over: bool,
}

impl Health {
    pub(crate) fn new(inbox: Arc<Inbox>, state: watch::Sender<BackendState>) -> Self {
        Self { inbox, links: Mutex::default(), status: watch::Sender::default(), state }
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    /// A connection that has to be up for the backend to be.
    pub(crate) fn expect(&self, peer: u32) {
        for role in [Role::Commands, Role::Pushes] {
            self.change(|links| {
                links.up.entry((peer, role)).or_insert(false);
            });
        }
    }

    /// A server that is needed no longer.
    pub(crate) fn forget(&self, peer: u32) {
        self.change(|links| links.up.retain(|(other, _), _| *other != peer));
    }

    pub(crate) fn set(&self, peer: u32, role: Role, is_up: bool) {
        self.change(|links| {
            if let Some(up) = links.up.get_mut(&(peer, role)) {
                *up = is_up;
            }
        });
    }

    /// Why a connection cannot be made, or was lost.
    pub(crate) fn failed(&self, trouble: &Trouble) {
        self.status.send_modify(|status| status.trouble = Some(trouble.clone()));
    }

    /// From here on the core is told. False where the backend has gone down again.
    pub(crate) fn start(&self) -> bool {
        let _links = self.links.lock();
        let is_up = self.status.borrow().is_up;
        if is_up {
            self.inbox.begin();
        }
        is_up
    }

    /// The core is told nothing any more.
    pub(crate) fn end(&self) {
        self.links.lock().is_over = true;
    }

    fn change(&self, change: impl FnOnce(&mut Links)) {
        let mut links = self.links.lock();
        change(&mut links);
        let is_up = !links.up.is_empty() && links.up.values().all(|up| *up);
        let has_changed = self.status.send_if_modified(|status| {
            let has_changed = status.is_up != is_up;
            status.is_up = is_up;
            has_changed
        });
        if has_changed {
            self.state.send_replace(if is_up { BackendState::Up } else { BackendState::Down });
        }
        // Told under the lock, so that the core hears changes in their order.
        if has_changed && !links.is_over {
            // A core that has not heard of the outage would not look for what it missed.
            self.inbox.state(BackendState::Down);
            if is_up {
                self.inbox.state(BackendState::Up);
            }
        }
    }
}
