//! What the lock of one outbox guards.

use std::{sync::Arc, task::Waker};

use bytes::Bytes;
use smallvec::SmallVec;
use std::collections::VecDeque;

use super::{
    Wire,
    control::Control,
    queue::{Entry, Queue},
    shared::Shared,
};
use crate::{
    message::{Gap, GapReason, Message},
    session::{CloseKind, CloseReason},
    subscriber::{Offer, SubscriptionId, Then},
    topic::OverflowPolicy,
};

/// What a queued message is charged beyond its bytes.
const ENTRY_OVERHEAD: usize = 64;

/// The state of one outbox.
#[derive(Default)]
pub(super) struct State {
    pub(super) wire: Option<Arc<dyn Wire>>,
    /// The connection's own task.
    pub(super) waker: Option<Waker>,
    /// A session that waits for room in the control lane.
    pub(super) room: Option<Waker>,
    /// The rest of a frame of which the socket took only a part. It is outside every policy.
    pub(super) remainder: Bytes,
    pub(super) control: Control,
    pub(super) queues: SmallVec<[Option<Queue>; 1]>,
    /// The queues that have something to send, in turn.
    pub(super) ring: VecDeque<u32>,
    /// Charged for what is queued.
    bytes: usize,
    /// Messages in all queues.
    pub(super) messages: usize,
    /// Since when the socket takes nothing.
    pub(super) blocked_since: Option<tokio::time::Instant>,
    pub(super) closing: Option<Box<Closing>>,
}

/// How a connection ends.
pub(super) struct Closing {
    pub(super) reason: CloseReason,
    /// The last frame, until it is in the control lane.
    pub(super) frame: Option<Bytes>,
    /// The socket is beyond use.
    pub(super) broken: bool,
}

impl State {
    pub(super) fn is_closing(&self) -> bool {
        self.closing.is_some()
    }

    pub(super) fn is_blocked(&self) -> bool {
        self.blocked_since.is_some()
    }

    /// Nothing waits: a message can go straight to the socket.
    pub(super) fn is_clear(&self) -> bool {
        self.remainder.is_empty() && self.control.is_empty() && self.ring.is_empty()
    }

    pub(super) fn queue(&mut self, id: SubscriptionId) -> Option<&mut Queue> {
        self.queues.get_mut(id.0 as usize)?.as_mut()
    }

    /// Queues a message under its subscription's policy, and counts what became of it and of others.
    pub(super) fn admit(
        &mut self,
        shared: &Shared,
        id: SubscriptionId,
        message: &Arc<Message>,
        tally: &mut Offer,
    ) {
        let charge = self.charge(shared, message);
        let Some(queue) = self.queue(id) else { return };
        let policy = queue.policy;
        if self.try_take(shared, id, charge) {
            self.push(id, message, tally);
            return;
        }
        match policy {
            OverflowPolicy::ConflateByKey => {
                if let Some(older) = self.queue(id).and_then(|queue| queue.conflate(message)) {
                    self.give_back(shared, &older);
                    tally.conflated += 1;
                    shared.totals.conflated.add(1);
                }
                self.push_over_oldest(shared, id, message, charge, tally);
            }
            OverflowPolicy::DropNewest => {
                if let Some(queue) = self.queue(id) {
                    queue.push_gap(Gap::new(GapReason::Slow, Some(1)));
                }
                self.schedule(id);
                tally.dropped += 1;
                shared.totals.dropped.add(1);
            }
            OverflowPolicy::Disconnect => {
                shared.totals.slow_consumers.add(1);
                tally.dropped += 1;
                shared.totals.dropped.add(1);
                self.close(shared, CloseReason::new(CloseKind::SlowConsumer), false);
                tally.then = Then::Stop;
            }
            OverflowPolicy::Resync => self.resync(shared, id, message, charge, tally),
            OverflowPolicy::DropOldest => self.push_over_oldest(shared, id, message, charge, tally),
        }
    }

    fn push_over_oldest(
        &mut self,
        shared: &Shared,
        id: SubscriptionId,
        message: &Arc<Message>,
        charge: usize,
        tally: &mut Offer,
    ) {
        while !self.try_take(shared, id, charge) {
            let Some(oldest) = self.queue(id).and_then(Queue::drop_oldest) else { return };
            self.give_back(shared, &oldest);
            tally.dropped += 1;
            shared.totals.dropped.add(1);
        }
        self.push(id, message, tally);
    }

    /// Clears the queue: the log has it all, and the subscription reads it again when it can.
    fn resync(
        &mut self,
        shared: &Shared,
        id: SubscriptionId,
        message: &Arc<Message>,
        charge: usize,
        tally: &mut Offer,
    ) {
        let Some(queue) = self.queue(id) else { return };
        let cleared = queue.clear_for_resync();
        let Some(after) = queue.after().or_else(|| message.place().map(super::shared::before)) else {
            // Not in a log after all: there is nothing to read again from.
            for message in cleared {
                self.take(shared, charge_of(shared, &message));
                self.push(id, &message, &mut Offer::default());
            }
            return self.push_over_oldest(shared, id, message, charge, tally);
        };
        queue.catching_up = true;
        queue.pull_due = true;
        for message in &cleared {
            self.give_back(shared, message);
        }
        shared.totals.resyncs.add(1);
        // The message that did not fit goes back to the log as well.
        shared.totals.resynced.add(cleared.len() as u64 + 1);
        self.schedule(id);
        tally.then = Then::CatchUp { after: after.offset };
    }

