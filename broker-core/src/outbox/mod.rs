//! The outbox: what waits for one connection, bounded, under one lock.
//!
//! Fan-out offers batches of messages from a shard; sessions enqueue replies; the connection's own
//! task flushes what the socket did not take at once. All three write under one lock, in
//! this order: the rest of an interrupted frame, the control lane, the queues, then what is offered directly.
//!
//! # Backpressure
//!
//! Each subscription has a queue, bounded in messages; all queues of a connection
//! are bounded in bytes, and all queues of the process as well. What meets a full queue is subject to the
//! [`OverflowPolicy`](crate::topic::OverflowPolicy) of its topic.

mod budget;
mod control;
mod queue;
mod shared;
mod state;
mod write;

use std::{
    fmt, io,
    io::IoSlice,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

pub(crate) use budget::Budget;
use bytes::Bytes;
use queue::Queue;
pub(crate) use queue::{Entry, Subject};
pub(crate) use shared::{OutboxLimits, Shared};
use state::State;

use crate::{
    message::Frame,
    session::{ClientId, CloseKind, CloseReason},
    subscriber::{Batch, Notice, Offer, Subscriber, SubscriptionId, Then},
    sync::Mutex,
    topic::OverflowPolicy,
};

/// How many rounds of writing one poll makes before others get their turn.
const ROUNDS: usize = 8;

/// A socket that can be written without waiting.
pub trait Wire: Send + Sync + 'static {
    /// Writes some of the bytes, or says `WouldBlock`. Called from any thread, never concurrently.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when the socket takes nothing now; any other error ends the connection.
    fn try_write(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Ready when the socket may take something again. Called from the connection's own task alone.
    ///
    /// # Errors
    ///
    /// Any error ends the connection.
    fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}

/// What waits for one connection. Cloning gives another handle.
#[derive(Clone)]
pub struct Outbox {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Shared,
    state: Mutex<State>,
}

impl Outbox {
    pub(crate) fn new(shared: Shared) -> Self {
        Self { inner: Arc::new(Inner { shared, state: Mutex::new(State::default()) }) }
    }

    /// Gives the outbox its socket: from now on it is written directly. Without one, the
    /// connection's task pulls frames with [`poll_pull`](Self::poll_pull).
    pub fn attach(&self, wire: Arc<dyn Wire>) {
        let mut state = self.inner.state.lock();
        state.wire = Some(wire);
        state.flush(&self.inner.shared);
        wake(state.waker.take());
    }

    /// The connection's name.
    #[must_use]
    pub fn client(&self) -> ClientId {
        self.inner.shared.client
    }

    /// Writes what waits whenever the socket takes it. Ready when the connection
    /// is over: the last frame has gone out, or the socket broke. For the connection's own task; cancel safe.
    pub fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<CloseReason> {
        let shared = &self.inner.shared;
        let mut state = self.inner.state.lock();
        for _ in 0..ROUNDS {
            if let Some(reason) = state.over() {
                return Poll::Ready(reason);
            }
            if state.is_blocked() {
                match state.wire.as_ref().map(|wire| wire.poll_writable(cx)) {
                    Some(Poll::Ready(Ok(()))) => state.blocked_since = None,
                    Some(Poll::Ready(Err(_))) => state.break_off(shared),
                    Some(Poll::Pending) | None => {
                        state.register(cx);
                        return Poll::Pending;
                    }
                }
            }
            state.flush(shared);
            state.pull_where_due(shared);
            if !state.is_blocked() && !state.has_work() {
                if let Some(reason) = state.over() {
                    return Poll::Ready(reason);
                }
                state.register(cx);
                return Poll::Pending;
            }
        }
        state.register(cx);
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Takes up to about `max` bytes of whole frames, for a connection that is not
    /// written directly, such as one over TLS. `Ready(None)`: write `out`, and come back.
    /// `Ready(Some(..))`: write `out`, if anything is in it, and close. Cancel safe.
    pub fn poll_pull(
        &self,
        cx: &mut Context<'_>,
        max: usize,
        out: &mut Vec<Bytes>,
    ) -> Poll<Option<CloseReason>> {
        let mut state = self.inner.state.lock();
        state.take_frames(&self.inner.shared, max, out);
        state.pull_where_due(&self.inner.shared);
        if let Some(reason) = state.over() {
            return Poll::Ready(Some(reason));
        }
        if out.is_empty() {
            state.register(cx);
            return Poll::Pending;
        }
        Poll::Ready(None)
    }

    /// Takes the next thing that waits, as it is; `Ready(None)` when the outbox is closed.
    pub(crate) fn poll_entry(&self, cx: &mut Context<'_>) -> Poll<Option<Entry>> {
        let shared = &self.inner.shared;
        let mut state = self.inner.state.lock();
        loop {
            match state.pop(shared) {
                Some((_, Entry::Cursor(_) | Entry::Conflated)) => {}
                Some((id, entry)) => {
                    shared.totals.delivered.add(u64::from(matches!(entry, Entry::Message(_))));
                    shared.totals.gaps.add(u64::from(matches!(entry, Entry::Gap(_))));
                    if let Some(queue) = state.queue(id) {
                        queue.note_sent(&entry);
                    }
                    state.pull_where_due(shared);
                    return Poll::Ready(Some(entry));
                }
                None if state.is_closing() => return Poll::Ready(None),
                None => {
                    state.pull_where_due(shared);
                    state.register(cx);
                    return Poll::Pending;
                }
            }
        }
    }

    /// A frame in the connection's own format.
    pub(crate) fn encode(&self, frame: Frame<'_>) -> Bytes {
        self.inner.shared.encode(frame)
    }

    /// Enqueues a frame before all data: a pong, or anything the transport itself says. False when the
    /// control lane is full: then wait with [`poll_room`](Self::poll_room) before reading on.
    pub fn push_control(&self, frame: Bytes) -> bool {
        let shared = &self.inner.shared;
        let mut state = self.inner.state.lock();
        if state.is_closing() {
            return true;
        }
        if !state.control.fits(frame.len(), shared.limits.control_bytes) {
            return false;
        }
        state.control.push(frame);
        state.wake_if_pulled();
        true
    }

    /// Enqueues a heartbeat, in the connection's own format.
    pub fn ping(&self) -> bool {
        self.push_control(self.inner.shared.encode(Frame::Ping))
    }

    /// Writes what waits now, as far as the socket takes it: at the end of a turn of reading, so that all
    /// replies go out in one write.
    pub fn flush(&self) {
        let mut state = self.inner.state.lock();
        state.flush_now(&self.inner.shared);
    }

    /// Ready when the control lane takes a frame of this length. For the connection's own task; cancel safe.
    pub fn poll_room(&self, cx: &mut Context<'_>, length: usize) -> Poll<()> {
        let mut state = self.inner.state.lock();
        if state.is_closing() || state.control.fits(length, self.inner.shared.limits.control_bytes) {
            return Poll::Ready(());
        }
        state.room = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Ends the connection at once: what is queued is given up, the close frame is the last.
    pub fn close(&self, reason: CloseReason) {
        self.end(reason, false);
    }

    /// Ends the connection when all that is queued has been sent.
    pub fn finish(&self, reason: CloseReason) {
        self.end(reason, true);
    }

    /// Ends the connection without another word.
    pub(crate) fn abort(&self) {
        let mut state = self.inner.state.lock();
        state.break_off(&self.inner.shared);
        let wakers = (state.waker.take(), state.room.take());
        drop(state);
        wake(wakers.0);
        wake(wakers.1);
    }

    fn end(&self, reason: CloseReason, flush_first: bool) {
        let mut state = self.inner.state.lock();
        state.close(&self.inner.shared, reason, flush_first);
        let wakers = (state.waker.take(), state.room.take());
        drop(state);
        wake(wakers.0);
        wake(wakers.1);
    }

    /// How long the socket has taken nothing although something waits.
    #[must_use]
    pub fn stalled_for(&self) -> Option<Duration> {
        self.inner.state.lock().blocked_since.map(|since| since.elapsed())
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.inner.state.lock().is_clear()
    }

    /// Messages that wait.
    pub(crate) fn queued(&self) -> usize {
        self.inner.state.lock().messages
    }

    /// Makes room for a subscription. Before the shard knows of it, nothing is offered for it.
    pub(crate) fn add(&self, subject: Subject, policy: OverflowPolicy, limit: usize) -> SubscriptionId {
        let mut state = self.inner.state.lock();
        let queue = Queue::new(subject, policy, limit);
        let index = state.queues.iter().position(Option::is_none).unwrap_or(state.queues.len());
        if index == state.queues.len() {
            state.queues.push(Some(queue));
        } else {
            state.queues[index] = Some(queue);
        }
        SubscriptionId(index as u32)
    }

    pub(crate) fn as_subscriber(&self) -> Arc<dyn Subscriber> {
        self.inner.clone()
    }
}

impl Subscriber for Inner {
    fn client(&self) -> ClientId {
        self.shared.client
    }

    fn offer(&self, batch: &Batch<'_>) -> Offer {
        let mut tally = Offer::default();
        let mut state = self.state.lock();
        let id = batch.subscription();
        if state.is_closing() || state.queue(id).is_none() {
            tally.then = Then::Stop;
            return tally;
        }
        let messages = batch.messages();
        let gather = batch.more_follows() && state.queues.len() > 1;
        let mut done = 0;
        if state.wire.is_some()
            && !state.is_blocked()
            && !gather
            && !batch.is_page()
            && !batch.has_exclusions()
        {
            if !state.is_clear() {
                state.flush(&self.shared);
            }
            if state.is_clear() && !state.is_closing() {
                done = state.write_direct(&self.shared, batch, &mut tally);
                self.shared.totals.delivered.add(done as u64);
            }
        }
        if done < messages.len() {
            self.enqueue(&mut state, batch, &messages[done..], &mut tally);
            if !gather {
                state.flush_now(&self.shared);
            }
        }
        let waker = state.waker_if_needed();
        drop(state);
        wake(waker);
        tally
    }

    fn notice(&self, subscription: SubscriptionId, notice: Notice) {
        let mut state = self.state.lock();
        match notice {
            // A stream's reader gets what is queued, and then the end.
            Notice::Ended(_) if self.shared.format.is_none() => {
                state.close(&self.shared, CloseReason::new(CloseKind::Normal), true);
            }
            Notice::Ended(reply) => {
                state.remove(&self.shared, subscription);
                if let Some(reply) = reply
                    && !state.is_closing()
                {
                    state.control.push(reply);
                }
            }
            notice => {
                let Some(queue) = state.queue(subscription) else { return };
                match notice {
                    Notice::CatchingUp(_) => {
                        queue.catching_up = true;
                        queue.pull_due = true;
                    }
                    Notice::Gap(gap) => queue.push_gap(gap),
                    Notice::Live(position) => {
                        queue.catching_up = false;
                        queue.pull_due = false;
                        queue.push_live(position);
                    }
                    Notice::Ended(_) => {}
                }
                state.schedule_if_waiting(subscription);
            }
        }
        state.flush_now(&self.shared);
        let waker = state.waker_if_needed();
        drop(state);
        wake(waker);
    }

    fn flush(&self) {
        let mut state = self.state.lock();
        state.flush_now(&self.shared);
        let waker = state.waker_if_needed();
        drop(state);
        wake(waker);
    }
}

impl Inner {
    /// Queues messages one by one, each under its policy.
    fn enqueue(
        &self,
        state: &mut State,
        batch: &Batch<'_>,
        messages: &[Arc<crate::message::Message>],
        tally: &mut Offer,
    ) {
        let id = batch.subscription();
        for message in messages {
            if batch.has_exclusions() && message.hides_from(self.shared.client) {
                self.shared.totals.hidden.add(1);
                if let (Some(queue), Some(position)) = (state.queue(id), message.position())
                    && queue.wants_cursors()
                {
                    queue.push_cursor(position);
                    state.schedule(id);
                }
                continue;
            }
            state.admit(&self.shared, id, message, tally);
            if tally.then != Then::Continue {
                return;
            }
        }
        if batch.is_page()
            && let Some(queue) = state.queue(id)
        {
            queue.pull_due = true;
        }
    }
}

impl State {
    /// Why the connection is over, when it is: the last frame has gone out, or the socket broke.
    fn over(&self) -> Option<CloseReason> {
        let closing = self.closing.as_ref()?;
        (closing.broken || (closing.frame.is_none() && self.is_clear())).then(|| closing.reason.clone())
    }

    fn has_work(&self) -> bool {
        !self.is_clear() || self.closing.as_ref().is_some_and(|closing| closing.frame.is_some())
    }

    fn flush_now(&mut self, shared: &Shared) {
        if self.wire.is_some() && !self.is_blocked() {
            self.flush(shared);
            self.pull_where_due(shared);
        } else if !self.has_queued() {
            self.pull_where_due(shared);
        }
    }

    fn has_queued(&self) -> bool {
        self.messages > 0
    }

    fn schedule_if_waiting(&mut self, id: SubscriptionId) {
        if self.queue(id).is_some_and(|queue| !queue.is_empty()) {
            self.schedule(id);
        }
    }

    fn register(&mut self, cx: &Context<'_>) {
        if !self.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            self.waker = Some(cx.waker().clone());
        }
    }

    /// The connection's task has to be woken where it alone can go on: a socket that just
    /// refused, no socket to write to, or the end.
    fn waker_if_needed(&mut self) -> Option<Waker> {
        let needed = self.is_closing() || (self.has_work() && (self.wire.is_none() || self.is_blocked()));
        if needed { self.waker.take() } else { None }
    }

    fn wake_if_pulled(&mut self) {
        if self.wire.is_none() {
            wake(self.waker.take());
        }
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox").field("client", &self.client()).finish_non_exhaustive()
    }
}
