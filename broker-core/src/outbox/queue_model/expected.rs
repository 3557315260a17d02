//! The model: what is to become of each message, in a list of all that was offered.

use std::sync::Arc;

use super::{OVERHEAD, Slot, World};
use crate::{
    message::{Epoch, Message},
    outbox::testing::seq_of,
    subscriber::Then,
    topic::OverflowPolicy,
};

impl World {
    /// One after the other.
    pub(super) fn admit_all(&mut self, batch: &[Arc<Message>], page: bool) -> Then {
        let mut before = None;
        for message in batch {
            let seq = seq_of(message);
            let place = message.place();
            if !message.except().is_empty() {
                if place.is_some() {
                    self.slots.push(Slot::Hidden(seq));
                }
                before = place.map(|place| place.position.offset);
                continue;
            }
            if !self.fits(seq) {
                if page {
                    return Then::CatchUp { after: before.unwrap_or(place.unwrap().prev) };
                }
                match self.policy {
                    OverflowPolicy::DropNewest => {
                        self.slots.push(Slot::Lost(Some(1)));
                        self.dropped += 1;
                        continue;
                    }
                    OverflowPolicy::Disconnect => {
                        self.dropped += 1;
                        self.slots.clear();
                        return Then::Stop;
                    }
                    OverflowPolicy::Resync if self.logged => return self.resync(message),
                    OverflowPolicy::ConflateByKey => {
                        let same = |slot: &Slot| match slot {
                            Slot::Message(older) => self.messages[older].key() == message.key(),
                            _ => false,
                        };
                        if message.key().is_some()
                            && let Some(at) = self.slots.iter().rposition(same)
                        {
                            self.slots.remove(at);
                            self.conflated += 1;
                        }
                    }
                    _ => {}
                }
                while !self.fits(seq) {
                    let oldest = self.slots.iter_mut().find(|slot| matches!(slot, Slot::Message(_))).unwrap();
                    *oldest = Slot::Lost(Some(1));
                    self.dropped += 1;
                }
            }
            self.slots.push(Slot::Message(seq));
            before = place.map(|place| place.position.offset);
        }
        Then::Continue
    }

    fn resync(&mut self, message: &Message) -> Then {
        let mut after = None;
        let (epoch, messages) = (Epoch::new(self.epoch), &self.messages);
        self.slots.retain_mut(|slot| match slot {
            Slot::Message(seq) => {
                let place = messages[seq].place().unwrap();
                if place.position.epoch == epoch {
                    after.get_or_insert(place.prev);
                    return false;
                }
                *slot = Slot::Lost(Some(1));
                true
            }
            Slot::Lost(_) => true,
            Slot::Hidden(_) => false,
        });
        Then::CatchUp { after: after.unwrap_or(message.place().unwrap().prev) }
    }

    pub(super) fn queued(&self) -> Vec<u64> {
        let numbers = self.slots.iter().filter_map(|slot| match slot {
            Slot::Message(seq) => Some(*seq),
            _ => None,
        });
        numbers.collect()
    }

    fn fits(&self, seq: u64) -> bool {
        let queued = self.queued();
        let charge = |seq: &u64| self.messages[seq].weight() + OVERHEAD;
        let bytes: usize = queued.iter().map(charge).sum();
        queued.is_empty() || (queued.len() < self.limit && bytes + charge(&seq) <= self.queue_bytes)
    }
}
