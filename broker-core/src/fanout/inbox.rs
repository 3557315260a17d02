//! What waits for a shard: messages by permit, and the subscribe lane.

use std::{
    collections::VecDeque,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use parking_lot::Mutex;
use tokio::sync::{Semaphore, oneshot};

use super::lane::{Farewell, Op};
use crate::{
    message::{Gap, Message},
    publish::ReportSlot,
    table::TopicState,
    topic::TopicPattern,
};

/// The inbox of one shard. Messages need a permit, so that publishers wait when
/// the shard is behind; the lane of subscriptions is bounded by the number of
/// subscriptions, so that dropping one never waits.
pub(crate) struct Inbox {
    queues: Mutex<Queues>,
    messages: Semaphore,
    bytes: Semaphore,
    capacity: Cost,
}

#[derive(Default)]
struct Queues {
    lane: VecDeque<Op>,
    data: VecDeque<Item>,
    waker: Option<Waker>,
    closed: bool,
}

/// What an item takes of an inbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cost {
    pub(crate) messages: u32,
    pub(crate) bytes: u32,
}

/// Something for the subscribers of a topic.
pub(crate) struct Item {
    pub(crate) topic: Arc<TopicState>,
    pub(crate) event: Event,
    pub(crate) cost: Cost,
}

/// What happened on a topic.
pub(crate) enum Event {
    Message {
        message: Arc<Message>,
        /// Set where somebody wants to know what became of it, or where its
        /// copies on other topics must not reach the same connection.
        special: Option<Arc<Special>>,
    },
    /// Messages were lost before they reached this node.
    Lost(Gap, Whom),
    /// Up to here nothing more comes of a log: what this node has not got is lost.
    Skipped(crate::message::Position),
    /// The log was replaced: this is where the new one stands, and how often one was.
    NewEpoch(crate::message::Position, u32),
    /// Somebody waits until all that came before has been fanned out.
    Passed(oneshot::Sender<()>),
    /// The same for connections that are to end then: when the last topic has let go of them.
    Farewell(#[expect(dead_code, reason = "it is there to be dropped")] Arc<Vec<Farewell>>),
}

/// Who is told of a loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whom {
    All,
    /// Subscribers by pattern are told for all topics at once.
    ByName,
    /// Subscribers by name read it again, or see it by the positions.
    ByPattern,
}

/// What sets a message apart from others.
#[derive(Default)]
pub(crate) struct Special {
    pub(crate) report: Option<ReportSlot>,
    /// The connections of each shard that have got a copy, for a message to several topics.
    pub(crate) copies: Option<Box<[Mutex<rustc_hash::FxHashSet<crate::session::ClientId>>]>>,
}

impl Item {
    /// Takes in the word of a loss that follows this one with nothing of the topic between them. False where that is not so.
    pub(super) fn take_in(&mut self, later: &Item) -> bool {
        let is_same = self.topic.id() == later.topic.id();
        match (&mut self.event, &later.event) {
            (Event::Lost(gap, whom), Event::Lost(more, to)) if is_same && whom == to => {
                gap.merge(more.clone());
                true
            }
            _ => false,
        }
    }
}

impl Cost {
    pub(crate) fn add(&mut self, other: Self) {
        self.messages += other.messages;
        self.bytes += other.bytes;
    }

    pub(crate) fn times(self, n: u32) -> Self {
        Self { messages: self.messages * n, bytes: self.bytes * n }
    }

    /// What is left when so many times `other` has been used.
    pub(crate) fn without(self, other: Self, times: u32) -> Self {
        Self {
            messages: self.messages.saturating_sub(other.messages * times),
            bytes: self.bytes.saturating_sub(other.bytes.saturating_mul(times)),
        }
    }
}

impl Inbox {
    pub(crate) fn new(messages: usize, bytes: usize) -> Self {
        let capacity = Cost { messages: clamp(messages), bytes: clamp(bytes) };
        Self {
            queues: Mutex::default(),
            messages: Semaphore::new(capacity.messages as usize),
            bytes: Semaphore::new(capacity.bytes as usize),
            capacity,
        }
    }

    /// What each of so many copies of a message takes. Together they fit: what is
    /// larger than the inbox takes all of it.
    pub(crate) fn cost(&self, bytes: usize, copies: usize) -> Cost {
        Cost { messages: 1, bytes: clamp(bytes).min(self.capacity.bytes / clamp(copies)) }
    }

    pub(crate) fn try_reserve(&self, cost: Cost) -> bool {
        let Ok(messages) = self.messages.try_acquire_many(cost.messages) else { return false };
        let Ok(bytes) = self.bytes.try_acquire_many(cost.bytes) else { return false };
        messages.forget();
        bytes.forget();
        true
    }

    /// Waits for a permit. Dropped before it is ready, nothing was taken.
    pub(crate) async fn reserve(&self, cost: Cost) {
        // A closed semaphore cannot be: nobody closes them.
        let Ok(messages) = self.messages.acquire_many(cost.messages).await else { return };
        let Ok(bytes) = self.bytes.acquire_many(cost.bytes).await else { return };
        messages.forget();
        bytes.forget();
    }

    pub(crate) fn release(&self, cost: Cost) {
        self.messages.add_permits(cost.messages as usize);
        self.bytes.add_permits(cost.bytes as usize);
    }

    /// Puts an item whose cost was reserved.
    pub(crate) fn push(&self, item: Item) {
        self.put(|queues| queues.data.push_back(item));
    }

