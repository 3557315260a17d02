//! What a shard hands over to a connection.

use std::sync::Arc;

use bytes::Bytes;

use super::{Inner, closing::Rest, shared::Shared, state::State};
use crate::{
    message::Message,
    session::{ClientId, CloseKind, CloseReason},
    subscriber::{Batch, Notice, Offer, Subscriber, SubscriptionId, Then},
};

impl Subscriber for Inner {
    fn client(&self) -> ClientId {
        self.shared.client()
    }

    fn offer(&self, batch: &Batch<'_>) -> Offer {
        self.change(|state, shared| state.offer(shared, batch))
    }

    fn notice(&self, subscription: SubscriptionId, notice: Notice) {
        self.change(|state, shared| state.notice(shared, subscription, notice));
    }

    fn flush(&self) {
        self.change(State::flush_now);
    }
}

impl State {
    /// Takes a batch: each of its messages goes out, is queued, or is counted as what became of it.
    pub(super) fn offer(&mut self, shared: &Shared, batch: &Batch<'_>) -> Offer {
        let mut tally = Offer::default();
        let messages = batch.messages();
        let mut done = 0;
        if self.takes(batch) {
            let hides =
                batch.has_exclusions() && messages.iter().any(|message| message.hides_from(shared.client()));
            let gathers = batch.more_follows() && self.queues.len() > 1;
            if self.wire.is_some() && !self.blocked && !gathers && !batch.is_page() && !hides {
                if !self.is_clear() {
                    self.flush(shared);
                }
                if self.is_clear() && self.takes(batch) {
                    done = self.write_direct(shared, batch, &mut tally);
                    shared.totals.delivered.add(done as u64);
                }
            }
            if done < messages.len() {
                done += self.enqueue(shared, batch, &messages[done..], &mut tally);
                // The shard flushes where messages were queued.
                if !gathers || tally.queued == 0 {
                    self.flush_now(shared);
                }
            }
        }
        if !self.takes(batch) {
            tally.then = Then::Stop;
        }
        let rest = (messages.len() - done) as u64;
        match tally.then {
            Then::CatchUp { .. } => shared.totals.resynced.add(rest),
            Then::Stop | Then::Continue => shared.totals.discarded.add(rest),
        }
        tally
    }

    fn takes(&mut self, batch: &Batch<'_>) -> bool {
        let id = batch.subscription();
        !self.is_closing() && (id == SubscriptionId::DIRECT || self.queue(id).is_some())
    }

    /// Queues messages one by one, each under its policy. Returns how many of them are accounted for.
    fn enqueue(
        &mut self,
        shared: &Shared,
        batch: &Batch<'_>,
        messages: &[Arc<Message>],
        tally: &mut Offer,
    ) -> usize {
        let id = batch.subscription();
        let mut done: usize = 0;
        for message in messages {
            if batch.has_exclusions() && message.hides_from(shared.client()) {
                shared.totals.hidden.add(1);
                if let (Some(queue), Some(position)) = (self.queue(id), message.position())
                    && queue.wants_cursors()
                {
                    queue.push_cursor(position);
                    self.schedule(id);
                }
                done += 1;
                continue;
            }
            let accounted = if batch.is_page() {
                let before = done.checked_sub(1).and_then(|index| messages[index].position());
                self.admit_of_page(shared, id, message, before, tally)
            } else {
                self.admit(shared, id, message, tally)
            };
            done += usize::from(accounted);
            if !accounted || tally.then != Then::Continue {
                break;
            }
        }
        if batch.is_page()
            && let Some(queue) = self.queue(id)
        {
            queue.pull_due = true;
        }
        done
    }

    pub(super) fn notice(&mut self, shared: &Shared, id: SubscriptionId, notice: Notice) {
        match notice {
            // A stream's reader gets what is queued, and then the end.
            Notice::Ended(_) if shared.format.is_none() => {
                self.close(shared, CloseReason::new(CloseKind::Normal), Rest::Sent);
            }
            Notice::Ended(reply) => {
                self.remove(shared, id);
                if let Some(reply) = reply {
                    self.push_reply(reply);
                }
            }
            Notice::Begun(reply) => self.push_reply(reply),
            // Nothing comes after the close frame.
            _ if self.is_closing() => return,
            notice => {
                self.open_queue(shared, id);
                let Some(queue) = self.queue(id) else { return };
                match notice {
                    Notice::CatchingUp(_) => queue.pull_due = true,
                    Notice::Gap(gap) => queue.push_gap(gap),
                    Notice::Live(position) => {
                        queue.pull_due = false;
                        queue.push_live(position);
                    }
                    Notice::Begun(_) | Notice::Ended(_) => {}
                }
                if !queue.is_empty() {
                    self.schedule(id);
                }
            }
        }
        self.flush_now(shared);
    }

    /// A shard cannot wait for room: the session has.
    fn push_reply(&mut self, reply: Bytes) {
        if !self.is_closing() {
            self.control.push(reply);
            self.note_waiting();
        }
    }
}
