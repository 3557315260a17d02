//! The broker: what an app holds.

mod agreement;
mod backfill;
mod builder;
mod call;
mod connect;
mod control;
mod drain;
mod fill;
mod inner;
mod interest;
mod lifecycle;
mod loss;
mod namespace;
mod parking;
mod receive;
mod receivers;
mod registry;
mod resuming;
mod settle;
mod stats;
mod subscribe;
mod uncarried;

use std::{sync::Arc, time::Duration};

pub use builder::{BrokerBuilder, StartError};
pub(crate) use call::within;
pub use connect::ConnectError;
pub(crate) use connect::refused;
pub(crate) use control::{goodbye, heartbeat, parcel_head};
pub(crate) use inner::Inner;
pub use namespace::Namespace;
pub(crate) use parking::Found;
pub(crate) use registry::Place;
pub use subscribe::SubscribeError;
pub(crate) use subscribe::{Attachment, Begun};

use crate::{
    backend::BackendState,
    message::{Encoder, Format, MAX_FORMATS, Payload},
    publish::{Publish, PublishError},
    session::{ClientId, CloseReason, HistoryCommand, HistoryPage},
    stats::{Stats, TopicStats},
    subscription::Subscribe,
    topic::{Codec, Topic},
};

/// A pub/sub broker. Cloning gives another handle to the same one; when the last
/// handle and the last connection have gone, it ends.
///
/// ```
/// use fanfare_core::{Broker, policy::Open, subscription::Delivery};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let broker = Broker::builder().policy(Open).start().await?;
/// let mut news = broker.subscribe("news").await?;
/// broker.publish("news", "hello").await?;
/// let Some(Delivery::Message(message)) = news.recv().await else { panic!("no message") };
/// assert_eq!(message.value.as_str(), Some("hello"));
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Broker {
    inner: Arc<Inner>,
}

impl Broker {
    /// A broker to be configured.
    #[must_use]
    pub fn builder() -> BrokerBuilder {
        BrokerBuilder::default()
    }

    /// Publishes a payload to a topic, or to an [`Address`](crate::topic::Address) such as `"$user.ann"`: await the result. See [`Publish`]. A topic whose payloads have a type takes
    /// them with [`send`](Self::send), and nothing else: the compiler sees to it.
    pub fn publish<T: Topic<Payload = Payload> + ?Sized>(
        &self,
        topic: &T,
        payload: impl Into<Payload>,
    ) -> Publish {
        Publish::new(self.clone(), topic.name(), Ok(payload.into()))
    }

    /// Publishes a value to a typed topic: await the result. See [`Publish`].
    pub fn send<T: Topic + ?Sized>(&self, topic: &T, value: &T::Payload) -> Publish {
        Publish::new(self.clone(), topic.name(), T::Codec::encode(value).map_err(PublishError::from))
    }

    /// Publishes any serde value as JSON: await the result. See [`Publish`].
    #[cfg(feature = "json")]
    pub fn publish_json<T: Topic<Payload = Payload> + ?Sized>(
        &self,
        topic: &T,
        value: &(impl serde::Serialize + ?Sized),
    ) -> Publish {
        Publish::new(self.clone(), topic.name(), Payload::json(value).map_err(PublishError::from))
    }

    /// Publishes without waiting: from where nothing can be awaited.
    ///
    /// # Errors
    ///
    /// [`PublishError::Busy`] when publishing would have to wait; and all others.
    pub fn try_publish<T: Topic<Payload = Payload> + ?Sized>(
        &self,
        topic: &T,
        payload: impl Into<Payload>,
    ) -> Result<(), PublishError> {
        self.publish(topic, payload).try_send()
    }

    /// Subscribes within the process: await the result. See [`Subscribe`].
    pub fn subscribe<T: Topic + ?Sized>(&self, topic: &T) -> Subscribe<T> {
        Subscribe::topic(self.clone(), topic.name())
    }

    /// Subscribes within the process to every topic that a pattern matches, from now on.
    pub fn subscribe_pattern(&self, pattern: &str) -> Subscribe<str> {
        Subscribe::pattern(self.clone(), pattern)
    }

    /// Reads a page of what is retained of a logged topic.
    ///
    /// # Errors
    ///
    /// When the topic is not logged, or the backend does not answer.
    pub async fn history(&self, query: HistoryCommand) -> Result<HistoryPage, SubscribeError> {
        self.inner.history(&query).await
    }

    /// Registers a wire format. A transport does this once per broker.
    ///
    /// # Errors
    ///
    /// [`TooManyFormats`] when [`MAX_FORMATS`] are registered.
    pub fn register(&self, encoder: Arc<dyn Encoder>) -> Result<Format, TooManyFormats> {
        self.inner.register(encoder)
    }

    /// The broker's bounds.
    #[must_use]
    pub fn limits(&self) -> &crate::Limits {
        &self.inner.limits
    }

    /// How often transports ping a silent client, as clients are told.
    #[must_use]
    pub fn ping_interval(&self) -> Duration {
        self.inner.ping
    }

    /// Ends a connection of this node, as [`Clients::disconnect`](crate::clients::Clients::disconnect) does. False when there is none of this name.
    pub fn disconnect(&self, client: ClientId, reason: CloseReason) -> bool {
        self.inner.registry.close(client, reason)
    }

    /// What the broker has done, and what waits now.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.inner.stats()
    }

    /// The topics that this node holds state for now, in no order: for a dashboard, not for every message, since it looks
    /// at each of them.
    #[must_use]
    pub fn topics(&self) -> Vec<TopicStats> {
        self.inner.topics()
    }

    /// Whether the backend can be reached; the receiver is told of each change.
    #[must_use]
    pub fn backend_state(&self) -> tokio::sync::watch::Receiver<BackendState> {
        self.inner.backend_state.subscribe()
    }

    /// Whether this node serves all that it is asked: the backend can be reached, and [`drain`](Self::drain) has not begun.
    ///
    /// This is the answer to a readiness probe: 200 or 503. While it is false because of the backend, connections are
    /// kept and let in, and local subscribers of ephemeral topics are served; so do not make it the answer to a liveness
    /// probe, whose failure ends the process and all its connections: for that, answering at all is enough.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        !self.inner.is_draining() && *self.inner.backend_state.borrow() == BackendState::Up
    }

    /// Whether [`drain`](Self::drain) has begun: new connections are refused.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.inner.is_draining()
    }

    /// Ends everything in good order, within one deadline: refuses new connections and commands, waits for
    /// acknowledgements and the fan-out, flushes what is queued, closes
    /// connections with a hint when to come back, spread over clients, runs hooks, gives the sessions to another node, where their
    /// clients take them up again, and stops the backend. Where there are other nodes, a second of the time, or a quarter of it where that is
    /// less, is kept for the sessions: connections that have not ended before are cut off.
    ///
    /// Ready when all is done or the deadline has passed; true in the first case.
    pub async fn drain(&self, within: Duration) -> bool {
        self.inner.drain(within).await
    }

    /// Another handle.
    pub(crate) fn of(inner: Arc<Inner>) -> Self {
        Self { inner }
    }

    pub(crate) fn inner(&self) -> &Arc<Inner> {
        &self.inner
    }
}

impl std::fmt::Debug for Broker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Broker").field("node", &self.inner.node).finish_non_exhaustive()
    }
}

/// A broker speaks at most [`MAX_FORMATS`] wire formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a broker speaks at most {MAX_FORMATS} wire formats")]
pub struct TooManyFormats;
