//! A node of a hub whose control frames meet with accidents.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use parking_lot::Mutex;
use tokio::{sync::Notify, time::Instant};

use crate::{
    backend::{
        Accepted, Backend, BackendError, BackendErrorKind, Capabilities, HistoryQuery, Ingress, Interest,
        NodeId, Outgoing, Page,
        memory::{HubNode, MemoryHub},
    },
    message::Position,
    topic::TopicName,
};

/// What happens to a control frame that is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Sent,
    Lost,
    SentTwice,
    Refused,
    /// The backend does not say whether it has sent it, until it is released; and then it has not.
    Held,
}

/// A node of a hub whose control frames meet with accidents.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) hub: HubNode,
    /// What becomes of the next parts of parcels; all others are sent.
    fates: Mutex<VecDeque<Fate>>,
    /// Nothing that is sent arrives, and nobody knows.
    pub(super) is_mute: AtomicBool,
    /// It is of a version that knows only the first frames.
    pub(super) is_old: AtomicBool,
    /// Every control frame that was handed over, by its kind.
    sent: Mutex<Vec<u8>>,
    held: Arc<Notify>,
}

#[derive(Debug)]
pub(super) struct Handle(Arc<Line>);

impl Line {
    pub(super) fn of(hub: &MemoryHub) -> Arc<Self> {
        Arc::new(Self {
            hub: hub.node(),
            fates: Mutex::default(),
            is_mute: AtomicBool::new(false),
            is_old: AtomicBool::new(false),
            sent: Mutex::default(),
            held: Arc::default(),
        })
    }

    pub(super) fn handle(self: &Arc<Self>) -> Handle {
        Handle(self.clone())
    }

    pub(super) fn set_mute(&self, is_mute: bool) {
        self.is_mute.store(is_mute, Ordering::SeqCst);
    }

    /// What becomes of the next parts of parcels.
    pub(super) fn next(&self, fates: impl IntoIterator<Item = Fate>) {
        self.fates.lock().extend(fates);
    }

    /// Lets go of what is held.
    pub(super) fn release(&self) {
        self.held.notify_waiters();
    }

    /// How many frames of a kind were handed over since the last time.
    pub(super) fn sent(&self, kind: u8) -> usize {
        let mut sent = self.sent.lock();
        let before = sent.len();
        sent.retain(|held| *held != kind);
        before - sent.len()
    }

    /// Sends a frame as it is, as a node of another version would.
    pub(super) async fn inject(&self, to: Option<NodeId>, frame: &[u8]) {
        let sent = self.hub.control(to, Bytes::copy_from_slice(frame)).await;
        assert!(sent.is_ok(), "{sent:?}");
    }

    fn control(&self, to: Option<NodeId>, frame: Bytes) -> BoxFuture<'static, Result<(), BackendError>> {
        let kind = frame.get(1).copied().unwrap_or_default();
        self.sent.lock().push(kind);
        let is_unknown = kind >= 5 && self.is_old.load(Ordering::SeqCst);
        if self.is_mute.load(Ordering::SeqCst) || is_unknown {
            return std::future::ready(Ok(())).boxed();
        }
        let fate = if kind == 7 { self.fates.lock().pop_front() } else { None };
        match fate.unwrap_or(Fate::Sent) {
            Fate::Sent => self.hub.control(to, frame),
            Fate::Lost => std::future::ready(Ok(())).boxed(),
            Fate::SentTwice => {
                let first = self.hub.control(to, frame.clone());
                let second = self.hub.control(to, frame);
                async move { first.await.and(second.await) }.boxed()
            }
            Fate::Refused => {
                let error = BackendError::new(BackendErrorKind::Unavailable, "control", "it is to fail");
                std::future::ready(Err(error)).boxed()
            }
            Fate::Held => {
                let held = self.held.clone();
                async move {
                    held.notified().await;
                    Ok(())
                }
                .boxed()
            }
        }
    }
}

#[async_trait]
impl Backend for Handle {
    fn capabilities(&self) -> Capabilities {
        self.0.hub.capabilities()
    }

    async fn start(&self, ingress: Ingress) -> Result<(), BackendError> {
        self.0.hub.start(ingress).await
    }

    fn publish(&self, message: Outgoing) -> BoxFuture<'static, Result<Accepted, BackendError>> {
        self.0.hub.publish(message)
    }

    async fn subscribe(&self, interest: &Interest) -> Result<Option<Position>, BackendError> {
        self.0.hub.subscribe(interest).await
    }

    async fn unsubscribe(&self, interest: &Interest) -> Result<(), BackendError> {
        self.0.hub.unsubscribe(interest).await
    }

    async fn history(&self, topic: &TopicName, query: HistoryQuery) -> Result<Page, BackendError> {
        self.0.hub.history(topic, query).await
    }

    fn control(&self, to: Option<NodeId>, frame: Bytes) -> BoxFuture<'static, Result<(), BackendError>> {
        self.0.control(to, frame)
    }

    async fn shutdown(&self, by: Instant) {
        self.0.hub.shutdown(by).await;
    }
}