    fn push(&mut self, id: SubscriptionId, message: &Arc<Message>, tally: &mut Offer) {
        if let Some(queue) = self.queue(id) {
            queue.push(message.clone());
            tally.queued += 1;
        }
        self.schedule(id);
    }

    pub(super) fn schedule(&mut self, id: SubscriptionId) {
        if let Some(queue) = self.queue(id)
            && !queue.in_ring
        {
            queue.in_ring = true;
            self.ring.push_back(id.0);
        }
    }

    /// Charges a message if it fits: its queue, its connection, the process. One
    /// message always fits an empty queue.
    fn try_take(&mut self, shared: &Shared, id: SubscriptionId, charge: usize) -> bool {
        let Some(queue) = self.queue(id) else { return true };
        if queue.messages() == 0 {
            self.take(shared, charge);
            return true;
        }
        if queue.is_full()
            || self.bytes + charge > shared.limits.queue_bytes
            || !shared.budget.try_take(charge)
        {
            return false;
        }
        self.bytes += charge;
        self.messages += 1;
        true
    }

    pub(super) fn take(&mut self, shared: &Shared, charge: usize) {
        shared.budget.take(charge);
        self.bytes += charge;
        self.messages += 1;
    }

    /// Gives back what a message was charged.
    pub(super) fn give_back(&mut self, shared: &Shared, message: &Message) {
        let charge = charge_of(shared, message);
        shared.budget.give_back(charge);
        self.bytes -= charge;
        self.messages -= 1;
    }

    fn charge(&self, shared: &Shared, message: &Message) -> usize {
        charge_of(shared, message)
    }

    /// The next thing to send, from the queues in turn, with the subscription it belongs to.
    pub(super) fn pop(&mut self, shared: &Shared) -> Option<(SubscriptionId, Entry)> {
        while let Some(index) = self.ring.pop_front() {
            let id = SubscriptionId(index);
            let Some(queue) = self.queue(id) else { continue };
            let popped = queue.pop();
            if queue.is_empty() {
                queue.in_ring = false;
            } else {
                self.ring.push_back(index);
            }
            if let Some(entry) = popped {
                if let Entry::Message(message) = &entry {
                    self.give_back(shared, message);
                }
                return Some((id, entry));
            }
        }
        if !self.ring.is_empty() || self.ring.capacity() > 8 {
            self.ring = VecDeque::new();
        }
        None
    }

    /// Puts back what [`pop`](Self::pop) took.
    pub(super) fn unpop(&mut self, shared: &Shared, id: SubscriptionId, entry: Entry) {
        if let Entry::Message(message) = &entry {
            self.take(shared, charge_of(shared, message));
        }
        let Some(queue) = self.queue(id) else { return };
        queue.unpop(entry);
        if !queue.in_ring {
            queue.in_ring = true;
            self.ring.push_front(id.0);
        }
    }

    /// Pulls the next page for each subscription that has sent all of its last one.
    pub(super) fn pull_where_due(&mut self, shared: &Shared) {
        for (index, queue) in self.queues.iter_mut().enumerate() {
            if let Some(queue) = queue
                && queue.pull_due
                && queue.messages() == 0
            {
                queue.pull_due = false;
                shared.pull.pull(SubscriptionId(index as u32));
            }
        }
    }

    /// Ends a subscription: what it has queued is given up.
    pub(super) fn remove(&mut self, shared: &Shared, id: SubscriptionId) {
        let Some(queue) = self.queues.get_mut(id.0 as usize).and_then(Option::take) else { return };
        self.ring.retain(|index| *index != id.0);
        let mut discarded = 0;
        for message in queue.into_messages() {
            self.give_back(shared, &message);
            discarded += 1;
        }
        shared.totals.discarded.add(discarded);
    }

    /// Ends the connection: at once, or when all that is queued has been sent.
    pub(super) fn close(&mut self, shared: &Shared, reason: CloseReason, flush_first: bool) {
        if self.closing.is_some() {
            return;
        }
        let frame = shared.encode(crate::message::Frame::Close(&reason));
        if !flush_first {
            self.discard_all(shared);
        }
        self.closing = Some(Box::new(Closing { reason, frame: Some(frame), broken: false }));
    }

    /// The socket is beyond use: nothing more goes out.
    pub(super) fn break_off(&mut self, shared: &Shared) {
        self.discard_all(shared);
        self.remainder = Bytes::new();
        self.control = Control::default();
        let lost =
            || Box::new(Closing { reason: CloseReason::new(CloseKind::Lost), frame: None, broken: true });
        self.closing.get_or_insert_with(lost).broken = true;
    }

    fn discard_all(&mut self, shared: &Shared) {
        for index in 0..self.queues.len() {
            self.remove(shared, SubscriptionId(index as u32));
        }
        self.ring = VecDeque::new();
    }
}

/// What a queued message is charged: the bytes that will go out, and the entry.
fn charge_of(shared: &Shared, message: &Message) -> usize {
    let bytes = match &shared.format {
        Some(format) => message.encoded(format).len(),
        None => message.weight(),
    };
    bytes + ENTRY_OVERHEAD
}
