//! The memory backends pass the suite.

use std::sync::Arc;

use async_trait::async_trait;
use fanfare_core::{
    backend::{
        Backend, Capabilities,
        memory::{HubNode, MemoryBackend, MemoryHub},
    },
    topic::TopicName,
};
use fanfare_testkit::{
    SharedBackend,
    backend::{Clock, Exception, Harness, Needs},
};
use parking_lot::Mutex;

/// Several nodes on a hub.
struct Hub {
    hub: MemoryHub,
    nodes: Mutex<Vec<Arc<HubNode>>>,
    others: MemoryHub,
}

#[async_trait]
impl Harness for Hub {
    async fn start() -> Option<Self> {
        Some(Self { hub: MemoryHub::new(), nodes: Mutex::default(), others: MemoryHub::new() })
    }

    fn node(&self) -> Arc<dyn Backend> {
        let node = Arc::new(self.hub.node());
        self.nodes.lock().push(node.clone());
        node
    }

    fn stranger(&self) -> Arc<dyn Backend> {
        Arc::new(self.others.node())
    }

    async fn interrupt(&self) {
        for node in &*self.nodes.lock() {
            node.set_connected(false);
        }
    }

    async fn restore(&self) {
        for node in &*self.nodes.lock() {
            node.set_connected(true);
        }
    }

    async fn lose_log(&self, topic: &TopicName) {
        self.hub.forget(topic);
    }

    async fn lose_end(&self, topic: &TopicName) {
        self.hub.skip(topic, 2 * Capabilities::UNCOUNTABLE);
    }

    fn clock() -> Clock {
        Clock::Paused
    }

    fn exceptions() -> Vec<Exception> {
        let settings =
            Exception::all_that_need(Needs::BadSettings, "a hub has no settings, and is always there");
        let interests =
            Exception::all_that_need(Needs::InterestLoss, "a hub does not forget what its nodes want");
        let garbage = Exception::all_that_need(Needs::Garbage, "messages of a hub are never bytes");
        settings.chain(interests).chain(garbage).collect()
    }
}

/// One process alone.
struct Inline(Arc<MemoryBackend>);

#[async_trait]
impl Harness for Inline {
    async fn start() -> Option<Self> {
        Some(Self(Arc::new(MemoryBackend::new())))
    }

    fn node(&self) -> Arc<dyn Backend> {
        self.0.clone()
    }

    fn stranger(&self) -> Arc<dyn Backend> {
        Arc::new(SharedBackend::new(Arc::new(MemoryBackend::new())))
    }

    async fn lose_log(&self, topic: &TopicName) {
        self.0.forget(topic);
    }

    fn clock() -> Clock {
        Clock::Paused
    }

    fn exceptions() -> Vec<Exception> {
        let reasons = [
            (Needs::Nodes, "an inline backend serves one node"),
            (Needs::Interruption, "what is in the process is always there"),
            (Needs::InterestLoss, "what is in the process is always there"),
            (Needs::EndLoss, "what is in the process is lost as a whole, or not at all"),
            (Needs::Garbage, "messages in the process are never bytes"),
            (Needs::BadSettings, "there are no settings"),
        ];
        let mut exceptions: Vec<_> =
            reasons.into_iter().flat_map(|(needs, reason)| Exception::all_that_need(needs, reason)).collect();
        let reason = "the process would have to be another one: then nobody is subscribed";
        exceptions.push(Exception::new("law_a_lost_log_is_told", reason));
        exceptions
    }
}

mod hub {
    fanfare_testkit::backend_tests!(super::Hub);
}

mod inline {
    fanfare_testkit::backend_tests!(super::Inline);
}
