//! The queue in the hands of a shard, a connection and a socket.

use std::sync::Arc;

use super::{Op, Progress, Slot, Spec, World};
use crate::{
    message::{Epoch, Gap, GapReason, Message, Position},
    outbox::testing::{Draft, pulls, with_batch},
    subscriber::{Notice, Then},
};

impl World {
    pub(super) fn apply(&mut self, op: &Op) {
        match op {
            Op::Publish(specs) => self.publish(specs),
            Op::Lose(missed) => {
                if matches!(self.progress, Progress::Live) {
                    self.tell(GapReason::Backend, *missed);
                }
            }
            Op::Take { pop, unpop } => self.take(*pop, *unpop),
            Op::Serve => self.serve(),
            Op::NewEpoch => self.new_epoch(),
        }
        self.check();
    }

    pub(super) fn publish(&mut self, specs: &[Spec]) {
        let mut batch = Vec::new();
        for spec in specs {
            let seq = self.next_seq;
            self.next_seq += 1;
            // Sparse offsets: twice the number.
            let prev = self.log.last().map_or(0, |seq| seq * 2);
            let place = self.logged.then_some((self.epoch, seq * 2, prev));
            let Spec { size, key, hidden } = spec.clone();
            let message = Draft { topic: self.topic.clone(), seq, size, key, hidden, place }.build();
            self.messages.insert(seq, message.clone());
            self.log.push(seq);
            batch.push(message);
        }
        if let Progress::Live = self.progress {
            self.offer(&batch, false);
        }
    }

    fn offer(&mut self, batch: &[Arc<Message>], page: bool) {
        let then = self.admit_all(batch, page);
        self.offered += batch.len() as u64;
        let offer = with_batch(&self.topic, self.id, batch, page, false, |batch| {
            self.state.offer(&self.shared, batch)
        });
        assert_eq!(offer.then, then);
        match offer.then {
            Then::Continue => {}
            Then::Stop => self.progress = Progress::Stopped,
            Then::CatchUp { after } => {
                self.progress = Progress::CatchingUp(Position::new(Epoch::new(self.epoch), after));
                if !page {
                    let pull = self.shared.pull_handle();
                    self.state.notice(&self.shared, self.id, Notice::CatchingUp(pull));
                }
            }
        }
    }

    fn tell(&mut self, reason: GapReason, missed: Option<u64>) {
        self.slots.push(Slot::Lost(missed));
        self.state.notice(&self.shared, self.id, Notice::Gap(Gap::new(reason, missed)));
    }

    fn new_epoch(&mut self) {
        if !self.logged || matches!(self.progress, Progress::Stopped) {
            return;
        }
        self.epoch += 1;
        self.log.clear();
        self.tell(GapReason::Epoch, None);
        if let Progress::CatchingUp(_) = self.progress {
            self.progress = Progress::CatchingUp(Position::new(Epoch::new(self.epoch), 0));
        }
    }

    /// What a shard does when it is pulled: a page of at most three, or live.
    fn serve(&mut self) {
        self.pulled |= pulls(&self.shared) > 0;
        let Progress::CatchingUp(after) = self.progress else { return };
        if !std::mem::take(&mut self.pulled) {
            return;
        }
        assert!(self.queued().is_empty(), "pulled before the last page was sent");
        let page: Vec<_> = self.log.iter().filter(|seq| **seq * 2 > after.offset).take(3).collect();
        let page: Vec<_> = page.into_iter().map(|seq| self.messages[seq].clone()).collect();
        match page.last() {
            None => {
                self.progress = Progress::Live;
                self.state.notice(&self.shared, self.id, Notice::Live(after));
            }
            Some(last) => {
                self.progress = Progress::CatchingUp(last.position().unwrap());
                self.offer(&page, true);
            }
        }
    }

    fn take(&mut self, pop: usize, unpop: usize) {
        let mut taken = Vec::new();
        for _ in 0..pop {
            taken.extend(self.state.pop(&self.shared));
        }
        for _ in 0..unpop.min(taken.len()) {
            let (id, entry) = taken.pop().unwrap();
            self.state.unpop(&self.shared, id, entry);
        }
        for (_, entry) in taken {
            if let Some(queue) = self.state.queue(self.id) {
                queue.note_sent(&entry);
            }
            self.came_out(entry);
        }
        self.state.pull_where_due(&self.shared);
    }

    /// Reads everything that is left.
    pub(super) fn drain(&mut self) {
        for _ in 0..10_000 {
            self.take(4, 0);
            self.serve();
            self.check();
            let idle = self.state.queue(self.id).is_none_or(|queue| queue.is_empty());
            if idle && !matches!(self.progress, Progress::CatchingUp(_)) {
                break;
            }
        }
        assert!(!matches!(self.progress, Progress::CatchingUp(_)), "never live again");
        if matches!(self.progress, Progress::Stopped) {
            return;
        }
        self.check_end();
    }
}
