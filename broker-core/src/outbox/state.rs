//! What the lock of one outbox guards.

use std::{
    collections::VecDeque,
    sync::{Arc, LazyLock},
    task::Waker,
};

use bytes::Bytes;
use smallvec::SmallVec;
use tokio::time::Instant;

use super::{
    Wire,
    closing::Closing,
    control::Control,
    entry::{Entry, Subject},
    queue::Queue,
    shared::Shared,
};
use crate::{
    message::{Gap, GapReason, Message},
    subscriber::SubscriptionId,
    topic::{OverflowPolicy, TopicName, TopicPattern},
};

/// What a queued message is charged beyond its bytes.
const ENTRY_OVERHEAD: usize = 64;

/// What an idle connection may keep of its ring: 4 bytes each.
const RING_KEPT: usize = 8;

/// For how many subscriptions a connection may keep room that it does not use.
const QUEUES_KEPT: usize = 2;

/// What losses of messages to the connection itself are told of.
static DIRECT_TOPIC: LazyLock<TopicName> = LazyLock::new(TopicName::direct);

/// The state of one outbox.
#[derive(Default)]
pub(super) struct State {
    pub(super) wire: Option<Arc<dyn Wire>>,
    /// The connection's own task.
    pub(super) waker: Option<Waker>,
    /// A session that waits for room in the control lane.
    pub(super) room: Option<Waker>,
    /// Since it began to wait, something has gone out.
    pub(super) room_made: bool,
    /// The rest of a frame of which the socket took only a part, never empty. It is outside every policy.
    pub(super) remainder: Option<Box<Bytes>>,
    pub(super) control: Control,
    pub(super) queues: SmallVec<[Option<Queue>; 1]>,
    /// What waits of the messages to the connection itself; most of the time nothing.
    direct: Option<Box<Queue>>,
    /// The queues that have something to send, in turn.
    pub(super) ring: VecDeque<u32>,
    /// Charged for what is queued.
    bytes: usize,
    /// Messages in all queues.
    pub(super) messages: usize,
    /// The socket did not take everything: it is not written before it says that it can be.
    pub(super) blocked: bool,
    /// The connection's task has asked the socket to be woken by it.
    pub(super) awaits_socket: bool,
    /// Since when the socket has taken nothing, or nobody has pulled, although something waits.
    pub(super) stalled_since: Option<Instant>,
    pub(super) closing: Option<Box<Closing>>,
}

impl State {
    #[cfg(all(test, not(loom)))]
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Nothing waits: a message can go straight to the socket.
    pub(super) fn is_clear(&self) -> bool {
        self.remainder.is_none() && self.control.is_empty() && self.ring.is_empty()
    }

    pub(super) fn queue(&mut self, id: SubscriptionId) -> Option<&mut Queue> {
        match self.queues.get_mut(id.0 as usize) {
            Some(queue) => queue.as_mut(),
            None if id == SubscriptionId::DIRECT => self.direct.as_deref_mut(),
            None => None,
        }
    }

    /// Sees to it that there is a queue for something that has to wait: messages to the connection itself have one
    /// as long as some do.
    pub(super) fn open_queue(&mut self, shared: &Shared, id: SubscriptionId) {
        if id == SubscriptionId::DIRECT && self.direct.is_none() {
            let subject = Subject::Topic(DIRECT_TOPIC.clone());
            let limit = shared.limits.direct_messages as usize;
            self.direct = Some(Box::new(Queue::new(subject, OverflowPolicy::DropOldest, limit)));
        }
    }

    #[cfg(all(test, not(loom)))]
    pub(super) fn all_queues(&self) -> impl Iterator<Item = &Queue> {
        self.queues.iter().flatten().chain(self.direct.as_deref())
    }

    #[cfg(all(test, not(loom)))]
    pub(super) fn has_direct_queue(&self) -> bool {
        self.direct.is_some()
    }

    /// Something is to go out, if only the close frame.
    pub(super) fn has_work(&self) -> bool {
        !self.is_clear() || self.closing.as_ref().is_some_and(|closing| closing.frame.is_some())
    }

    /// Notes that the socket did not take everything.
    pub(super) fn block(&mut self, written: usize) {
        self.blocked = true;
        self.awaits_socket = false;
        if written > 0 {
            self.stalled_since = None;
        }
        self.note_waiting();
    }

    pub(super) fn unblock(&mut self) {
        self.blocked = false;
        self.awaits_socket = false;
    }

    /// What waits for a blocked socket, or to be pulled, waits from now on, if nothing has waited before it.
    pub(super) fn note_waiting(&mut self) {
        if self.blocked || self.wire.is_none() {
            self.stalled_since.get_or_insert_with(Instant::now);
        }
    }

