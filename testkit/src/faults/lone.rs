//! A node without a broker: it calls the backend as the core does, and writes down what it is told.

use std::{
    fmt,
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
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::{sync::watch, time::timeout};

use super::PATIENCE;

/// What a node was told.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Told {
    /// A message: its topic and its text.
    Message(String, String),
    /// Something is lost: of a topic, or of all.
    Lost(Option<String>),
    /// A control frame.
    Control(Bytes),
    /// The backend is there, or is not.
    State(BackendState),
}

struct Record {
    told: Mutex<Vec<Told>>,
    state: watch::Sender<BackendState>,
    /// While it is shut, `deliver` waits.
    shut: watch::Sender<bool>,
}

impl Record {
    fn new() -> Self {
        let state = watch::Sender::new(BackendState::Up);
        Self { told: Mutex::default(), state, shut: watch::Sender::default() }
    }
}

#[async_trait]
impl Arrivals for Record {
    async fn deliver(&self, incoming: Incoming) {
        let text = incoming.message.payload.as_str().unwrap_or("(binary)").to_owned();
        self.told.lock().push(Told::Message(incoming.message.topic.to_string(), text));
        let _ = self.shut.subscribe().wait_for(|shut| !shut).await;
    }

    fn lost(&self, topic: Option<&TopicName>) {
        self.told.lock().push(Told::Lost(topic.map(ToString::to_string)));
    }

    fn control(&self, _: NodeId, frame: Bytes) {
        self.told.lock().push(Told::Control(frame));
    }

    fn state(&self, state: BackendState) {
        self.told.lock().push(Told::State(state));
        self.state.send_replace(state);
    }
}

/// A node without a broker: it calls a backend as the core does, and writes down what it is told.
///
/// Its functions panic where what they want does not happen, but for [`attempt`](Self::attempt).
pub struct Lone<B> {
    /// The backend.
    pub backend: B,
    /// The node's name.
    pub id: NodeId,
    record: Arc<Record>,
    seq: AtomicU64,
}

impl<B: Backend> Lone<B> {
    /// Starts it.
    pub async fn start(backend: B) -> Self {
        Self::attempt(backend).await.expect("a start")
    }

    /// Tries to start it, once: a broker would try again.
    ///
    /// # Errors
    ///
    /// The backend's own.
    pub async fn attempt(backend: B) -> Result<Self, BackendError> {
        let (id, record) = (NodeId::random(), Arc::new(Record::new()));
        backend.start(Ingress::to(id, record.clone())).await?;
        Ok(Self { backend, id, record, seq: AtomicU64::new(0) })
    }

    /// What it was told, in this order.
    #[must_use]
    pub fn told(&self) -> Vec<Told> {
        self.record.told.lock().clone()
    }

    /// The texts of a topic.
    #[must_use]
    pub fn texts(&self, name: &str) -> Vec<String> {
        let of = |told| match told {
            Told::Message(topic, text) if topic == name => Some(text),
            _ => None,
        };
        self.told().into_iter().filter_map(of).collect()
    }

    /// Lets whoever gives a message wait from now on, or no longer.
    pub fn shut(&self, yes: bool) {
        self.record.shut.send_replace(yes);
    }

    /// Waits until it was told what is wanted.
    pub async fn until(&self, what: &str, wanted: impl Fn(&[Told]) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !wanted(&self.record.told.lock()) {
            assert!(Instant::now() < deadline, "{what}: never; told was {:?}", self.told());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until the backend says so.
    pub async fn until_state(&self, wanted: BackendState) {
        let mut state = self.record.state.subscribe();
        let reached = timeout(PATIENCE, state.wait_for(|state| *state == wanted)).await;
        reached.unwrap_or_else(|_| panic!("the backend was never {wanted:?}")).expect("a node");
    }

    /// Hands a text over, to be retained or not.
    pub fn hand_over(
        &self,
        name: &str,
        text: &str,
        retention: Option<Retention>,
    ) -> BoxFuture<'static, Result<Accepted, BackendError>> {
        self.hand_over_parts(MessageParts::new(topic(name), text), retention)
    }

    /// Hands a message over, to be retained or not.
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

    /// Subscribes to a topic, which is logged or is not.
    pub async fn subscribe(&self, name: &str, retention: Option<Retention>) -> Option<Position> {
        let interest = Interest::Topic { name: topic(name), retention };
        self.backend.subscribe(&interest).await.expect("a subscription")
    }

    /// Subscribes to a pattern.
    pub async fn subscribe_pattern(&self, pattern: &str) {
        let interest = Interest::Pattern(TopicPattern::new(pattern).expect("a pattern"));
        self.backend.subscribe(&interest).await.expect("a subscription");
    }

    /// Reads a log.
    pub async fn history(&self, name: &str, query: HistoryQuery) -> Page {
        self.backend.history(&topic(name), query).await.expect("a page")
    }

    /// Ends it.
    pub async fn end(self) {
        self.backend.shutdown(tokio::time::Instant::now() + Duration::from_secs(5)).await;
    }
}

impl<B: fmt::Debug> fmt::Debug for Lone<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lone").field("backend", &self.backend).field("id", &self.id).finish_non_exhaustive()
    }
}

/// What a topic retains that is configured so.
///
/// # Panics
///
/// When it retains nothing.
#[must_use]
pub fn retention(config: &TopicConfig) -> Retention {
    Retention::of(config).expect("a logged topic")
}

pub(super) fn topic(name: &str) -> TopicName {
    TopicName::new(name).expect("a name")
}
