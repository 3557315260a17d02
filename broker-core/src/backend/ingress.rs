//! How a backend tells a node what arrives.

use std::sync::Weak;

use bytes::Bytes;

use super::{BackendState, Incoming, NodeId};
use crate::{broker::Inner, topic::TopicName};

/// The way into a node, for its backend. It does not keep the node alive; what
/// comes after the node has gone is dropped.
#[derive(Clone)]
pub struct Ingress {
    pub(crate) node: NodeId,
    pub(crate) broker: Weak<Inner>,
}

impl Ingress {
    /// The name of this node.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// Takes a message that has arrived. Messages of one topic are given one
    /// after the other: await each call. It waits while the fan-out is behind.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, the message may be delivered or not; on a
    /// logged topic it is then found missing, and read from the history.
    pub async fn deliver(&self, incoming: Incoming) {
        if let Some(broker) = self.broker.upgrade() {
            broker.receive(incoming).await;
        }
    }

    /// Messages of a topic, or of all topics, were lost on the way to this node.
    /// Subscribers of ephemeral topics are told; logged topics are read from the history.
    pub fn lost(&self, topic: Option<&TopicName>) {
        if let Some(broker) = self.broker.upgrade() {
            broker.lost(topic);
        }
    }

    /// Takes a control frame of another node.
    pub fn control(&self, from: NodeId, frame: Bytes) {
        if let Some(broker) = self.broker.upgrade() {
            broker.control(from, frame);
        }
    }

    /// The backend can be reached, or no longer.
    pub fn state(&self, state: BackendState) {
        if let Some(broker) = self.broker.upgrade() {
            broker.backend_state(state);
        }
    }
}

impl std::fmt::Debug for Ingress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ingress").field("node", &self.node).finish_non_exhaustive()
    }
}
