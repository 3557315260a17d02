//! A node that stops gives its sessions to others: their clients find them where they come back.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::time::Instant;

use super::{WITHIN, Word, wire};
use crate::{
    backend::NodeId,
    broker::Inner,
    cluster::{Whom, parcels, questions},
    session::seat::{Leaving, Parked},
};

/// How much is given at once, more or less.
const AT_ONCE: usize = 512 << 10;

impl Inner {
    /// Whether sessions are given to other nodes when this one stops.
    pub(crate) fn has_heirs(&self) -> bool {
        self.parking.is_open() && !self.cluster.nodes().is_empty()
    }

    /// Gives all sessions to another node, or, where that one does not take them, to the next, and tells all who has them. What nobody has
    /// taken by then is lost with this node.
    pub(crate) async fn bequeath_sessions(self: &Arc<Self>, by: Instant) {
        if !self.has_heirs() {
            return;
        }
        // Who has not gone by now is cut off.
        for seat in self.registry.seats() {
            self.part(&seat, Leaving::Lost);
        }
        let mut nodes = self.cluster.nodes().to_vec();
        fastrand::shuffle(&mut nodes);
        for node in nodes {
            if self.bequeath_to(node, by).await {
                return;
            }
        }
        let left = self.parking.len();
        if left > 0 {
            tracing::warn!(target: "fanfare::core", left, "no other node has taken the sessions: their clients begin anew");
        }
    }

    /// True when nothing is left.
    async fn bequeath_to(self: &Arc<Self>, node: NodeId, by: Instant) -> bool {
        let mut is_heir = false;
        loop {
            let sessions = self.parking.lend_some(node, AT_ONCE);
            if sessions.is_empty() {
                return true;
            }
            let content = wire::write_sessions(&sessions, self.is_addressed());
            let within = WITHIN.min(by.saturating_duration_since(Instant::now()));
            let asking = self.cluster.ask(self, Whom::Node(node), questions::KEEP, content, within);
            let is_kept = asking.all().await.answered > 0;
            for Parked { client, key, .. } in &sessions {
                self.parking.settle(*client, *key, node, is_kept);
            }
            if !is_kept {
                return false;
            }
            if !is_heir {
                is_heir = true;
                // Who does not hear of it asks everybody.
                let _ = self.cluster.post(None, parcels::SESSIONS, Word::Heir(node).write());
            }
        }
    }

    /// Keeps what a node that stops has given; not where this one stops, too.
    pub(super) fn keep_all(&self, sessions: Vec<Parked>) -> Option<Bytes> {
        if self.is_draining() || !self.parking.is_open() {
            return None;
        }
        for parked in sessions {
            self.keep(parked);
        }
        Some(Bytes::new())
    }
}

/// What is left of the time for it, where connections take theirs to end.
pub(crate) const BEQUEATH_WITHIN: Duration = Duration::from_secs(1);
