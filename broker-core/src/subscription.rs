//! Subscriptions within the process: a stream of what a topic brings.

use std::{
    fmt,
    future::IntoFuture,
    marker::PhantomData,
    ops::Deref,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures_core::Stream;
use futures_util::future::BoxFuture;

use crate::{
    broker::{Attachment, Begun, Broker, SubscribeError},
    message::{Gap, InvalidPayload, Message, Position},
    outbox::{Entry, Outbox},
    session::{ClientId, Start, Subscribed},
    subscriber::{Subscriber, SubscriptionId},
    topic::{Codec, InvalidTopic, OverflowPolicy, Topic, TopicName, TopicPattern},
};

/// A subscription about to be made. Await it to subscribe.
///
/// # Cancel safety
///
/// A future that is dropped leaves no subscription behind.
#[must_use = "a subscription is made when it is awaited"]
pub struct Subscribe<T: Topic + ?Sized> {
    broker: Broker,
    target: Result<Wanted, InvalidTopic>,
    start: Start,
    overflow: Option<OverflowPolicy>,
    queue: Option<usize>,
    typed: PhantomData<fn() -> Box<T>>,
}

enum Wanted {
    Topic(TopicName),
    Pattern(TopicPattern),
}

impl<T: Topic + ?Sized> Subscribe<T> {
    pub(crate) fn topic(broker: Broker, name: Result<TopicName, InvalidTopic>) -> Self {
        Self::new(broker, name.map(Wanted::Topic))
    }

    pub(crate) fn pattern(broker: Broker, pattern: &str) -> Self {
        Self::new(broker, TopicPattern::new(pattern).map(Wanted::Pattern))
    }

    fn new(broker: Broker, target: Result<Wanted, InvalidTopic>) -> Self {
        Self { broker, target, start: Start::Live, overflow: None, queue: None, typed: PhantomData }
    }

    /// Where to begin: live unless set.
    pub fn start(mut self, start: Start) -> Self {
        self.start = start;
        self
    }

    /// What happens to a message that meets a full queue: as the topic says unless set.
    pub fn overflow(mut self, policy: OverflowPolicy) -> Self {
        self.overflow = Some(policy);
        self
    }

    /// How many messages the queue holds: as the topic says unless set.
    pub fn queue_messages(mut self, messages: usize) -> Self {
        self.queue = Some(messages.max(1));
        self
    }

    /// Feeds a subscriber of your own in place of a stream, until the handle is dropped.
    ///
    /// # Errors
    ///
    /// As for awaiting the subscription itself.
    pub async fn feed(
        self,
        subscriber: Arc<dyn Subscriber>,
        id: SubscriptionId,
    ) -> Result<Feed, SubscribeError> {
        let broker = self.broker.clone();
        let shard = broker.inner().next_shard();
        let begun = self.begin(shard).await?;
        let outcome = begun.outcome;
        Ok(Feed { outcome, _attachment: begun.attach_to(subscriber, id) })
    }

    async fn begin(self, shard: usize) -> Result<Begun, SubscribeError> {
        let inner = self.broker.inner();
        let mut begun = match self.target? {
            Wanted::Topic(name) => inner.begin(shard, name, self.start).await?,
            Wanted::Pattern(pattern) => inner.begin_pattern(shard, pattern, self.start).await?,
        };
        match self.overflow {
            // There is no log to read again from.
            Some(OverflowPolicy::Resync) if begun.outcome.position.is_none() => {
                begun.policy = OverflowPolicy::DropOldest;
            }
            Some(policy) => begun.policy = policy,
            None => {}
        }
        begun.queue_limit = self.queue.unwrap_or(begun.queue_limit);
        Ok(begun)
    }
}

impl<T: Topic + ?Sized + 'static> IntoFuture for Subscribe<T> {
    type Output = Result<Subscription<T>, SubscribeError>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let broker = self.broker.clone();
            let inner = broker.inner();
            let shard = inner.next_shard();
            let begun = self.begin(shard).await?;
            let outbox = Outbox::new(inner.outbox(ClientId::random(), shard, None));
            let outcome = begun.outcome;
            let attachment = begun.attach_until_dropped(&outbox);
            Ok(Subscription { outbox, outcome, _attachment: attachment, typed: PhantomData })
        })
    }
}

