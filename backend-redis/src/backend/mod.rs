//! The backend: what the core calls.

mod preparing;
mod publishing;
mod reading;
mod running;
mod wanting;

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use fanfare_core::{
    backend::{
        Accepted, Backend, BackendError, BackendErrorKind, BackendState, Capabilities, HistoryQuery, Ingress,
        Interest, NodeId, Outgoing, Page, Retention,
    },
    message::Position,
    topic::TopicName,
};
use futures_util::{FutureExt, future::BoxFuture};
use parking_lot::Mutex;
use running::Running;
use tokio::{sync::watch, time::Instant};

use crate::{
    error::Trouble,
    log::Scripts,
    names::Names,
    settings::{RedisBuilder, Settings},
};

/// How long a start waits for the server before it says that there is none; the core tries again.
const START_WITHIN: Duration = Duration::from_secs(4);

/// Carries messages between the nodes of a cluster over Redis, and keeps the logs of logged topics there.
///
/// See the [crate](crate)'s documentation for what Redis gives and what it costs.
pub struct RedisBackend {
    settings: Arc<Settings>,
    names: Arc<Names>,
    scripts: Arc<Scripts>,
    running: Mutex<Option<Arc<Running>>>,
    state: watch::Sender<BackendState>,
}

impl RedisBackend {
    /// A backend for the server at a URL; see [the crate](crate#urls) for what URLs there are.
    ///
    /// What is wrong with the URL is said by [`RedisBuilder::build`].
    pub fn builder(url: impl AsRef<str>) -> RedisBuilder {
        RedisBuilder::new(url.as_ref())
    }

    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            names: Arc::new(Names::new(&settings.prefix, settings.db)),
            scripts: Arc::new(Scripts::new()),
            settings: Arc::new(settings),
            running: Mutex::default(),
            state: watch::Sender::new(BackendState::Down),
        }
    }

    /// Whether the server can be reached, for readiness probes: it changes when connections are lost and made.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<BackendState> {
        self.state.subscribe()
    }

    /// How many messages came on our channels that were none of ours.
    #[must_use]
    pub fn foreign_messages(&self) -> u64 {
        self.running.lock().as_ref().map_or(0, |running| running.node.pushed.foreign())
    }

    fn running(&self, operation: &'static str) -> Result<Arc<Running>, BackendError> {
        self.running.lock().clone().ok_or_else(|| {
            BackendError::new(BackendErrorKind::Unavailable, operation, "the backend does not run")
        })
    }
}

#[async_trait]
impl Backend for RedisBackend {
    fn capabilities(&self) -> Capabilities {
        Capabilities::default().dense_offsets(true)
    }

    async fn start(&self, ingress: Ingress) -> Result<(), BackendError> {
        // Dropped, it ends all that it has launched.
        let running = Running::launch(self, ingress);
        let trouble = match running.node.health.started(START_WITHIN).await {
            Ok(()) => {
                *self.running.lock() = Some(running);
                return Ok(());
            }
            Err(trouble) => trouble,
        };
        running.end().await;
        let trouble = trouble.unwrap_or_else(|| Trouble::unavailable("Redis does not answer"));
        Err(trouble.into_error("start"))
    }

    async fn prepare(&self, _: &[Retention]) -> Result<(), BackendError> {
        let running = self.running("prepare")?;
        running.prepare().await.map_err(|trouble| trouble.into_error("prepare"))
    }

    fn publish(&self, message: Outgoing) -> BoxFuture<'static, Result<Accepted, BackendError>> {
        match self.running("publish") {
            Ok(running) => running.publish(&message),
            Err(error) => std::future::ready(Err(error)).boxed(),
        }
    }

    async fn subscribe(&self, interest: &Interest) -> Result<Option<Position>, BackendError> {
        let running = self.running("subscribe")?;
        running.subscribe(interest).await.map_err(|trouble| trouble.into_error("subscribe"))
    }

    async fn unsubscribe(&self, interest: &Interest) -> Result<(), BackendError> {
        let running = self.running("unsubscribe")?;
        running.unsubscribe(interest).await.map_err(|trouble| trouble.into_error("unsubscribe"))
    }

    async fn history(&self, topic: &TopicName, query: HistoryQuery) -> Result<Page, BackendError> {
        let running = self.running("history")?;
        running.history(topic, query).await.map_err(|trouble| trouble.into_error("history"))
    }

    fn control(&self, to: Option<NodeId>, frame: Bytes) -> BoxFuture<'static, Result<(), BackendError>> {
        match self.running("control") {
            Ok(running) => running.control(to, &frame),
            Err(error) => std::future::ready(Err(error)).boxed(),
        }
    }

    async fn shutdown(&self, by: Instant) {
        let Some(running) = self.running.lock().take() else { return };
        running.shutdown(by).await;
        self.state.send_replace(BackendState::Down);
    }
}

impl fmt::Debug for RedisBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisBackend").field("settings", &self.settings).finish_non_exhaustive()
    }
}
