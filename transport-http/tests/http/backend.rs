//! A backend that is away, or does not answer.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use fanfare_core::{
    backend::{
        Accepted, Backend, BackendError, BackendErrorKind, Capabilities, HistoryQuery, Ingress, Interest,
        NodeId, Outgoing, Page,
    },
    message::{Epoch, Position},
    topic::TopicName,
};
use fanfare_http::PublishConfig;
use futures_util::{FutureExt, future::BoxFuture};
use tokio::time::Instant;

use crate::support::{app_with, open, post};

/// Fails every publish in the way it is told to.
#[derive(Debug, Clone, Default)]
struct Failing(Arc<Mutex<Option<BackendErrorKind>>>);

#[async_trait]
impl Backend for Failing {
    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    async fn start(&self, _: Ingress) -> Result<(), BackendError> {
        Ok(())
    }

    fn publish(&self, _: Outgoing) -> BoxFuture<'static, Result<Accepted, BackendError>> {
        let outcome = match *self.0.lock().unwrap() {
            Some(kind) => Err(BackendError::new(kind, "publish", "secret://detail")),
            None => Ok(Accepted::at(Position::new(Epoch::new(36), 1))),
        };
        std::future::ready(outcome).boxed()
    }

    async fn subscribe(&self, _: &Interest) -> Result<Option<Position>, BackendError> {
        Ok(None)
    }

    async fn unsubscribe(&self, _: &Interest) -> Result<(), BackendError> {
        Ok(())
    }

    async fn history(&self, _: &TopicName, _: HistoryQuery) -> Result<Page, BackendError> {
        Err(BackendError::new(BackendErrorKind::Unavailable, "history", "nothing is kept"))
    }

    fn control(&self, _: Option<NodeId>, _: Bytes) -> BoxFuture<'static, Result<(), BackendError>> {
        std::future::ready(Ok(())).boxed()
    }

    async fn shutdown(&self, _: Instant) {}
}

#[tokio::test]
async fn what_the_backend_does_is_told_exactly() {
    let backend = Failing::default();
    let app = app_with(open().backend(backend.clone()), PublishConfig::new()).await;
    let accepted = post("topic=log").text("x").to(&app).await;
    assert_eq!((accepted.status, &accepted.body["pos"]), (202, &"10:1".into()));
    for (kind, status, code, retry) in [
        // Nothing was stored.
        (BackendErrorKind::Unavailable, 503, "backend_unavailable", true),
        // It may have been.
        (BackendErrorKind::OutcomeUnknown, 504, "timeout", true),
        // It is not, and will not be.
        (BackendErrorKind::Refused, 500, "internal", false),
        (BackendErrorKind::Configuration, 500, "internal", false),
        (BackendErrorKind::TooLarge, 413, "too_large", false),
    ] {
        *backend.0.lock().unwrap() = Some(kind);
        let refused = post("topic=log").text("x").to(&app).await;
        assert_eq!(refused.refusal(), (status, code));
        assert_eq!(refused.body["error"]["retry"], retry, "{kind:?}");
        assert_eq!(refused.header("retry-after").is_some(), status == 503);
        assert!(!refused.body.to_string().contains("secret"), "{}", refused.body);
    }
}
