//! What an outbox knows beside its state.

use std::sync::Arc;

use bytes::Bytes;

use super::budget::Budget;
use crate::{
    fanout::PullHandle,
    message::{Format, Frame},
    session::ClientId,
    stats::Totals,
};

/// What does not change in the life of an outbox.
pub(crate) struct Shared {
    pub(crate) client: ClientId,
    /// The wire format; none where messages are taken as they are.
    pub(crate) format: Option<Format>,
    pub(crate) limits: OutboxLimits,
    pub(crate) budget: Arc<Budget>,
    pub(crate) totals: Arc<Totals>,
    pub(crate) pull: PullHandle,
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
    pub(super) fn encode(&self, frame: Frame<'_>) -> Bytes {
        self.format.as_ref().map_or_else(Bytes::new, |format| format.encode(frame))
    }
}
