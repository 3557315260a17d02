//! Whether the backend works.

use std::sync::Arc;

use fanfare_core::backend::{BackendState, blocks::Inbox};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::error::Trouble;

/// What is known of the connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Status {
    pub(crate) is_up: bool,
    /// Why it is not, or was not last.
    pub(crate) trouble: Option<Trouble>,
}

/// Keeps the state of the connection, and says it to the core.
pub(crate) struct Health {
    inbox: Arc<Inbox>,
    told: Mutex<Told>,
    status: watch::Sender<Status>,
    state: watch::Sender<BackendState>,
}

#[derive(Default)]
struct Told {
    /// The core is told from the start's end on.
    is_started: bool,
    is_over: bool,
}

impl Health {
    pub(crate) fn new(inbox: Arc<Inbox>, state: watch::Sender<BackendState>) -> Self {
        Self { inbox, told: Mutex::default(), status: watch::Sender::default(), state }
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    pub(crate) fn set(&self, is_up: bool) {
        let told = self.told.lock();
        let has_changed =
            self.status.send_if_modified(|status| std::mem::replace(&mut status.is_up, is_up) != is_up);
        if !has_changed {
            return;
        }
        let state = if is_up { BackendState::Up } else { BackendState::Down };
        self.state.send_replace(state);
        // Told under the lock, so that the core hears changes in their order.
        if told.is_started && !told.is_over {
            self.inbox.state(state);
        }
    }

    /// Why a connection cannot be made, or was lost.
    pub(crate) fn failed(&self, trouble: &Trouble) {
        self.status.send_modify(|status| status.trouble = Some(trouble.clone()));
    }

    /// From here on the core is told. False where the backend has gone down again.
    pub(crate) fn start(&self) -> bool {
        let mut told = self.told.lock();
        told.is_started = self.status.borrow().is_up;
        if told.is_started {
            self.inbox.begin();
        }
        told.is_started
    }

    /// The core is told nothing any more.
    pub(crate) fn end(&self) {
        self.told.lock().is_over = true;
    }
}
