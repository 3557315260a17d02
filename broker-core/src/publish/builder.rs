//! A message on its way to being published.

use std::{future::IntoFuture, sync::Arc};

use futures_util::future::BoxFuture;

use super::{Ack, PublishError, report::Report};
use crate::{
    broker::Broker,
    message::{MessageParts, Payload},
    session::{ClientId, Published},
    topic::{InvalidTopic, Topic, TopicName},
};

/// A message about to be published. Await it to publish it.
///
/// ```
/// # use fanfare_core::{Broker, policy::Open};
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let broker = Broker::builder().policy(Open).start().await?;
/// broker.publish("news", "hello").await?;
/// let report = broker.publish("news", "hello again").event("greeting").report().await?;
/// assert_eq!(report.matched, 0);
/// # Ok(()) }
/// ```
///
/// # Cancel safety
///
/// Dropped before the message is committed, nothing happened; after, everything: dropping the
/// future then only gives up waiting for the acknowledgement.
#[must_use = "a message is published when it is awaited"]
#[derive(Debug)]
pub struct Publish {
    broker: Broker,
    parts: Result<MessageParts, PublishError>,
    also: Vec<Result<TopicName, InvalidTopic>>,
    except: Vec<ClientId>,
}

impl Publish {
    pub(crate) fn new(
        broker: Broker,
        topic: Result<TopicName, InvalidTopic>,
        payload: Result<Payload, PublishError>,
    ) -> Self {
        let parts = match (topic, payload) {
            (Ok(topic), Ok(payload)) => Ok(MessageParts::new(topic, payload)),
            (Err(error), _) => Err(error.into()),
            (_, Err(error)) => Err(error),
        };
        Self { broker, parts, also: Vec::new(), except: Vec::new() }
    }

    /// Names the event.
    pub fn event(self, event: impl Into<Arc<str>>) -> Self {
        self.with(|parts| parts.event = Some(event.into()))
    }

    /// Names the key by which values replace each other.
    pub fn key(self, key: impl Into<Arc<str>>) -> Self {
        self.with(|parts| parts.key = Some(key.into()))
    }

    /// Names the message, so that publishing it again within the topic's window is
    /// not a second message. For logged topics.
    pub fn message_id(self, id: impl Into<Arc<str>>) -> Self {
        self.with(|parts| parts.message_id = Some(id.into()))
    }

    /// Hides the message from a client. It may be called several times.
    pub fn except(mut self, client: ClientId) -> Self {
        self.except.push(client);
        self
    }

    /// Publishes to one more topic or [`Address`](crate::topic::Address): one copy per connection. For ephemeral topics.
    ///
    /// Over a Redis Cluster the topics may travel by different servers: what comes from another node is one copy for each topic there.
    pub fn also<T: Topic + ?Sized>(mut self, topic: &T) -> Self {
        self.also.push(topic.name());
        self
    }

    /// Publishes, and waits for the fan-out on this node as well: on a logged topic, until the message has
    /// come back from the backend in its place.
    ///
    /// # Errors
    ///
    /// As for awaiting the message itself.
    ///
    /// # Cancel safety
    ///
    /// As for awaiting the message itself.
    pub async fn report(self) -> Result<Report, PublishError> {
        let broker = self.broker.clone();
        let (parts, also) = self.checked()?;
        broker.inner().report(parts, also).await
    }

    /// Publishes without waiting for anything but the backend's acknowledgement, which
    /// is not waited for either: from where nothing can be awaited, such as [`Subscriber::offer`](crate::subscriber::Subscriber::offer).
    ///
    /// # Errors
    ///
    /// [`PublishError::Busy`] when publishing would have to wait; and all others.
    pub fn try_send(self) -> Result<(), PublishError> {
        let broker = self.broker.clone();
        let (parts, also) = self.checked()?;
        let ack = broker.inner().try_commit(parts, also)?;
        if matches!(ack, Ack::Waiting(..)) {
            // A failure must be known to the node, although nobody waits for it here.
            broker.inner().runtime.spawn(ack);
        }
        Ok(())
    }

    fn with(mut self, set: impl FnOnce(&mut MessageParts)) -> Self {
        if let Ok(parts) = &mut self.parts {
            set(parts);
        }
        self
    }

    fn checked(self) -> Result<(MessageParts, Vec<TopicName>), PublishError> {
        let mut parts = self.parts?;
        if !self.except.is_empty() {
            parts.except = Some(self.except.into());
        }
        let also = self.also.into_iter().collect::<Result<Vec<_>, _>>()?;
        Ok((parts, also))
    }
}

impl IntoFuture for Publish {
    type Output = Result<Published, PublishError>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let broker = self.broker.clone();
            let (parts, also) = self.checked()?;
            broker.inner().commit(parts, also).await?.await
        })
    }
}
