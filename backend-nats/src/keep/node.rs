//! What the connection and all calls of one node share.

use std::{sync::Arc, time::Duration};

use fanfare_core::backend::{
    NodeId,
    blocks::{Health, Inbox},
};
use parking_lot::Mutex;
use tokio::time::timeout;

use crate::{
    error::Trouble,
    log::Logs,
    names::Names,
    receive::{Interests, Pushed, Teller},
    settings::Settings,
    wire::{Lost, Queue},
};

/// What the connection and all calls of one node share.
pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) settings: Arc<Settings>,
    pub(crate) names: Arc<Names>,
    pub(crate) health: Health,
    pub(crate) queue: Arc<Queue>,
    pub(crate) logs: Arc<Logs>,
    pub(crate) interests: Arc<Interests>,
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) pushed: Pushed,
    pub(crate) teller: Mutex<Teller>,
    /// Whoever changes subscriptions also hands them over under it, so that a connection has all or none of them.
    pub(crate) subscribing: Mutex<()>,
}

/// What an unanswered call means where nothing was stored by it.
pub(crate) fn lost(lost: Lost) -> Trouble {
    match lost {
        Lost::Full => Trouble::unavailable("too much waits for NATS already: publish less, or later"),
        Lost::Unsent => Trouble::unavailable("NATS is away; the backend is trying to reach it"),
        Lost::Unanswered => Trouble::unavailable("the connection to NATS broke before the answer came"),
        Lost::Refused(trouble) => trouble,
    }
}

/// A time within which something has to have happened.
pub(crate) async fn within<T>(
    limit: Duration,
    asked: impl Future<Output = Result<T, Trouble>>,
) -> Result<T, Trouble> {
    let late = || Trouble::unavailable(format!("NATS did not answer within {limit:?}"));
    timeout(limit, asked).await.unwrap_or_else(|_| Err(late()))
}
