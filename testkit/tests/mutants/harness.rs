//! Nodes of a hub with one fault in each.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use fanfare_core::{
    backend::{Backend, BackendError, BackendErrorKind, Capabilities, memory::MemoryHub},
    topic::TopicName,
};
use fanfare_testkit::backend::{Clock, Harness, SECRET};
use parking_lot::Mutex;

use crate::{
    absence::Absence,
    fault::Fault,
    twisted::{Node, World},
};

/// A cluster of faulty nodes. The faults are their own: the harness is in order.
pub(crate) struct Twisted {
    fault: Fault,
    hub: MemoryHub,
    others: MemoryHub,
    world: Arc<World>,
    nodes: Mutex<Vec<Arc<Node>>>,
}

impl Twisted {
    pub(crate) fn with(fault: Fault) -> Self {
        let (hub, others, world) = (MemoryHub::new(), MemoryHub::new(), Arc::default());
        Self { fault, hub, others, world, nodes: Mutex::default() }
    }

    fn nodes(&self) -> Vec<Arc<Node>> {
        self.nodes.lock().clone()
    }
}

#[async_trait]
impl Harness for Twisted {
    async fn start() -> Option<Self> {
        Some(Self::with(Fault::None))
    }

    fn node(&self) -> Arc<dyn Backend> {
        let node = Arc::new(Node::new(self.hub.node(), self.fault, self.world.clone()));
        self.nodes.lock().push(node.clone());
        self.world.nodes.lock().push(Arc::downgrade(&node));
        node
    }

    fn stranger(&self) -> Arc<dyn Backend> {
        let hub = if self.fault == Fault::LeaksPrefix { &self.hub } else { &self.others };
        Arc::new(Node::new(hub.node(), self.fault, Arc::default()))
    }

    async fn interrupt(&self) {
        for node in self.nodes() {
            node.set_connected(false);
        }
    }

    async fn restore(&self) {
        for node in self.nodes() {
            node.set_connected(true);
        }
        for node in self.nodes() {
            node.renew().await;
        }
    }

    async fn lose_interests(&self) {
        for node in self.nodes() {
            node.lose_interests().await;
        }
    }

    async fn garble(&self, topic: &TopicName) {
        for node in self.nodes() {
            node.garbage(topic);
        }
    }

    async fn lose_log(&self, topic: &TopicName) {
        self.hub.forget(topic);
    }

    async fn lose_end(&self, topic: &TopicName) {
        self.hub.skip(topic, 2 * Capabilities::UNCOUNTABLE);
    }

    fn misconfigured(&self) -> Vec<(&'static str, Arc<dyn Backend>)> {
        let error = match self.fault {
            Fault::CallsEverythingUnavailable => {
                (BackendErrorKind::Unavailable, "the password is wrong".to_owned())
            }
            Fault::ShowsPassword => (BackendErrorKind::Refused, format!("the password {SECRET} is wrong")),
            _ => (BackendErrorKind::Refused, "the password is wrong".to_owned()),
        };
        vec![(
            "password",
            Arc::new(Absence::new(move || BackendError::new(error.0, "start", error.1.clone()))),
        )]
    }

    fn unreachable(&self) -> Arc<dyn Backend> {
        let kind = match self.fault {
            Fault::CallsEverythingConfiguration => BackendErrorKind::Configuration,
            _ => BackendErrorKind::Unavailable,
        };
        Arc::new(Absence::new(move || BackendError::new(kind, "start", "nobody answers")))
    }

    async fn connections(&self) -> Option<usize> {
        Some(self.world.connections.load(Ordering::SeqCst))
    }

    fn clock() -> Clock {
        Clock::Paused
    }
}

/// Counts what a node holds open.
pub(crate) type Connections = AtomicUsize;
