//! What befalls the outbox.

use std::{
    sync::atomic::Ordering,
    task::{Context, Poll, Waker},
};

use super::{CONTROL_BYTES, DIRECT, Op, World};
use crate::{
    message::{Epoch, Gap, GapReason, Position},
    outbox::{
        Subject,
        testing::{Draft, frame_of, unaccounted, with_batch},
    },
    session::{CloseKind, CloseReason},
    subscriber::{Notice, Then},
};

impl World {
    pub(super) fn apply(&mut self, op: &Op, limit: usize) {
        let subscriber = self.outbox.as_subscriber();
        match op {
            Op::Offer { of, messages, more_follows } => {
                let sub = &mut self.subs[*of];
                let Some(id) = sub.id.filter(|_| !sub.catching_up) else { return };
                let mut batch = Vec::new();
                for (size, hidden) in messages {
                    let place = (*of != DIRECT).then_some((1, sub.next, sub.next - 1));
                    let (topic, seq) = (sub.topic.clone(), sub.next);
                    batch.push(Draft { topic, seq, size: *size, key: None, hidden: *hidden, place }.build());
                    sub.next += 1;
                }
                self.offered += batch.len() as u64;
                let offer =
                    with_batch(&sub.topic, id, &batch, false, *more_follows, |batch| subscriber.offer(batch));
                match offer.then {
                    Then::Continue => {}
                    Then::CatchUp { after } => {
                        sub.catching_up = true;
                        assert!(after < sub.next);
                        subscriber.notice(id, Notice::CatchingUp(self.outbox.inner.shared.pull_handle()));
                    }
                    Then::Stop => sub.id = None,
                }
            }
            Op::Reply { size, flush } => {
                let mut body = self.replies.to_be_bytes().to_vec();
                body.resize(8 + size, b'-');
                if self.outbox.push_control(frame_of(b'R', "", &body)) && !self.closed {
                    self.replies += 1;
                }
                if *flush {
                    self.outbox.flush();
                }
            }
            Op::Ping => _ = self.outbox.ping(),
            Op::ShardFlush => subscriber.flush(),
            Op::Lost { of } => {
                if let Some(id) = self.subs[*of].id {
                    subscriber.notice(id, Notice::Gap(Gap::new(GapReason::Backend, Some(1))));
                }
            }
            Op::Live { of } => {
                let sub = &mut self.subs[*of];
                if let Some(id) = sub.id {
                    sub.catching_up = false;
                    subscriber.notice(id, Notice::Live(Position::new(Epoch::new(1), sub.next - 1)));
                }
            }
            Op::Open(bytes) => self.sink.open(*bytes),
            Op::Leave { of } => {
                let sub = &mut self.subs[*of];
                if let Some(id) = sub.id.take() {
                    subscriber.notice(id, Notice::Ended(Some(frame_of(b'U', sub.topic.as_str(), b""))));
                }
            }
            Op::Resubscribe { of } => {
                let sub = &mut self.subs[*of];
                if sub.id.is_none() && !self.closed {
                    sub.id = Some(self.outbox.add(Subject::Topic(sub.topic.clone()), sub.policy, limit));
                    sub.catching_up = false;
                }
            }
            Op::Close { finish } => {
                let reason = CloseReason::new(CloseKind::Normal);
                self.closed = true;
                if *finish { self.outbox.finish(reason) } else { self.outbox.close(reason) }
            }
            Op::Break => {
                self.sink.0.lock().broken = true;
                self.sink.open(1);
            }
        }
        self.run();
        let queued = self.outbox.queued();
        let shared = &self.outbox.inner.shared;
        assert_eq!(unaccounted(shared, self.offered, queued), 0, "conservation after {op:?}");
        assert_eq!(shared.budget.messages(), queued);
        assert!(self.outbox.inner.state.lock().control.bytes() <= CONTROL_BYTES + 100);
    }

    /// Polls the connection's task as long as it is woken.
    pub(super) fn run(&mut self) {
        let waker = Waker::from(self.task.clone());
        let mut cx = Context::from_waker(&waker);
        let mut polls = 0;
        while self.over.is_none() && self.task.woken.swap(false, Ordering::Relaxed) {
            if let Poll::Ready(reason) = self.outbox.poll_flush(&mut cx) {
                self.over = Some(reason);
            }
            polls += 1;
            assert!(polls < 20, "the task wakes itself for ever");
        }
        self.closed |= self.over.is_some() || self.outbox.inner.state.lock().is_closing();
    }
}
