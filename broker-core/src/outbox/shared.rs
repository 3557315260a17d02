//! What an outbox knows beside its state.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;

use super::budget::Budget;
use crate::{
    fanout::{Inbox, PullHandle},
    message::{Format, Frame},
    session::ClientId,
    stats::Totals,
    subscriber::SubscriptionId,
};

/// What does not change in the life of an outbox, but for its name, which changes once where the connection takes up an
/// earlier session, before it is subscribed to anything.
pub(crate) struct Shared {
    pub(crate) name: AtomicU64,
    /// The wire format; none where messages are taken as they are.
    pub(crate) format: Option<Format>,
    pub(crate) limits: OutboxLimits,
    pub(crate) budget: Arc<Budget>,
    pub(crate) totals: Arc<Totals>,
    /// The inbox of the connection's shard.
    pub(crate) inbox: Arc<Inbox>,
}

/// The bounds of one outbox.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OutboxLimits {
    pub(crate) queue_bytes: usize,
    pub(crate) control_bytes: u32,
    /// Messages to the connection itself.
    pub(crate) direct_messages: u32,
}

impl Shared {
    pub(crate) fn name_of(client: ClientId) -> AtomicU64 {
        AtomicU64::new(client.value())
    }

    pub(super) fn client(&self) -> ClientId {
        ClientId::new(self.name.load(Ordering::Relaxed))
    }

    pub(super) fn rename(&self, client: ClientId) {
        self.name.store(client.value(), Ordering::Relaxed);
    }

    /// Asks the shard for the next page of a subscription.
    pub(super) fn pull(&self, subscription: SubscriptionId) {
        self.pull_handle().pull(subscription);
    }

    pub(super) fn pull_handle(&self) -> PullHandle {
        PullHandle { inbox: self.inbox.clone(), client: self.client() }
    }

    pub(super) fn encode(&self, frame: Frame<'_>) -> Bytes {
        self.format.as_ref().map_or_else(Bytes::new, |format| format.encode(frame))
    }
}