    /// Puts the word of a loss, which needs no permit: one that follows another of the same topic is the same.
    pub(crate) fn push_lost(&self, item: Item) {
        self.put(|queues| {
            let merged = queues.data.back_mut().is_some_and(|last| last.take_in(&item));
            if !merged {
                queues.data.push_back(item);
            }
        });
    }

    /// Tells those who are subscribed to a pattern, or to any, that messages of any topic may have been lost.
    pub(crate) fn send_patterns_lost(&self, gap: Gap, pattern: Option<&TopicPattern>) {
        self.put(|queues| {
            let is_told = matches!(
                queues.lane.back(),
                Some(Op::PatternsLost { pattern: told, .. }) if told.is_none() || told.as_ref() == pattern
            );
            if !is_told {
                queues.lane.push_back(Op::PatternsLost { gap, pattern: pattern.cloned() });
            }
        });
    }

    /// Ends a connection when all that waits has been fanned out. One after the other they are one request: a shard has many topics.
    pub(crate) fn send_farewell(&self, farewell: Farewell) {
        let mut farewell = Some(farewell);
        self.put(|queues| {
            // Where nothing is fanned out any more, nothing is waited for: it ends with this function, outside the lock.
            if queues.closed {
                return;
            }
            match queues.lane.back_mut() {
                Some(Op::Farewell(all)) => all.extend(farewell.take()),
                _ => queues.lane.push_back(Op::Farewell(farewell.take().into_iter().collect())),
            }
        });
    }

    pub(crate) fn send(&self, op: Op) {
        self.put(|queues| queues.lane.push_back(op));
    }

    /// Ends the shard when everything that waits has been taken.
    pub(crate) fn close(&self) {
        self.put(|queues| queues.closed = true);
    }

    fn put(&self, change: impl FnOnce(&mut Queues)) {
        let waker = {
            let mut queues = self.queues.lock();
            change(&mut queues);
            queues.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Takes all that waits, without waiting.
    pub(crate) fn take(&self, lane: &mut VecDeque<Op>, data: &mut VecDeque<Item>) {
        let mut queues = self.queues.lock();
        lane.append(&mut queues.lane);
        data.append(&mut queues.data);
    }

    /// Takes all that waits, waiting for something; false when the inbox is closed and empty.
    pub(crate) fn poll_take(
        &self,
        cx: &mut Context<'_>,
        lane: &mut VecDeque<Op>,
        data: &mut VecDeque<Item>,
    ) -> Poll<bool> {
        let mut queues = self.queues.lock();
        if queues.lane.is_empty() && queues.data.is_empty() {
            if queues.closed {
                return Poll::Ready(false);
            }
            if !queues.waker.as_ref().is_some_and(|w| w.will_wake(cx.waker())) {
                queues.waker = Some(cx.waker().clone());
            }
            return Poll::Pending;
        }
        lane.append(&mut queues.lane);
        data.append(&mut queues.data);
        Poll::Ready(true)
    }

    /// Nothing waits, and nothing is being fanned out.
    pub(crate) fn is_quiet(&self) -> bool {
        let queues = self.queues.lock();
        queues.lane.is_empty() && queues.data.is_empty() && self.depth() == 0
    }

    /// Messages that wait, or are being fanned out.
    pub(crate) fn depth(&self) -> usize {
        (self.capacity.messages as usize).saturating_sub(self.messages.available_permits())
    }
}

fn clamp(n: usize) -> u32 {
    // Half of u32's range: tokio's semaphores hold no more than usize::MAX >> 3 on any platform.
    u32::try_from(n).unwrap_or(u32::MAX >> 1).clamp(1, u32::MAX >> 1)
}

/// Permits from several inboxes, taken in ascending order; given back when dropped before use.
pub(crate) struct Reservation<'a> {
    inboxes: &'a [Arc<Inbox>],
    mask: u64,
    cost: Cost,
}

impl<'a> Reservation<'a> {
    pub(crate) fn none(inboxes: &'a [Arc<Inbox>], cost: Cost) -> Self {
        Self { inboxes, mask: 0, cost }
    }

    /// Takes what is missing, if it is there at once.
    pub(crate) fn try_extend(&mut self, mask: u64) -> bool {
        for index in bits(mask & !self.mask) {
            if !self.inboxes[index].try_reserve(self.cost) {
                return false;
            }
            self.mask |= 1 << index;
        }
        true
    }

    /// Takes what is missing. What is held above it is given back first, so that
    /// all publishers wait in the same order.
    pub(crate) async fn extend(&mut self, mask: u64) {
        let wanted = self.mask | mask;
        self.give_back();
        for index in bits(wanted) {
            self.inboxes[index].reserve(self.cost).await;
            self.mask |= 1 << index;
        }
    }

    /// Uses the permits of the shards in `mask`; the others are given back when this is dropped.
    pub(crate) fn use_up(&mut self, mask: u64) -> Cost {
        self.mask &= !mask;
        self.cost
    }

    fn give_back(&mut self) {
        for index in bits(self.mask) {
            self.inboxes[index].release(self.cost);
        }
        self.mask = 0;
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        self.give_back();
    }
}

/// The indexes of the bits that are set, ascending.
pub(crate) fn bits(mut mask: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        (mask != 0).then(|| {
            let index = mask.trailing_zeros() as usize;
            mask &= mask - 1;
            index
        })
    })
}
