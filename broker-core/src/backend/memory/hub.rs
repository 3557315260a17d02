//! Several brokers in one process, connected by memory.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use async_trait::async_trait;
use bytes::Bytes;
use dashmap::DashMap;
use futures_util::{FutureExt, future::BoxFuture};
use parking_lot::Mutex;
use rustc_hash::FxBuildHasher;
use tokio::time::Instant;

use crate::{
    backend::{
        Accepted, Backend, BackendError, BackendErrorKind, BackendState, Capabilities, HistoryQuery,
        Incoming, Ingress, Interest, NodeId, Outgoing, Page,
        blocks::{Inbox, Interests, Logs},
    },
    message::Position,
    topic::TopicName,
};

/// Connects several brokers of one process, as Redis or NATS connects processes:
/// for tests of what spans nodes. Each broker gets a [`HubNode`] as its backend.
#[derive(Clone, Debug, Default)]
pub struct MemoryHub {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    logs: Logs,
    nodes: DashMap<u64, Arc<Node>, FxBuildHasher>,
    /// Orders appending to the logs with mailing what was appended.
    order: Mutex<()>,
}

#[derive(Debug)]
struct Node {
    interests: Interests,
    inbox: Inbox,
    /// The node is cut off from the hub.
    is_cut: AtomicBool,
}

impl MemoryHub {
    /// A hub without nodes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The backend of one more node.
    #[must_use]
    pub fn node(&self) -> HubNode {
        HubNode { shared: self.shared.clone(), node: Mutex::default() }
    }

    /// Loses the log of a topic, as a wiped server would.
    pub fn forget(&self, topic: &TopicName) {
        self.shared.logs.forget(topic);
    }

    /// Loses the end of a topic's log, as a server does that comes back with an older one: so many offsets are given to nobody.
    /// Of how many messages that was nobody can know from [`Capabilities::UNCOUNTABLE`] on.
    pub fn skip(&self, topic: &TopicName, offsets: u64) {
        self.shared.logs.skip(topic, offsets);
    }
}

/// The backend of one node of a [`MemoryHub`].
#[derive(Debug)]
pub struct HubNode {
    shared: Arc<Shared>,
    node: Mutex<Option<Arc<Node>>>,
}

impl HubNode {
    /// Cuts the node off, or connects it again: what is published elsewhere meanwhile does not
    /// arrive, and what it publishes itself is refused.
    pub fn set_connected(&self, connected: bool) {
        if let Some(node) = &*self.node.lock() {
            node.is_cut.store(!connected, Ordering::SeqCst);
            node.inbox.state(if connected { BackendState::Up } else { BackendState::Down });
        }
    }

    fn node(&self, operation: &'static str) -> Result<Arc<Node>, BackendError> {
        self.node.lock().clone().filter(|node| node.is_connected()).ok_or_else(|| {
            BackendError::new(BackendErrorKind::Unavailable, operation, "the node is cut off from its hub")
        })
    }
}

impl Shared {
    fn mail(&self, incoming: &Incoming) {
        for node in self.nodes.iter().filter(|node| node.is_connected()) {
            if node.interests.matches(incoming) {
                node.inbox.deliver(incoming.clone());
            }
        }
    }
}

impl Node {
    fn is_connected(&self) -> bool {
        !self.is_cut.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Backend for HubNode {
    fn capabilities(&self) -> Capabilities {
        Capabilities::default().dense_offsets(true)
    }

    async fn start(&self, ingress: Ingress) -> Result<(), BackendError> {
        let (interests, is_cut) = (Interests::new(), AtomicBool::new(false));
        let node = Arc::new(Node { interests, inbox: Inbox::new(ingress), is_cut });
        node.inbox.begin();
        self.shared.nodes.insert(node.inbox.node().value(), node.clone());
        *self.node.lock() = Some(node);
        Ok(())
    }

    fn publish(&self, message: Outgoing) -> BoxFuture<'static, Result<Accepted, BackendError>> {
        let publish = || {
            self.node("publish")?;
            let _order = self.shared.order.lock();
            let mut accepted = self.shared.logs.append(message.clone())?;
            if !accepted.duplicate {
                let place = accepted.stored.take().and_then(|stored| stored.place());
                self.shared.mail(&message.into_incoming(place));
            }
            Ok(accepted)
        };
        std::future::ready(publish()).boxed()
    }

    async fn subscribe(&self, interest: &Interest) -> Result<Option<Position>, BackendError> {
        let node = self.node("subscribe")?;
        let is_new = node.interests.add(interest);
        let top = self.shared.logs.open(interest)?;
        if !is_new {
            self.shared.logs.close(interest);
        }
        Ok(top)
    }

    async fn unsubscribe(&self, interest: &Interest) -> Result<(), BackendError> {
        // Also while it is cut off: what it wants is renewed on return.
        let Some(node) = self.node.lock().clone() else { return Ok(()) };
        if node.interests.remove(interest) {
            self.shared.logs.close(interest);
        }
        Ok(())
    }

    async fn history(&self, topic: &TopicName, query: HistoryQuery) -> Result<Page, BackendError> {
        self.node("history")?;
        Ok(self.shared.logs.read(topic, query))
    }

    fn control(&self, to: Option<NodeId>, frame: Bytes) -> BoxFuture<'static, Result<(), BackendError>> {
        let send = || {
            let from = self.node("control")?.inbox.node();
            for node in self.shared.nodes.iter().filter(|node| node.is_connected()) {
                let other = node.inbox.node();
                if other != from && to.is_none_or(|to| to == other) {
                    node.inbox.control(from, frame.clone());
                }
            }
            Ok(())
        };
        std::future::ready(send()).boxed()
    }

    async fn shutdown(&self, _: Instant) {
        let node = self.node.lock().take();
        if let Some(node) = node {
            self.shared.nodes.remove(&node.inbox.node().value());
            node.inbox.end().await;
        }
    }
}
