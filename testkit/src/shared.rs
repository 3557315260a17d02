//! A backend that a test keeps a hand on.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use fanfare_core::{
    backend::{
        Accepted, Backend, BackendError, Capabilities, HistoryQuery, Ingress, Interest, NodeId, Outgoing,
        Page, Retention,
    },
    message::Position,
    topic::TopicName,
};
use futures_util::future::BoxFuture;
use tokio::time::Instant;

/// The same backend for a broker, which wants to own it, and for a test, which wants to have a hand on it.
#[derive(Clone, Debug)]
pub struct SharedBackend(Arc<dyn Backend>);

impl SharedBackend {
    /// Shares a backend.
    #[must_use]
    pub fn new(backend: Arc<dyn Backend>) -> Self {
        Self(backend)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Backend for SharedBackend {
    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    async fn start(&self, ingress: Ingress) -> Result<(), BackendError> {
        self.0.start(ingress).await
    }

    async fn prepare(&self, logs: &[Retention]) -> Result<(), BackendError> {
        self.0.prepare(logs).await
    }

    fn publish(&self, message: Outgoing) -> BoxFuture<'static, Result<Accepted, BackendError>> {
        self.0.publish(message)
    }

    async fn subscribe(&self, interest: &Interest) -> Result<Option<Position>, BackendError> {
        self.0.subscribe(interest).await
    }

    async fn unsubscribe(&self, interest: &Interest) -> Result<(), BackendError> {
        self.0.unsubscribe(interest).await
    }

    async fn history(&self, topic: &TopicName, query: HistoryQuery) -> Result<Page, BackendError> {
        self.0.history(topic, query).await
    }

    fn control(&self, to: Option<NodeId>, frame: Bytes) -> BoxFuture<'static, Result<(), BackendError>> {
        self.0.control(to, frame)
    }

    async fn shutdown(&self, by: Instant) {
        self.0.shutdown(by).await;
    }
}
