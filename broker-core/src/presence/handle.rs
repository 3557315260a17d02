//! Presence as the app sees it, within the process.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use futures_core::Stream;
use thiserror::Error;

use super::{PresenceConfig, PresenceCounts, PresenceEvent, PresencePage, event::event_of, watchers::shown};
use crate::{
    broker::Broker,
    message::Payload,
    outbox::{Entry, Outbox},
    session::ClientId,
    topic::{InvalidTopic, Topic, TopicName},
};

/// Why presence cannot be asked for, or changed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PresenceError {
    /// No topic can have this name.
    #[error("the topic's name is not valid")]
    InvalidTopic(#[from] InvalidTopic),
    /// The topic is configured without [`TopicConfig::presence`](crate::topic::TopicConfig::presence).
    #[error("the topic does not keep presence")]
    NotKept,
    /// What is said of a member is JSON, and no longer than [`Limits::presence_meta`](crate::Limits::presence_meta).
    #[error("what is said of a member has to be JSON of at most {limit} bytes")]
    InvalidMeta {
        /// The limit.
        limit: usize,
    },
}

/// The presence of one topic: who is there, on all nodes.
///
/// ```
/// use fanfare_core::{Broker, policy::Open, presence::PresenceConfig, topic::TopicConfig};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let rooms = TopicConfig::new().presence(PresenceConfig::new());
/// let broker = Broker::builder().policy(Open).topic("room.*", rooms).start().await?;
/// let counts = broker.presence("room.lobby").counts().await?;
/// assert_eq!(counts.clients, 0);
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[must_use = "this asks for nothing yet"]
pub struct TopicPresence {
    broker: Broker,
    topic: Result<TopicName, InvalidTopic>,
}

impl Broker {
    /// Who is there on a topic: those of its clients, on all nodes, that are subscribed to it by its name.
    pub fn presence<T: Topic + ?Sized>(&self, topic: &T) -> TopicPresence {
        TopicPresence { broker: self.clone(), topic: topic.name() }
    }
}

impl TopicPresence {
    /// How many are there. Where this node knows that already it answers at once; else it asks the other nodes, and waits
    /// 1 s for them at most.
    ///
    /// # Errors
    ///
    /// Where the topic does not keep presence.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn counts(&self) -> Result<PresenceCounts, PresenceError> {
        self.page(None, 0).await.map(|page| page.counts)
    }

    /// A part of the list of members: at most so many of those that come after a client, in the order of the clients' names. It waits as
    /// [`counts`](Self::counts) does.
    ///
    /// # Errors
    ///
    /// Where the topic does not keep presence.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn page(&self, after: Option<ClientId>, limit: usize) -> Result<PresencePage, PresenceError> {
        let (topic, config) = self.topic()?;
        let inner = self.broker.inner();
        let limit = limit.min(inner.limits.presence_page_members);
        Ok(inner.presence.page(inner, topic, config, after, limit).await)
    }

    /// Is told who is there, and who comes and goes: first a snapshot, then each change, until it is dropped.
    ///
    /// # Errors
    ///
    /// Where the topic does not keep presence.
    pub fn watch(&self) -> Result<WatchPresence, PresenceError> {
        let (topic, config) = self.topic()?;
        let inner = self.broker.inner();
        let shard = inner.next_shard();
        let outbox = Outbox::new(inner.outbox(ClientId::random(), shard, None));
        inner.presence.add_watcher(inner, topic, config, &outbox, shard);
        Ok(WatchPresence { broker: self.broker.clone(), topic: topic.clone(), outbox })
    }

    /// Says something else of a member from now on, on whichever node it is: `meta` is JSON, `None` is nothing. It stays so, whatever its policy
    /// grants, until the client leaves. False where the client is no member.
    ///
    /// # Errors
    ///
    /// Where the topic does not keep presence, or `meta` is not JSON or too long.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it may have been done or not.
    pub async fn update(
        &self,
        client: ClientId,
        meta: impl Into<Option<Payload>>,
    ) -> Result<bool, PresenceError> {
        let (topic, _) = self.topic()?;
        let inner = self.broker.inner();
        let limit = inner.limits.presence_meta;
        let meta = match meta.into() {
            Some(meta) => Some(shown(&meta, limit).ok_or(PresenceError::InvalidMeta { limit })?),
            None => None,
        };
        Ok(inner.presence.update(inner, topic, client, meta).await)
    }

    fn topic(&self) -> Result<(&TopicName, PresenceConfig), PresenceError> {
        let topic = self.topic.as_ref().map_err(|error| error.clone())?;
        let inner = self.broker.inner();
        let config = inner.presence.config(inner, topic).ok_or(PresenceError::NotKept)?;
        Ok((topic, config))
    }
}

/// Who is there on a topic, and who comes and goes, as a stream. Dropped, it ends.
///
/// A reader that is too slow gets a fresh [`PresenceEvent::Snapshot`] in place of what it has missed.
pub struct WatchPresence {
    broker: Broker,
    topic: TopicName,
    outbox: Outbox,
}

impl WatchPresence {
    /// What is told next; `None` when the broker has ended.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when the future is dropped.
    pub async fn recv(&mut self) -> Option<PresenceEvent> {
        std::future::poll_fn(|cx| self.poll(cx)).await
    }

    fn poll(&self, cx: &mut Context<'_>) -> Poll<Option<PresenceEvent>> {
        loop {
            match std::task::ready!(self.outbox.poll_entry(cx)) {
                None => return Poll::Ready(None),
                Some(Entry::Message(message)) => {
                    if let Some((_, event)) = event_of(&message) {
                        return Poll::Ready(Some(event));
                    }
                }
                // None of these is pushed here.
                Some(Entry::Gap(_) | Entry::Live(_) | Entry::Cursor(_) | Entry::Conflated) => {}
            }
        }
    }
}

impl Stream for WatchPresence {
    type Item = PresenceEvent;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<PresenceEvent>> {
        self.poll(cx)
    }
}

impl Drop for WatchPresence {
    fn drop(&mut self) {
        let inner = self.broker.inner();
        inner.presence.remove_watcher(inner, &self.topic, self.outbox.client());
    }
}

impl fmt::Debug for WatchPresence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WatchPresence").field("topic", &self.topic).finish_non_exhaustive()
    }
}
