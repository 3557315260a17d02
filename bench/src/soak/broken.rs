//! A backend that is wrong on purpose, to see that the checks would notice.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use bytes::Bytes;
use clap::ValueEnum;
use fanfare::{
    backend::{
        Accepted, Arrivals, Backend, BackendError, BackendState, Capabilities, HistoryQuery, Incoming,
        Ingress, Interest, NodeId, Outgoing, Page, Retention,
    },
    message::Position,
    topic::TopicName,
};
use fanfare_testkit::SharedBackend;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::time::Instant;

/// One message of this many suffers.
const RARE: u64 = 200;

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Broken {
    /// A message from another node is not delivered.
    Drops,
    /// A message comes a second time, as if it were another one.
    Doubles,
    /// Two messages change places.
    Swaps,
    /// A page of the history leaves a message out.
    Omits,
    /// What was refused is stored all the same.
    Lies,
}

/// A backend that is wrong in one respect.
#[derive(Debug)]
pub(super) struct Twisted {
    inner: SharedBackend,
    broken: Broken,
    count: AtomicU64,
}

impl Twisted {
    pub(super) fn new(inner: SharedBackend, broken: Broken) -> Self {
        Self { inner, broken, count: AtomicU64::new(0) }
    }

    fn is_due(&self, broken: Broken) -> bool {
        self.broken == broken && self.count.fetch_add(1, Ordering::Relaxed) % RARE == RARE - 1
    }
}

#[async_trait]
impl Backend for Twisted {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn start(&self, ingress: Ingress) -> Result<(), BackendError> {
        let twist = Twist {
            to: ingress.clone(),
            broken: self.broken,
            count: AtomicU64::new(0),
            held: Mutex::new(None),
        };
        self.inner.start(Ingress::to(ingress.node(), Arc::new(twist))).await
    }

    async fn prepare(&self, logs: &[Retention]) -> Result<(), BackendError> {
        self.inner.prepare(logs).await
    }

    fn publish(&self, message: Outgoing) -> BoxFuture<'static, Result<Accepted, BackendError>> {
        let is_logged = message.retention.is_some();
        let stored = self.inner.publish(message);
        if is_logged && self.is_due(Broken::Lies) {
            return Box::pin(async move {
                stored.await?;
                let kind = fanfare::backend::BackendErrorKind::Unavailable;
                Err(BackendError::new(kind, "publish", "it is not stored, this says"))
            });
        }
        stored
    }

    async fn subscribe(&self, interest: &Interest) -> Result<Option<Position>, BackendError> {
        self.inner.subscribe(interest).await
    }

    async fn unsubscribe(&self, interest: &Interest) -> Result<(), BackendError> {
        self.inner.unsubscribe(interest).await
    }

    async fn history(&self, topic: &TopicName, query: HistoryQuery) -> Result<Page, BackendError> {
        let mut page = self.inner.history(topic, query).await?;
        let is_forward = matches!(query, HistoryQuery::After { .. });
        if is_forward && page.messages.len() > 2 && self.is_due(Broken::Omits) {
            page.messages.remove(1);
        }
        Ok(page)
    }

    fn control(&self, to: Option<NodeId>, frame: Bytes) -> BoxFuture<'static, Result<(), BackendError>> {
        self.inner.control(to, frame)
    }

    async fn shutdown(&self, by: Instant) {
        self.inner.shutdown(by).await;
    }
}

/// Between a backend and its node.
struct Twist {
    to: Ingress,
    broken: Broken,
    count: AtomicU64,
    held: Mutex<Option<Incoming>>,
}

#[async_trait]
impl Arrivals for Twist {
    async fn deliver(&self, mut incoming: Incoming) {
        // The system's own topics are none of ours.
        let is_ours = !incoming.message.topic.is_system();
        let is_due = is_ours && self.count.fetch_add(1, Ordering::Relaxed) % RARE == RARE - 1;
        match self.broken {
            Broken::Drops if is_due => {
                // The next message must look as if it followed.
                *self.held.lock() = Some(incoming);
                return;
            }
            Broken::Drops if is_ours => self.close_up(&mut incoming),
            Broken::Doubles if is_due => {
                self.to.deliver(incoming.clone()).await;
                if let Some(origin) = &mut incoming.origin {
                    origin.stream ^= 1 << 40;
                }
                if let Some(place) = &mut incoming.log {
                    (place.prev, place.position.offset) = (place.position.offset, place.position.offset + 1);
                }
            }
            Broken::Swaps if is_due => {
                *self.held.lock() = Some(incoming);
                return;
            }
            Broken::Swaps if is_ours => {
                let held = self.held.lock().take();
                if let Some(mut held) = held {
                    if held.message.topic == incoming.message.topic {
                        std::mem::swap(&mut held.message, &mut incoming.message);
                    }
                    self.to.deliver(held).await;
                }
            }
            _ => {}
        }
        self.to.deliver(incoming).await;
    }

    fn lost(&self, topic: Option<&TopicName>) {
        self.to.lost(topic);
    }

    fn control(&self, from: NodeId, frame: Bytes) {
        self.to.control(from, frame);
    }

    fn state(&self, state: BackendState) {
        self.to.state(state);
    }
}

impl Twist {
    /// Hides that a message before this one was dropped.
    fn close_up(&self, incoming: &mut Incoming) {
        let mut held = self.held.lock();
        if held.as_ref().is_none_or(|held| held.message.topic != incoming.message.topic) {
            return;
        }
        let Some(held) = held.take() else { return };
        if let (Some(place), Some(lost)) = (&mut incoming.log, held.log) {
            place.prev = lost.prev;
        }
        // An ephemeral message is missed by its number.
        if let (Some(origin), Some(lost)) = (&mut incoming.origin, held.origin)
            && incoming.log.is_none()
            && origin.node == lost.node
            && origin.stream == lost.stream
        {
            origin.seq = lost.seq;
        }
    }
}

impl fmt::Debug for Twist {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Twist").field("broken", &self.broken).finish_non_exhaustive()
    }
}
