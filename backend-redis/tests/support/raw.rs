//! A node without a broker: it calls the backend as the core does, and writes down what it is told.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use bytes::Bytes;
use fanfare_core::{
    backend::{
        Accepted, Arrivals, Backend, BackendError, BackendState, HistoryQuery, Incoming, Ingress, Interest,
        NodeId, Origin, Outgoing, Page, Retention,
    },
    message::{MessageParts, Position},
    topic::{TopicConfig, TopicName, TopicPattern},
};
use fanfare_redis::{RedisBackend, RedisBuilder};
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::{PATIENCE, topic};

/// What a node was told, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    Message(String, String),
    Lost,
    State(BackendState),
}

#[derive(Default)]
struct Record {
    told: Mutex<Vec<Told>>,
    /// While it is shut, `deliver` waits.
    shut: watch::Sender<bool>,
}

#[async_trait]
impl Arrivals for Record {
    async fn deliver(&self, incoming: Incoming) {
        let text = incoming.message.payload.as_str().unwrap_or("(binary)").to_owned();
        self.told.lock().push(Told::Message(incoming.message.topic.to_string(), text));
        let _ = self.shut.subscribe().wait_for(|shut| !shut).await;
    }

    fn lost(&self, _: Option<&TopicName>) {
        self.told.lock().push(Told::Lost);
    }

    fn control(&self, _: NodeId, _: Bytes) {}

    fn state(&self, state: BackendState) {
        self.told.lock().push(Told::State(state));
    }
}

/// A node without a broker.
pub struct Raw {
    pub backend: RedisBackend,
    id: NodeId,
    record: Arc<Record>,
    seq: AtomicU64,
}

impl Raw {
    pub async fn start(builder: RedisBuilder) -> Self {
        let (backend, record) = (builder.build().expect("settings"), Arc::new(Record::default()));
        let id = NodeId::random();
        backend.start(Ingress::to(id, record.clone())).await.expect("a start");
        Self { backend, id, record, seq: AtomicU64::new(0) }
    }

    pub fn told(&self) -> Vec<Told> {
        self.record.told.lock().clone()
    }

    /// The texts of a topic.
    pub fn texts(&self, name: &str) -> Vec<String> {
        let of = |told| match told {
            Told::Message(topic, text) if topic == name => Some(text),
            _ => None,
        };
        self.told().into_iter().filter_map(of).collect()
    }

    /// `deliver` waits from now on, or no longer.
    pub fn shut(&self, yes: bool) {
        self.record.shut.send_replace(yes);
    }

    pub async fn until(&self, what: &str, wanted: impl Fn(&[Told]) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !wanted(&self.record.told.lock()) {
            assert!(Instant::now() < deadline, "{what}: never; told was {:?}", self.told());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub async fn until_state(&self, state: BackendState) {
        let mut states = self.backend.state();
        let reached = tokio::time::timeout(PATIENCE, states.wait_for(|now| *now == state)).await;
        reached.unwrap_or_else(|_| panic!("the backend was never {state:?}")).expect("a backend");
    }

    /// Hands a text over.
    pub fn hand_over(
        &self,
        name: &str,
        text: &str,
        retention: Option<Retention>,
    ) -> BoxFuture<'static, Result<Accepted, BackendError>> {
        self.hand_over_parts(MessageParts::new(topic(name), text), retention)
    }

    pub fn hand_over_parts(
        &self,
        parts: MessageParts,
        retention: Option<Retention>,
    ) -> BoxFuture<'static, Result<Accepted, BackendError>> {
        let origin = Origin { node: self.id, stream: 1, seq: self.seq.fetch_add(1, Ordering::SeqCst) + 1 };
        self.backend.publish(match retention {
            None => Outgoing::ephemeral(parts, origin),
            Some(retention) => Outgoing::logged(parts, retention, origin),
        })
    }

    pub async fn subscribe(&self, name: &str, retention: Option<Retention>) -> Option<Position> {
        let interest = Interest::Topic { name: topic(name), retention };
        self.backend.subscribe(&interest).await.expect("a subscription")
    }

    pub async fn subscribe_pattern(&self, pattern: &str) {
        let interest = Interest::Pattern(TopicPattern::new(pattern).expect("a pattern"));
        self.backend.subscribe(&interest).await.expect("a subscription");
    }

    pub async fn history(&self, name: &str, query: HistoryQuery) -> Page {
        self.backend.history(&topic(name), query).await.expect("a page")
    }

    pub async fn end(self) {
        self.backend.shutdown(tokio::time::Instant::now() + Duration::from_secs(5)).await;
    }
}

/// What a topic retains that is configured so.
pub fn retention(config: &TopicConfig) -> Retention {
    Retention::of(config).expect("a logged topic")
}
