//! What fan-out feeds.

use std::{cell::OnceCell, sync::Arc};

use bytes::{Bytes, BytesMut};

pub use crate::fanout::PullHandle;
use crate::{
    message::{Format, Gap, MAX_FORMATS, Message, Position},
    session::ClientId,
    topic::TopicName,
};

/// The receiving end of subscriptions: a connection's outbox, a stream within
/// the process, or a bridge to something else.
///
/// # Contract
///
/// A shard calls from its own task, for one subscriber never concurrently, and
/// everything else on the shard waits meanwhile: no method may block, take long, or await. Methods
/// may publish with `try_publish`, and may drop subscriptions.
pub trait Subscriber: Send + Sync + 'static {
    /// The connection that this is. One message reaches one connection once,
    /// whatever it is subscribed to.
    fn client(&self) -> ClientId;

    /// Takes a run of consecutive messages of one topic, or says what became of them.
    fn offer(&self, batch: &Batch<'_>) -> Offer;

    /// Learns something of a subscription, in the order of the messages.
    fn notice(&self, subscription: SubscriptionId, notice: Notice);

    /// All that was offered with [`Batch::more_follows`] has been offered.
    fn flush(&self) {}
}

/// The subscriber's own number of one of its subscriptions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SubscriptionId(pub u32);

impl SubscriptionId {
    /// What belongs to no subscription, but to the connection itself.
    pub(crate) const DIRECT: Self = Self(u32::MAX);
}

/// Something of a subscription that is no message.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Notice {
    /// The subscription has begun: nothing of it precedes. The bytes are the
    /// encoded reply to the client that asked.
    Begun(Bytes),
    /// What was missed follows in pages: each time all of a page has been sent, pull the next.
    CatchingUp(PullHandle),
    /// Messages were lost.
    Gap(Gap),
    /// All that was missed has been offered; what follows is live.
    Live(Position),
    /// The subscription has ended: nothing of it follows. The bytes are the
    /// encoded reply to the client, if it asked.
    Ended(Option<Bytes>),
}

/// What became of the messages of a [`Batch`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Offer {
    /// Messages that went out at once.
    pub delivered: u32,
    /// Messages that wait in the queue.
    pub queued: u32,
    /// Queued messages that gave way to a newer one of their key.
    pub conflated: u32,
    /// Messages that were given up: queued ones, or some of the batch.
    pub dropped: u32,
    /// What the shard is to do next.
    pub then: Then,
}

/// What a shard does with a subscription after an offer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Then {
    /// Goes on.
    #[default]
    Continue,
    /// Offers nothing more until it is pulled, then what comes after this offset, from the log.
    /// Only on logged topics.
    CatchUp {
        /// The offset of the last message that went out.
        after: u64,
    },
    /// Offers nothing more: the connection is closing.
    Stop,
}

/// A run of consecutive messages of one topic, the same for all its subscribers.
pub struct Batch<'a> {
    pub(crate) topic: &'a TopicName,
    pub(crate) subscription: SubscriptionId,
    pub(crate) messages: &'a [Arc<Message>],
    /// Where this subscriber's part of the joined bytes begins.
    pub(crate) first: usize,
    pub(crate) joined: Option<&'a JoinedCache>,
    pub(crate) has_exclusions: bool,
    pub(crate) more_follows: bool,
    pub(crate) page: bool,
}

impl<'a> Batch<'a> {
    /// The topic.
    #[must_use]
    pub fn topic(&self) -> &'a TopicName {
        self.topic
    }

    /// For which of the subscriber's subscriptions.
    #[must_use]
    pub fn subscription(&self) -> SubscriptionId {
        self.subscription
    }

    /// The messages that are new to this subscription, at least one.
    #[must_use]
    pub fn messages(&self) -> &'a [Arc<Message>] {
        &self.messages[self.first..]
    }

    /// Whether some message is hidden from some client: then each message's
    /// [`hides_from`](Message::hides_from) has to be asked.
    #[must_use]
    pub fn has_exclusions(&self) -> bool {
        self.has_exclusions
    }

    /// Whether more is about to be offered to this shard's subscribers, and
    /// [`Subscriber::flush`] is called at the end: a subscriber with several
    /// subscriptions may wait for it and write once.
    #[must_use]
    pub fn more_follows(&self) -> bool {
        self.more_follows
    }

    /// Whether this is a page of what was missed.
    #[must_use]
    pub fn is_page(&self) -> bool {
        self.page
    }

    /// The messages in a wire format, one after the other in one piece of memory that all
    /// subscribers of the format share. Do not keep it beyond the call: it
    /// holds all of the batch. `None` for a page, which is one subscriber's own.
    pub(crate) fn joined(&self, format: &Format) -> Option<Joined<'a>> {
        let all = self.joined?.get(format, self.messages);
        Some(Joined { bytes: &all.bytes, ends: &all.ends, first: self.first })
    }
}

/// The frames of a batch as one piece.
pub(crate) struct Joined<'a> {
    bytes: &'a Bytes,
    ends: &'a [usize],
    first: usize,
}

impl<'a> Joined<'a> {
    pub(crate) fn bytes(&self) -> &'a [u8] {
        &self.bytes[self.start(0)..]
    }

    /// Where the frame of the subscriber's n-th message begins, from the beginning of its own part.
    pub(crate) fn begin_of(&self, n: usize) -> usize {
        self.start(n) - self.start(0)
    }

    /// How many whole frames fit in the first so many bytes.
    pub(crate) fn whole_frames(&self, written: usize) -> usize {
        let written = written + self.start(0);
        self.ends.partition_point(|end| *end <= written) - self.first
    }

    fn start(&self, n: usize) -> usize {
        match self.first + n {
            0 => 0,
            index => self.ends[index - 1],
        }
    }
}

/// The joined frames of a batch, per wire format, made when first asked for.
#[derive(Default)]
pub(crate) struct JoinedCache {
    formats: [OnceCell<Box<JoinedFrames>>; MAX_FORMATS],
}

struct JoinedFrames {
    bytes: Bytes,
    ends: Vec<usize>,
}

impl JoinedCache {
    fn get(&self, format: &Format, messages: &[Arc<Message>]) -> &JoinedFrames {
        self.formats[usize::from(format.index)].get_or_init(|| {
            if let [message] = messages {
                let bytes = message.encoded(format).clone();
                return Box::new(JoinedFrames { ends: vec![bytes.len()], bytes });
            }
            let length = messages.iter().map(|m| m.encoded(format).len()).sum();
            let mut bytes = BytesMut::with_capacity(length);
            let mut ends = Vec::with_capacity(messages.len());
            for message in messages {
                bytes.extend_from_slice(message.encoded(format));
                ends.push(bytes.len());
            }
            Box::new(JoinedFrames { bytes: bytes.freeze(), ends })
        })
    }
}
