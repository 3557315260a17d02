//! What comes out of the queue, and what it holds, beside the list.

use super::{OVERHEAD, Slot, World};
use crate::{
    message::Position,
    outbox::{
        Entry,
        testing::{seq_of, unaccounted},
    },
    topic::OverflowPolicy,
};

impl World {
    pub(super) fn came_out(&mut self, entry: Entry) {
        let first = self.slots.iter().position(|slot| matches!(slot, Slot::Message(_)));
        let run = &self.slots[..first.unwrap_or(self.slots.len())];
        let lost = run.iter().try_fold(0, |sum, slot| match slot {
            Slot::Lost(missed) => Some(sum + (*missed)?),
            _ => Some(sum),
        });
        let is_plain = !run.iter().any(|slot| matches!(slot, Slot::Hidden(_)));
        match entry {
            Entry::Message(message) => {
                self.shared.totals.delivered.add(1);
                let seq = seq_of(&message);
                let Some(Slot::Message(expected)) = first.map(|first| &self.slots[first]) else {
                    panic!("{seq} came out of nothing")
                };
                assert_eq!(seq, *expected);
                assert!(seq > self.last_out, "{seq} after {}", self.last_out);
                assert_eq!(self.told, lost, "told before {seq}: {run:?}");
                self.slots.drain(..=first.unwrap());
                self.last_out = seq;
                self.told = Some(0);
            }
            Entry::Gap(gap) => {
                assert!(gap.missed != Some(0));
                if self.progress_is_simple() && is_plain {
                    // All of the loss at this place, at once.
                    let next = first.map(|first| self.position(&self.slots[first]));
                    assert_eq!(gap.next, next.flatten(), "next after {run:?}");
                }
                self.told = self.told.zip(gap.missed).map(|(told, missed)| told + missed);
                if is_plain && self.policy != OverflowPolicy::Resync {
                    assert_eq!(self.told, lost, "told at once: {run:?}");
                }
                if let (Some(last), true) = (gap.last, self.epoch == 1) {
                    assert!(last.offset >= self.last_out * 2, "{last:?} is before what came out");
                    if let Some(next) = gap.next {
                        assert!(last.offset < next.offset);
                    }
                }
            }
            Entry::Cursor(position) => {
                let at = self
                    .slots
                    .iter()
                    .position(|slot| matches!(slot, Slot::Hidden(seq) if seq * 2 == position.offset));
                let at = at.expect("a cursor of a hidden message");
                assert!(at < first.unwrap_or(self.slots.len()), "a cursor at its place");
                self.slots.remove(at);
            }
            Entry::Live(_) => {}
            Entry::Conflated => panic!("a conflated place came out"),
        }
    }

    fn progress_is_simple(&self) -> bool {
        self.logged && self.epoch == 1
    }

    fn position(&self, slot: &Slot) -> Option<Position> {
        match slot {
            Slot::Message(seq) => self.messages[seq].position(),
            _ => None,
        }
    }

    pub(super) fn check(&mut self) {
        let queued = self.queued();
        assert_eq!(self.state.messages, queued.len());
        let bytes: usize = queued.iter().map(|seq| self.messages[seq].weight() + OVERHEAD).sum();
        assert_eq!(self.shared.budget.used(), bytes);
        assert_eq!(self.shared.budget.messages(), queued.len());
        assert_eq!(unaccounted(&self.shared, self.offered, queued.len()), 0, "conservation");
        assert_eq!(self.shared.totals.dropped.get(), self.dropped + self.lost_epochs());
        assert_eq!(self.shared.totals.conflated.get(), self.conflated);
        if let Some(queue) = self.state.queue(self.id) {
            let places = queued.len() + queue.keys.as_ref().map_or(0, |keys| keys.holes());
            assert!(places <= 2 * self.limit + 1);
            let lives = queue.entries.iter().filter(|entry| matches!(entry, Entry::Live(_))).count();
            assert!(lives <= 1);
            assert!(queue.entries.len() <= 4 * (places + lives + 1), "{} entries", queue.entries.len());
            if queue.is_empty() {
                assert_eq!(queue.entries.capacity(), 0, "an idle queue holds memory");
                assert_eq!(queue.keys.as_ref().map_or(0, |keys| keys.capacity()), 0);
            }
        }
    }

    /// Queued messages of earlier logs that a resync gave up.
    fn lost_epochs(&self) -> u64 {
        match self.policy {
            OverflowPolicy::Resync if self.logged => self.shared.totals.dropped.get() - self.dropped,
            _ => 0,
        }
    }

    /// Nothing is left in the queue.
    pub(super) fn check_end(&self) {
        // What is left of the list was all told.
        let lost = self.slots.iter().try_fold(0, |sum, slot| match slot {
            Slot::Lost(missed) => Some(sum + (*missed)?),
            _ => Some(sum),
        });
        assert_eq!(self.told, lost, "told at the end");
        if self.policy == OverflowPolicy::Resync && self.logged {
            let last = self.log.iter().rev().find(|seq| self.messages[seq].except().is_empty());
            if let Some(last) = last {
                assert_eq!(self.last_out, *last, "everything is read again");
            }
        }
        assert_eq!(self.shared.budget.used(), 0);
    }
}
