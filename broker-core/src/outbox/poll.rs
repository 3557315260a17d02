//! What the connection's own task does with its outbox, and when it is woken for it.

use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use super::{Pulled, entry::Entry, shared::Shared, state::State};
use crate::session::CloseReason;

/// How many rounds of writing one poll makes before others get their turn.
const ROUNDS: usize = 8;

impl State {
    pub(super) fn poll_flush(&mut self, shared: &Shared, cx: &mut Context<'_>) -> Poll<CloseReason> {
        for _ in 0..ROUNDS {
            if let Some(reason) = self.over() {
                return Poll::Ready(reason);
            }
            let Some(wire) = &self.wire else {
                self.register(cx);
                return Poll::Pending;
            };
            if self.blocked {
                match wire.poll_writable(cx) {
                    Poll::Ready(Ok(())) => self.unblock(),
                    Poll::Ready(Err(_)) => {
                        self.break_off(shared);
                        continue;
                    }
                    Poll::Pending => {
                        self.awaits_socket = true;
                        self.register(cx);
                        return Poll::Pending;
                    }
                }
            }
            self.flush_now(shared);
            if !self.blocked && !self.has_work() && !self.is_closing() {
                self.register(cx);
                return Poll::Pending;
            }
        }
        self.register(cx);
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    pub(super) fn poll_pull(
        &mut self,
        shared: &Shared,
        cx: &mut Context<'_>,
        max: usize,
        take: impl FnMut(Pulled<'_>),
    ) -> Poll<Option<CloseReason>> {
        let taken = self.take_frames(shared, max.max(1), take);
        self.pull_where_due(shared);
        if let Some(reason) = self.over() {
            return Poll::Ready(Some(reason));
        }
        if taken == 0 {
            // What waited may have been nothing in this format.
            self.note_removed();
            self.register(cx);
            return Poll::Pending;
        }
        Poll::Ready(None)
    }

    pub(super) fn poll_entry(&mut self, shared: &Shared, cx: &mut Context<'_>) -> Poll<Option<Entry>> {
        while let Some((id, entry)) = self.pop(shared) {
            if let Some(queue) = self.queue(id) {
                queue.note_sent(&entry);
            }
            if matches!(entry, Entry::Cursor(_) | Entry::Conflated) {
                continue;
            }
            shared.totals.delivered.add(u64::from(matches!(entry, Entry::Message(_))));
            shared.totals.gaps.add(u64::from(matches!(entry, Entry::Gap(_))));
            self.pull_where_due(shared);
            return Poll::Ready(Some(entry));
        }
        if self.is_closing() {
            return Poll::Ready(None);
        }
        self.pull_where_due(shared);
        self.stalled_since = None;
        self.register(cx);
        Poll::Pending
    }

    pub(super) fn push_control(&mut self, shared: &Shared, frame: Bytes) -> bool {
        if self.is_closing() {
            return true;
        }
        if !self.control.fits(frame.len(), shared.limits.control_bytes) {
            return false;
        }
        self.control.push(frame);
        self.note_waiting();
        true
    }

    pub(super) fn poll_room(&mut self, shared: &Shared, cx: &mut Context<'_>, length: usize) -> Poll<()> {
        let has_room =
            |state: &Self| state.is_closing() || state.control.fits(length, shared.limits.control_bytes);
        if !has_room(self) {
            // Nobody else may be about to.
            self.flush_now(shared);
        }
        if has_room(self) {
            self.room = None;
            return Poll::Ready(());
        }
        self.room_made = false;
        self.room = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Why the connection is over, when it is: the last frame has gone out, or the socket broke.
    pub(super) fn over(&self) -> Option<CloseReason> {
        let closing = self.closing.as_ref()?;
        (closing.broken || !self.has_work()).then(|| closing.reason.clone())
    }

    /// Ready when the connection was cut short, so that what was taken out need not be written any more.
    pub(super) fn poll_cut(&mut self, cx: &mut Context<'_>) -> Poll<CloseReason> {
        match &self.closing {
            Some(closing) if closing.broken => Poll::Ready(closing.reason.clone()),
            _ => {
                self.register(cx);
                Poll::Pending
            }
        }
    }

    fn register(&mut self, cx: &Context<'_>) {
        if !self.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            self.waker = Some(cx.waker().clone());
        }
    }

    /// The connection's task, where it alone can go on: a socket that just refused, no socket to
    /// write to, or the end. One that awaits the socket already will be woken by the socket.
    pub(super) fn task_to_wake(&mut self) -> Option<Waker> {
        let alone = self.wire.is_none() || (self.blocked && !self.awaits_socket);
        if self.is_closing() || (alone && self.has_work()) { self.waker.take() } else { None }
    }

    /// A session that waits for room in the control lane, when there may be some.
    pub(super) fn room_to_wake(&mut self) -> Option<Waker> {
        let due = std::mem::take(&mut self.room_made) || self.is_closing();
        if due { self.room.take() } else { None }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::{sync::Arc, task::ready};

    use bytes::BytesMut;

    use super::*;
    use crate::{
        message::{Encoder, Format, Frame},
        outbox::{
            Outbox, Subject,
            testing::{self, Draft},
        },
        subscriber::SubscriptionId,
        topic::{OverflowPolicy, TopicName},
    };

    /// Messages alone are told, as in a WebSocket's plain mode.
    struct Plain;

    impl Encoder for Plain {
        fn encode(&self, frame: Frame<'_>, out: &mut BytesMut) {
            if let Frame::Message(message) = frame {
                out.extend_from_slice(message.payload().bytes());
            }
        }
    }

    fn offer(outbox: &Outbox, id: SubscriptionId, topic: &TopicName, seq: u64, hidden: bool) {
        let place = Some((1, seq, seq - 1));
        let message = Draft { topic: topic.clone(), seq, size: 0, key: None, hidden, place }.build();
        let subscriber = outbox.as_subscriber();
        testing::with_batch(topic, id, &[message], false, false, |batch| subscriber.offer(batch));
        subscriber.flush();
    }

    fn pull(outbox: &Outbox) -> Poll<usize> {
        let (mut cx, mut frames) = (Context::from_waker(Waker::noop()), Vec::new());
        assert!(ready!(outbox.poll_pull(&mut cx, 1024, &mut frames)).is_none());
        Poll::Ready(frames.len())
    }

    #[test]
    fn who_has_pulled_all_that_there_is_to_tell_is_not_stalled() {
        let format = Format { index: 0, encoder: Arc::new(Plain) };
        let outbox = Outbox::new(testing::shared(Some(format), 1 << 20, 1 << 10));
        let topic = TopicName::new("t").unwrap();
        let id = outbox.add(Subject::Topic(topic.clone()), OverflowPolicy::DropOldest, 10);
        offer(&outbox, id, &topic, 1, true);
        assert!(outbox.stalled_for().is_some(), "it is not known to be nothing");
        assert_eq!(pull(&outbox), Poll::Pending);
        assert_eq!(outbox.stalled_for(), None);
        offer(&outbox, id, &topic, 2, false);
        assert!(outbox.stalled_for().is_some());
        assert_eq!(pull(&outbox), Poll::Ready(1));
        assert_eq!(outbox.stalled_for(), None);
    }
}
