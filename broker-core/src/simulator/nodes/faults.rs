//! A node's backend that the simulator keeps a hand on: calls fail, take long or hang, and what arrives gets lost.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::{
    backend::{
        Accepted, Arrivals, Backend, BackendError, BackendErrorKind, BackendState, Capabilities,
        HistoryQuery, Incoming, Ingress, Interest, NodeId, Outgoing, Page, memory::HubNode,
    },
    message::Position,
    topic::TopicName,
};

/// What goes wrong on one node.
#[derive(Debug)]
pub(super) struct Faults {
    rng: Mutex<fastrand::Rng>,
    /// Whether anything does.
    on: AtomicBool,
}

enum Fault {
    None,
    Fails,
    Takes(u8),
    Hangs,
}

impl Faults {
    pub(super) fn new(seed: u64, on: bool) -> Arc<Self> {
        let rng = Mutex::new(fastrand::Rng::with_seed(seed));
        Arc::new(Self { rng, on: AtomicBool::new(on) })
    }

    pub(super) fn are_on(&self) -> bool {
        self.on.load(Ordering::Relaxed)
    }

    pub(super) fn end(&self) {
        self.on.store(false, Ordering::Relaxed);
    }

    fn next(&self) -> Fault {
        if !self.are_on() {
            return Fault::None;
        }
        let mut rng = self.rng.lock();
        match rng.u8(..100) {
            0..15 => Fault::Fails,
            15..50 => Fault::Takes(rng.u8(1..20)),
            50..52 => Fault::Hangs,
            _ => Fault::None,
        }
    }

    async fn pass(&self, call: &'static str) -> Result<(), BackendError> {
        match self.next() {
            Fault::None => {}
            Fault::Takes(turns) => {
                for _ in 0..turns {
                    tokio::task::yield_now().await;
                }
            }
            Fault::Fails => {
                return Err(BackendError::new(BackendErrorKind::Unavailable, call, "it is to fail"));
            }
            Fault::Hangs => std::future::pending().await,
        }
        Ok(())
    }

    fn loses(&self) -> bool {
        self.are_on() && self.rng.lock().u8(..100) < 8
    }
}

#[derive(Debug)]
pub(super) struct Handle {
    pub(super) hub: Arc<HubNode>,
    pub(super) faults: Arc<Faults>,
}

/// Loses some of what arrives, and says so.
struct Ear {
    ingress: Ingress,
    faults: Arc<Faults>,
}

#[async_trait]
impl Arrivals for Ear {
    async fn deliver(&self, incoming: Incoming) {
        if self.faults.loses() {
            let topic = incoming.message.topic;
            let all = self.faults.rng.lock().bool();
            self.ingress.lost(Some(&topic).filter(|_| !all));
        } else {
            self.ingress.deliver(incoming).await;
        }
    }

    fn lost(&self, topic: Option<&TopicName>) {
        self.ingress.lost(topic);
    }

    fn control(&self, from: NodeId, frame: Bytes) {
        self.ingress.control(from, frame);
    }

    fn state(&self, state: BackendState) {
        self.ingress.state(state);
    }
}

#[async_trait]
impl Backend for Handle {
    fn capabilities(&self) -> Capabilities {
        self.hub.capabilities()
    }

    async fn start(&self, ingress: Ingress) -> Result<(), BackendError> {
        let ear = Ear { ingress: ingress.clone(), faults: self.faults.clone() };
        self.hub.start(Ingress::to(ingress.node(), Arc::new(ear))).await
    }

    fn publish(&self, message: Outgoing) -> BoxFuture<'static, Result<Accepted, BackendError>> {
        match self.faults.next() {
            Fault::Fails => {
                let error = BackendError::new(BackendErrorKind::Unavailable, "publish", "it is to fail");
                std::future::ready(Err(error)).boxed()
            }
            _ => self.hub.publish(message),
        }
    }

    async fn subscribe(&self, interest: &Interest) -> Result<Option<Position>, BackendError> {
        self.faults.pass("subscribe").await?;
        let top = self.hub.subscribe(interest).await;
        // It may have been done, although no word of it comes.
        self.faults.pass("subscribe").await?;
        top
    }

    async fn unsubscribe(&self, interest: &Interest) -> Result<(), BackendError> {
        self.faults.pass("unsubscribe").await?;
        self.hub.unsubscribe(interest).await
    }

    async fn history(&self, topic: &TopicName, query: HistoryQuery) -> Result<Page, BackendError> {
        self.faults.pass("history").await?;
        let page = self.hub.history(topic, query).await;
        self.faults.pass("history").await?;
        page
    }

    fn control(&self, to: Option<NodeId>, frame: Bytes) -> BoxFuture<'static, Result<(), BackendError>> {
        match self.faults.next() {
            Fault::Fails => {
                let error = BackendError::new(BackendErrorKind::Unavailable, "control", "it is to fail");
                std::future::ready(Err(error)).boxed()
            }
            _ => self.hub.control(to, frame),
        }
    }

    async fn shutdown(&self, by: Instant) {
        self.hub.shutdown(by).await;
    }
}
