//! How a backend tells a node what arrives.

use std::{
    fmt,
    sync::{Arc, Weak},
};

use async_trait::async_trait;
use bytes::Bytes;

use super::{BackendState, Incoming, NodeId};
use crate::{broker::Inner, topic::TopicName};

/// The way into a node, for its backend. It does not keep the node alive; what
/// comes after the node has gone is dropped.
#[derive(Clone)]
pub struct Ingress {
    node: NodeId,
    to: To,
}

#[derive(Clone)]
enum To {
    Node(Weak<Inner>),
    Other(Arc<dyn Arrivals>),
}

/// Who takes what arrives from a backend in place of a broker: a test that looks at what a backend says, or
/// a backend around another one that changes what that one says. See [`Ingress::to`].
#[async_trait]
pub trait Arrivals: Send + Sync + 'static {
    /// As [`Ingress::deliver`].
    async fn deliver(&self, incoming: Incoming);

    /// As [`Ingress::lost`].
    fn lost(&self, topic: Option<&TopicName>);

    /// As [`Ingress::control`].
    fn control(&self, from: NodeId, frame: Bytes);

    /// As [`Ingress::state`].
    fn state(&self, state: BackendState);
}

impl Ingress {
    /// The way to somebody else than a broker.
    pub fn to(node: NodeId, arrivals: Arc<dyn Arrivals>) -> Self {
        Self { node, to: To::Other(arrivals) }
    }

    pub(crate) fn of(node: NodeId, broker: Weak<Inner>) -> Self {
        Self { node, to: To::Node(broker) }
    }

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
        match &self.to {
            To::Node(broker) => {
                if let Some(broker) = broker.upgrade() {
                    broker.receive(incoming).await;
                }
            }
            To::Other(arrivals) => arrivals.deliver(incoming).await,
        }
    }

    /// Messages of a topic, or of all topics, were lost on the way to this node.
    /// Subscribers of ephemeral topics are told; logged topics are read from the history.
    pub fn lost(&self, topic: Option<&TopicName>) {
        match &self.to {
            To::Node(broker) => {
                if let Some(broker) = broker.upgrade() {
                    broker.lost(topic);
                }
            }
            To::Other(arrivals) => arrivals.lost(topic),
        }
    }

    /// Takes a control frame of another node.
    pub fn control(&self, from: NodeId, frame: Bytes) {
        match &self.to {
            To::Node(broker) => {
                if let Some(broker) = broker.upgrade() {
                    broker.control(from, frame);
                }
            }
            To::Other(arrivals) => arrivals.control(from, frame),
        }
    }

    /// The backend can be reached, or no longer.
    pub fn state(&self, state: BackendState) {
        match &self.to {
            To::Node(broker) => {
                if let Some(broker) = broker.upgrade() {
                    broker.backend_state(state);
                }
            }
            To::Other(arrivals) => arrivals.state(state),
        }
    }
}

impl fmt::Debug for Ingress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ingress").field("node", &self.node).finish_non_exhaustive()
    }
}