impl<T: Topic + ?Sized> fmt::Debug for Subscribe<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscribe").field("start", &self.start).finish_non_exhaustive()
    }
}

/// What a topic brings, as a stream. Dropped, it leaves the topic.
///
/// A reader that is slower than the publishers does not hold them up: its queue
/// is bounded, and what the topic's overflow policy gives up arrives as a [`Delivery::Gap`].
pub struct Subscription<T: Topic + ?Sized> {
    outbox: Outbox,
    outcome: Subscribed,
    _attachment: Attachment,
    typed: PhantomData<fn() -> Box<T>>,
}

/// One thing that a subscription brings.
#[derive(Debug)]
#[non_exhaustive]
pub enum Delivery<P> {
    /// A message.
    Message(Received<P>),
    /// A message that is not what the topic's codec expects.
    Undecodable(Arc<Message>, InvalidPayload),
    /// Messages were lost here.
    Gap(Gap),
    /// All that was missed has come; what follows is live.
    Live(Position),
}

/// A message with its decoded payload. It is a [`Message`] in all other respects.
#[derive(Debug)]
pub struct Received<P> {
    /// The payload, as the topic's codec reads it.
    pub value: P,
    message: Arc<Message>,
}

impl<P> Received<P> {
    /// The message as it is shared.
    #[must_use]
    pub fn message(&self) -> &Arc<Message> {
        &self.message
    }
}

impl<P> Deref for Received<P> {
    type Target = Message;

    fn deref(&self) -> &Message {
        &self.message
    }
}

impl<T: Topic + ?Sized> Subscription<T> {
    /// The next thing; `None` when the broker has ended the subscription: a slow
    /// reader under [`OverflowPolicy::Disconnect`].
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when the future is dropped.
    pub async fn recv(&mut self) -> Option<Delivery<T::Payload>> {
        std::future::poll_fn(|cx| self.poll(cx)).await
    }

    /// The next thing, if it is here already.
    pub fn try_recv(&mut self) -> Option<Delivery<T::Payload>> {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        match self.poll(&mut cx) {
            Poll::Ready(delivery) => delivery,
            Poll::Pending => None,
        }
    }

    /// Whether all that was missed will come, and the position before the first message that follows.
    #[must_use]
    pub fn outcome(&self) -> Subscribed {
        self.outcome
    }

    /// The name under which this subscription is a client of its own: for
    /// [`Publish::except`](crate::publish::Publish::except).
    #[must_use]
    pub fn client(&self) -> ClientId {
        self.outbox.client()
    }

    /// How many messages wait.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.outbox.queued()
    }

    #[cfg(all(test, not(loom)))]
    pub(crate) fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    fn poll(&self, cx: &mut Context<'_>) -> Poll<Option<Delivery<T::Payload>>> {
        self.outbox.poll_entry(cx).map(|entry| {
            entry.and_then(|entry| match entry {
                Entry::Message(message) => Some(match T::Codec::decode(message.payload()) {
                    Ok(value) => Delivery::Message(Received { value, message }),
                    Err(error) => Delivery::Undecodable(message, error),
                }),
                Entry::Gap(gap) => Some(Delivery::Gap(*gap)),
                Entry::Live(position) => Some(Delivery::Live(position)),
                // The outbox passes over these.
                Entry::Cursor(_) | Entry::Conflated => None,
            })
        })
    }
}

impl<T: Topic + ?Sized> Stream for Subscription<T> {
    type Item = Delivery<T::Payload>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll(cx)
    }
}

impl<T: Topic + ?Sized> fmt::Debug for Subscription<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("client", &self.client())
            .field("queued", &self.queued())
            .finish()
    }
}

/// A subscriber of the app's own that is being fed. Dropped, it is fed no longer.
pub struct Feed {
    outcome: Subscribed,
    _attachment: Attachment,
}

impl Feed {
    /// Whether all that was missed will come, and the position before the first message that follows.
    #[must_use]
    pub fn outcome(&self) -> Subscribed {
        self.outcome
    }
}

impl fmt::Debug for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feed").field("outcome", &self.outcome).finish_non_exhaustive()
    }
}
