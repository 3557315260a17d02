//! Backends in this process's memory: [`MemoryBackend`] for one node, [`MemoryHub`] for several.

mod hub;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
pub use hub::{HubNode, MemoryHub};
use tokio::time::Instant;

use super::{
    Accepted, Backend, BackendError, Capabilities, HistoryQuery, Ingress, Interest, NodeId, Outgoing, Page,
    blocks::Logs,
};
use crate::{message::Position, topic::TopicName};

/// The backend of a single process: logs in memory, gone with the process.
///
/// It is [inline](Capabilities::inline): publishing takes no detour.
#[derive(Debug, Default)]
pub struct MemoryBackend {
    logs: Logs,
}

impl MemoryBackend {
    /// An empty backend.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Loses the log of a topic, as a restart would: the next message begins a new epoch.
    /// For tests of what clients make of it; it must happen while nobody is subscribed.
    pub fn forget(&self, topic: &TopicName) {
        self.logs.forget(topic);
    }
}

#[async_trait]
impl Backend for MemoryBackend {
    fn capabilities(&self) -> Capabilities {
        Capabilities::default().inline(true).dense_offsets(true)
    }

    async fn start(&self, _: Ingress) -> Result<(), BackendError> {
        Ok(())
    }

    fn publish(&self, message: Outgoing) -> BoxFuture<'static, Result<Accepted, BackendError>> {
        std::future::ready(self.logs.append(message)).boxed()
    }

    async fn subscribe(&self, interest: &Interest) -> Result<Option<Position>, BackendError> {
        self.logs.open(interest)
    }

    async fn unsubscribe(&self, interest: &Interest) -> Result<(), BackendError> {
        self.logs.close(interest);
        Ok(())
    }

    async fn history(&self, topic: &TopicName, query: HistoryQuery) -> Result<Page, BackendError> {
        Ok(self.logs.read(topic, query))
    }

    fn control(&self, _: Option<NodeId>, _: Bytes) -> BoxFuture<'static, Result<(), BackendError>> {
        std::future::ready(Ok(())).boxed()
    }

    async fn shutdown(&self, _: Instant) {}
}
