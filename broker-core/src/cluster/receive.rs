//! What other nodes say, told to who wants to hear it.

use std::{panic::AssertUnwindSafe, sync::Arc};

use bytes::Bytes;
use tokio::time::Instant;

use super::{
    Cluster, NodeEvent,
    heartbeat::Heartbeat,
    parcel::{MAX_HELD, Part},
    parcels,
    peers::{Heard, Peers, SameName},
};
use crate::{backend::NodeId, broker::Inner};

impl Cluster {
    /// A node says that it is there.
    pub(crate) fn hear_heartbeat(&self, broker: &Arc<Inner>, from: NodeId, body: Bytes) {
        let Some(heartbeat) = Heartbeat::decode(body) else { return };
        let mut peers = self.peers.lock();
        if !self.heard(broker, &mut peers, from) {
            return;
        }
        if peers.keeps_pace(from, heartbeat.every) {
            self.wake.notify_one();
        }
        if peers.stamps(from, heartbeat.stamp) == Err(SameName) {
            tracing::error!(target: "fanfare::core", node = %from, "two nodes have drawn the same name: restart one of them");
        }
        if heartbeat.wants_answer {
            self.beat(broker, Some(from), false);
        }
        let handlers = self.handlers.read();
        let heard: Vec<_> = heartbeat
            .attached
            .into_iter()
            .filter_map(|(kind, bytes)| {
                let handler = handlers.attachments.iter().find(|(known, ..)| *known == kind)?;
                Some((handler.2.clone(), bytes))
            })
            .collect();
        drop(handlers);
        for (hear, bytes) in heard {
            guarded(|| hear(broker, from, bytes));
        }
    }

    /// A node says that it stops.
    pub(crate) fn hear_goodbye(&self, broker: &Arc<Inner>, from: NodeId) {
        let mut peers = self.peers.lock();
        if peers.leave(from) {
            tracing::info!(target: "fanfare::core", node = %from, "a node has said goodbye");
            self.gone(broker, &peers, from);
        }
    }

    /// A part of a parcel.
    pub(crate) fn hear_part(&self, broker: &Arc<Inner>, from: NodeId, body: Bytes) {
        let Some(part) = Part::decode(body) else { return };
        let mut peers = self.peers.lock();
        // One that is ignored has no joiner.
        self.heard(broker, &mut peers, from);
        let room = MAX_HELD.saturating_sub(peers.held());
        let Some((kind, content)) = peers.get_mut(from).and_then(|peer| peer.joiner.take(part, room)) else {
            return;
        };
        match kind {
            parcels::QUESTION => self.hear_question(broker, from, content),
            parcels::ANSWER => self.hear_answer(from, content),
            kind => {
                let Some(hear) = self.handlers.read().parcels.get(&kind).cloned() else {
                    tracing::debug!(target: "fanfare::core", node = %from, kind, "a parcel of an unknown kind");
                    return;
                };
                guarded(|| hear(broker, from, content));
            }
        }
    }

    /// Any other frame: whoever sends it is there, if it is one that says so.
    pub(crate) fn hear_anything(&self, from: NodeId) {
        let mut peers = self.peers.lock();
        if peers.get_mut(from).is_some() {
            peers.hear(from, self.every, Instant::now());
        }
    }

    /// Who has not been heard for too long is away. `late`: how long this node itself has stood still.
    pub(super) fn expire(&self, broker: &Arc<Inner>, late: std::time::Duration) {
        let mut peers = self.peers.lock();
        let now = Instant::now();
        peers.forgive(late, now);
        for node in peers.expire(now) {
            tracing::warn!(target: "fanfare::core", %node, "a node has not been heard for too long");
            self.gone(broker, &peers, node);
        }
    }

    /// When `expire` is to be called at the latest.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.peers.lock().next_due()
    }

    /// True where what the node says counts.
    fn heard(&self, broker: &Arc<Inner>, peers: &mut Peers, from: NodeId) -> bool {
        match peers.hear(from, self.every, Instant::now()) {
            Heard::Known => true,
            Heard::Ignored => false,
            Heard::New => {
                tracing::info!(target: "fanfare::core", node = %from, "a node is up");
                self.note_names(peers);
                // It has to know of this one as soon.
                self.beat(broker, Some(from), false);
                self.wake.notify_one();
                self.tell(broker, NodeEvent::Up(from));
                true
            }
        }
    }

    fn gone(&self, broker: &Arc<Inner>, peers: &Peers, node: NodeId) {
        self.note_names(peers);
        self.gives_no_answer(node);
        self.tell(broker, NodeEvent::Away(node));
    }

    fn note_names(&self, peers: &Peers) {
        *self.up.write() = peers.names().collect();
    }

    fn tell(&self, broker: &Arc<Inner>, event: NodeEvent) {
        let hearers = self.handlers.read().nodes.clone();
        for hear in hearers {
            guarded(|| hear(broker, event));
        }
    }
}

/// Who panics over what another node said does not take the backend's task along.
fn guarded(hear: impl FnOnce()) {
    if std::panic::catch_unwind(AssertUnwindSafe(hear)).is_err() {
        tracing::error!(target: "fanfare::core", "what another node said was not understood");
    }
}
