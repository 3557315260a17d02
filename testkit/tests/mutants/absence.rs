//! A backend that never starts.

use std::{fmt, future::ready};

use async_trait::async_trait;
use bytes::Bytes;
use fanfare_core::{
    backend::{
        Accepted, Backend, BackendError, Capabilities, HistoryQuery, Ingress, Interest, NodeId, Outgoing,
        Page,
    },
    message::Position,
    topic::TopicName,
};
use futures_util::{FutureExt, future::BoxFuture};
use tokio::time::Instant;

/// A backend that never starts.
pub(crate) struct Absence(Box<dyn Fn() -> BackendError + Send + Sync>);

impl Absence {
    pub(crate) fn new(error: impl Fn() -> BackendError + Send + Sync + 'static) -> Self {
        Self(Box::new(error))
    }
}

impl fmt::Debug for Absence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Absence")
    }
}

#[async_trait]
impl Backend for Absence {
    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    async fn start(&self, _: Ingress) -> Result<(), BackendError> {
        Err((self.0)())
    }

    fn publish(&self, _: Outgoing) -> BoxFuture<'static, Result<Accepted, BackendError>> {
        ready(Err((self.0)())).boxed()
    }

    async fn subscribe(&self, _: &Interest) -> Result<Option<Position>, BackendError> {
        Err((self.0)())
    }

    async fn unsubscribe(&self, _: &Interest) -> Result<(), BackendError> {
        Err((self.0)())
    }

    async fn history(&self, _: &TopicName, _: HistoryQuery) -> Result<Page, BackendError> {
        Err((self.0)())
    }

    fn control(&self, _: Option<NodeId>, _: Bytes) -> BoxFuture<'static, Result<(), BackendError>> {
        ready(Err((self.0)())).boxed()
    }

    async fn shutdown(&self, _: Instant) {}
}
