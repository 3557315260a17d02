//! The backend: what the core asks of the hub.

use std::{net::SocketAddr, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use fanfare_core::{
    backend::{
        Accepted, Backend, BackendError, BackendErrorKind, Capabilities, HistoryQuery, Ingress, Interest,
        NodeId, Outgoing, Page, envelope::Envelope,
    },
    message::{Epoch, Position},
    topic::TopicName,
};
use futures_util::{FutureExt, future::BoxFuture};
use parking_lot::Mutex;
use tokio::time::{Instant, timeout_at};

use crate::{
    link::{Link, away, unknown},
    wire::{self, Answer, Kept, Query, Request},
};

/// A node's connection to a hub.
#[derive(Debug)]
pub struct Star {
    hub: SocketAddr,
    cluster: String,
    link: Mutex<Option<Arc<Link>>>,
}

impl Star {
    /// A node of a cluster; clusters of different names share nothing.
    pub fn new(hub: SocketAddr, cluster: impl Into<String>) -> Self {
        Self { hub, cluster: cluster.into(), link: Mutex::default() }
    }

    /// Asks now; the future only waits for the answer.
    fn ask(&self, request: Request) -> BoxFuture<'static, Result<Answer, BackendError>> {
        match &*self.link.lock() {
            Some(link) => link.ask(request),
            None => std::future::ready(Err(away())).boxed(),
        }
    }
}

#[async_trait]
impl Backend for Star {
    fn capabilities(&self) -> Capabilities {
        Capabilities::default().dense_offsets(true)
    }

    async fn start(&self, ingress: Ingress) -> Result<(), BackendError> {
        let link = Link::start(self.hub, self.cluster.clone(), ingress).await?;
        *self.link.lock() = Some(Arc::new(link));
        Ok(())
    }

    fn publish(&self, message: Outgoing) -> BoxFuture<'static, Result<Accepted, BackendError>> {
        let envelope = wire::envelope(&message, None);
        let answer = self.ask(Request::Publish(envelope, message.retention.map(Kept::from)));
        answer
            .map(|answer| match answer? {
                Answer::Accepted { at: None, .. } => Ok(Accepted::ephemeral()),
                Answer::Accepted { at: Some(at), duplicate: false } => Ok(Accepted::at(wire::position(at))),
                Answer::Accepted { at: Some(at), .. } => Ok(Accepted::duplicate_of(wire::position(at))),
                _ => Err(unknown()),
            })
            .boxed()
    }

    async fn subscribe(&self, interest: &Interest) -> Result<Option<Position>, BackendError> {
        match self.ask(Request::Subscribe(interest.into())).await? {
            Answer::Top(top) => Ok(top.map(wire::position)),
            _ => Err(unknown()),
        }
    }

    async fn unsubscribe(&self, interest: &Interest) -> Result<(), BackendError> {
        self.ask(Request::Unsubscribe(interest.into())).await.map(drop)
    }

    async fn history(&self, topic: &TopicName, query: HistoryQuery) -> Result<Page, BackendError> {
        let unsupported = || BackendError::new(BackendErrorKind::Refused, "history", "an unknown query");
        let query = Query::of(query).ok_or_else(unsupported)?;
        match self.ask(Request::History(topic.to_string(), query)).await? {
            Answer::Page { epoch, floor, last, more, messages } => {
                let read = |bytes: Vec<u8>| Envelope::decode(bytes.into())?.into_message();
                let messages: Result<Vec<_>, _> = messages.into_iter().map(read).collect();
                let corrupt = |error| {
                    let message = "a message of the log cannot be read: is the hub a newer one?";
                    BackendError::new(BackendErrorKind::Corrupt, "history", message).caused_by(error)
                };
                Ok(Page::new(Epoch::new(epoch), floor, last, messages.map_err(corrupt)?, more))
            }
            _ => Err(unknown()),
        }
    }

    fn control(&self, to: Option<NodeId>, frame: Bytes) -> BoxFuture<'static, Result<(), BackendError>> {
        self.ask(Request::Control(to.map(NodeId::value), frame.into())).map(|answer| answer.map(drop)).boxed()
    }

    async fn shutdown(&self, by: Instant) {
        let link = self.link.lock().take();
        if let Some(link) = link {
            let _ = timeout_at(by, link.settled()).await;
            link.end().await;
        }
    }
}