    /// Something was pulled: what is left waits from now on.
    pub(super) fn note_pulled(&mut self) {
        self.stalled_since = if self.has_work() { Some(Instant::now()) } else { None };
    }

    /// Something that waited is gone without having been sent.
    pub(super) fn note_removed(&mut self) {
        if !self.has_work() {
            self.stalled_since = None;
        }
    }

    pub(super) fn add(&mut self, queue: Queue) -> SubscriptionId {
        let index = match self.queues.iter().position(Option::is_none) {
            Some(index) => {
                self.queues[index] = Some(queue);
                index
            }
            None => {
                self.queues.push(Some(queue));
                self.queues.len() - 1
            }
        };
        SubscriptionId(index as u32)
    }

    pub(super) fn schedule(&mut self, id: SubscriptionId) {
        if let Some(queue) = self.queue(id)
            && !queue.in_ring
        {
            queue.in_ring = true;
            self.ring.push_back(id.0);
            self.note_waiting();
        }
    }

    /// Takes a subscription that has nothing to send any more out of the ring.
    pub(super) fn unschedule(&mut self, id: SubscriptionId) {
        self.ring.retain(|index| *index != id.0);
        if let Some(queue) = self.queue(id) {
            queue.in_ring = false;
        }
        self.note_removed();
    }

    /// Charges a message if it fits: its queue, its connection, the process. One
    /// message always fits an empty queue.
    pub(super) fn try_take(&mut self, shared: &Shared, id: SubscriptionId, charge: usize) -> bool {
        if !self.is_closing() {
            self.open_queue(shared, id);
        }
        let Some(queue) = self.queue(id) else { return false };
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

    fn take(&mut self, shared: &Shared, charge: usize) {
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
        if self.ring.capacity() > RING_KEPT {
            self.ring = VecDeque::new();
        }
        self.direct = None;
        None
    }

    /// Puts back what [`pop`](Self::pop) took.
    pub(super) fn unpop(&mut self, shared: &Shared, id: SubscriptionId, entry: Entry) {
        if let Entry::Message(message) = &entry {
            self.take(shared, charge_of(shared, message));
        }
        self.open_queue(shared, id);
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
                shared.pull(SubscriptionId(index as u32));
            }
        }
    }

    /// Ends a subscription: what it has queued is given up.
    pub(super) fn remove(&mut self, shared: &Shared, id: SubscriptionId) {
        let queue = match self.queues.get_mut(id.0 as usize) {
            None if id == SubscriptionId::DIRECT => self.direct.take().map(|queue| *queue),
            queue => queue.and_then(Option::take),
        };
        let Some(queue) = queue else { return };
        self.ring.retain(|index| *index != id.0);
        let subject = queue.subject.clone();
        let mut discarded = 0;
        for message in queue.into_messages() {
            self.give_back(shared, &message);
            discarded += 1;
        }
        shared.totals.discarded.add(discarded);
        self.tell_heir(&subject, discarded);
        self.note_removed();
        while matches!(self.queues.last(), Some(None)) {
            self.queues.pop();
        }
        if self.queues.capacity() > 2 * self.queues.len().max(QUEUES_KEPT) {
            self.queues.shrink_to_fit();
        }
    }

    /// A pattern of the same connection takes over what a subscription by name would have got: it is told of what that
    /// one had not sent.
    fn tell_heir(&mut self, left: &Subject, discarded: u64) {
        let Subject::Topic(topic) = left else { return };
        if discarded == 0 || self.is_closing() {
            return;
        }
        let mut heir: Option<(usize, &TopicPattern)> = None;
        for (index, queue) in self.queues.iter().enumerate() {
            match queue.as_ref().map(|queue| &queue.subject) {
                // It has been subscribed anew.
                Some(Subject::Topic(held)) if held == topic => return,
                Some(Subject::Pattern(pattern))
                    if pattern.matches(topic)
                        && heir.is_none_or(|(_, best)| pattern.cmp_specificity(best).is_gt()) =>
                {
                    heir = Some((index, pattern));
                }
                _ => {}
            }
        }
        let Some(index) = heir.map(|(index, _)| index) else { return };
        let id = SubscriptionId(index as u32);
        if let Some(queue) = self.queue(id) {
            queue.push_gap(Gap::new(GapReason::Slow, Some(discarded)));
        }
        self.schedule(id);
    }
}

/// What a queued message is charged: the bytes that will go out, and the entry.
pub(super) fn charge_of(shared: &Shared, message: &Message) -> usize {
    let bytes = match &shared.format {
        Some(format) => message.encoded(format).len(),
        None => message.weight(),
    };
    bytes + ENTRY_OVERHEAD
}
