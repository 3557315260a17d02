//! What becomes of a message: it is queued, or its subscription's overflow policy decides.

use std::sync::Arc;

use super::{
    closing::Rest,
    queue::Queue,
    shared::Shared,
    state::{State, charge_of},
};
use crate::{
    message::{Gap, GapReason, Message, Position},
    session::{CloseKind, CloseReason},
    subscriber::{Offer, SubscriptionId, Then},
    topic::OverflowPolicy,
};

impl State {
    /// Queues a message under its subscription's policy, and counts what became of it and of
    /// others. False when the message is not accounted for: the rest of the batch shares its fate.
    pub(super) fn admit(
        &mut self,
        shared: &Shared,
        id: SubscriptionId,
        message: &Arc<Message>,
        tally: &mut Offer,
    ) -> bool {
        let charge = charge_of(shared, message);
        if self.make_room(shared, id, charge) {
            self.push(id, message, tally);
            return true;
        }
        let Some(queue) = self.queue(id) else { return false };
        match queue.policy {
            OverflowPolicy::ConflateByKey => {
                if let Some(older) = queue.conflate(message) {
                    self.give_back(shared, &older);
                    tally.conflated += 1;
                    shared.totals.conflated.add(1);
                }
                self.push_over_oldest(shared, id, message, charge, tally)
            }
            OverflowPolicy::DropNewest => {
                queue.push_gap(Gap::new(GapReason::Slow, Some(1)));
                self.schedule(id);
                tally.dropped += 1;
                shared.totals.dropped.add(1);
                true
            }
            OverflowPolicy::Disconnect => {
                shared.totals.slow_consumers.add(1);
                tally.dropped += 1;
                shared.totals.dropped.add(1);
                self.close(shared, CloseReason::new(CloseKind::SlowConsumer), Rest::GivenUp);
                tally.then = Then::Stop;
                true
            }
            OverflowPolicy::Resync if message.place().is_some() => {
                self.resync(shared, id, message, tally);
                false
            }
            // What is in no log cannot be read again.
            OverflowPolicy::Resync | OverflowPolicy::DropOldest => {
                self.push_over_oldest(shared, id, message, charge, tally)
            }
        }
    }

    /// Queues a message out of a page. What does not fit stays in the log, whatever the policy, and the
    /// subscription pulls it when it has sent what it has.
    pub(super) fn admit_of_page(
        &mut self,
        shared: &Shared,
        id: SubscriptionId,
        message: &Arc<Message>,
        before: Option<Position>,
        tally: &mut Offer,
    ) -> bool {
        if self.make_room(shared, id, charge_of(shared, message)) {
            self.push(id, message, tally);
            return true;
        }
        let prev = message.place().map_or(0, |place| place.prev);
        let after = before.map_or(prev, |position| position.offset);
        tally.then = Then::CatchUp { after };
        false
    }

    /// Charges a message, writing first what waits: no policy is asked while the socket takes more.
    fn make_room(&mut self, shared: &Shared, id: SubscriptionId, charge: usize) -> bool {
        if self.try_take(shared, id, charge) {
            return true;
        }
        if self.wire.is_none() || self.blocked {
            return false;
        }
        self.flush(shared);
        self.try_take(shared, id, charge)
    }

    fn push_over_oldest(
        &mut self,
        shared: &Shared,
        id: SubscriptionId,
        message: &Arc<Message>,
        charge: usize,
        tally: &mut Offer,
    ) -> bool {
        while !self.try_take(shared, id, charge) {
            let Some(oldest) = self.queue(id).and_then(Queue::drop_oldest) else { return false };
            self.give_back(shared, &oldest);
            tally.dropped += 1;
            shared.totals.dropped.add(1);
        }
        self.push(id, message, tally);
        true
    }

    /// Clears the queue: the log has it all, and the subscription reads it again when it
    /// can. The message that did not fit goes back to the log as well.
    fn resync(&mut self, shared: &Shared, id: SubscriptionId, message: &Arc<Message>, tally: &mut Offer) {
        let (Some(place), Some(queue)) = (message.place(), self.queue(id)) else { return };
        let cleared = queue.clear_for_resync(place);
        let told = !queue.is_empty();
        for message in cleared.again.iter().chain(&cleared.lost) {
            self.give_back(shared, message);
        }
        shared.totals.resyncs.add(1);
        shared.totals.resynced.add(cleared.again.len() as u64);
        shared.totals.dropped.add(cleared.lost.len() as u64);
        tally.dropped += cleared.lost.len() as u32;
        // The shard answers with `CatchingUp`: then the first page is pulled.
        tally.then = Then::CatchUp { after: cleared.after.offset };
        if told {
            self.schedule(id);
        } else {
            self.unschedule(id);
        }
    }

    fn push(&mut self, id: SubscriptionId, message: &Arc<Message>, tally: &mut Offer) {
        if let Some(queue) = self.queue(id) {
            queue.push(message.clone());
            tally.queued += 1;
        }
        self.schedule(id);
    }
}
