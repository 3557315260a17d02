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
//! [`OverflowPolicy`] of its topic.

#[cfg(all(test, not(loom)))]
mod bounds;
mod budget;
mod closing;
mod control;
mod entry;
mod keys;
#[cfg(all(test, loom))]
mod loom_model;
mod offer;
mod policy;
mod poll;
mod queue;
mod shared;
mod state;
#[cfg(test)]
mod testing;
#[cfg(all(test, not(loom)))]
mod wire_model;
mod write;

use std::{
    fmt, io,
    io::IoSlice,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

#[cfg(all(test, not(loom)))]
pub(crate) use bounds::SIZE;
pub(crate) use budget::Budget;
use bytes::Bytes;
use closing::Rest;
pub(crate) use entry::{Entry, Subject};
use queue::Queue;
pub(crate) use shared::{OutboxLimits, Shared};
use state::State;

use crate::{
    message::{Format, Frame, Position},
    session::{ClientId, CloseReason},
    subscriber::{Subscriber, SubscriptionId},
    sync::Mutex,
    topic::OverflowPolicy,
};

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

/// A frame that was [pulled](Outbox::poll_pull_frames).
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Pulled<'a> {
    /// The whole frame, in the connection's format; a message's is shared by all its subscribers. Never empty.
    pub bytes: &'a Bytes,
    /// Which subscription has come to which place in its topic's log with this frame: who resumes after it
    /// misses nothing. `None` where nothing moves: on ephemeral topics, with patterns, and for a gap, which
    /// only the frame after it leaves behind.
    pub cursor: Option<(SubscriptionId, Position)>,
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
        self.inner.change(|state, shared| {
            state.wire = Some(wire);
            state.flush_now(shared);
        });
    }

    /// The connection's name.
    #[must_use]
    pub fn client(&self) -> ClientId {
        self.inner.shared.client()
    }

    /// Gives the connection the name of the session that it takes up. Only before it is subscribed to anything: its shard knows it by its name.
    pub(crate) fn rename(&self, client: ClientId) {
        self.inner.shared.rename(client);
    }

    /// Writes what waits whenever the socket takes it. Ready when the connection
    /// is over: the last frame has gone out, or the socket broke. For the connection's own task; cancel safe.
    pub fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<CloseReason> {
        self.inner.poll(|state, shared| state.poll_flush(shared, cx))
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
        self.poll_pull_frames(cx, max, |frame| out.push(frame.bytes.clone()))
    }

    /// The same, frame by frame, for a connection that has something to add to each, such as a cursor
    /// of its own. `take` is called under the outbox's lock: it must be quick, and not call the outbox.
    pub fn poll_pull_frames(
        &self,
        cx: &mut Context<'_>,
        max: usize,
        take: impl FnMut(Pulled<'_>),
    ) -> Poll<Option<CloseReason>> {
        self.inner.poll(|state, shared| state.poll_pull(shared, cx, max, take))
    }

    /// Ready when the connection was cut short, as when the deadline of a [drain](crate::Broker::drain) has passed: for a task that has
    /// pulled frames and cannot write them yet. It is woken by this, or asks [`poll_pull`](Self::poll_pull) next. Cancel safe.
    pub fn poll_cut(&self, cx: &mut Context<'_>) -> Poll<CloseReason> {
        self.inner.poll(|state, _| state.poll_cut(cx))
    }

    /// Takes the next thing that waits, as it is; `Ready(None)` when the outbox is closed.
    pub(crate) fn poll_entry(&self, cx: &mut Context<'_>) -> Poll<Option<Entry>> {
        self.inner.poll(|state, shared| state.poll_entry(shared, cx))
    }

    /// A frame in the connection's own format.
    pub(crate) fn encode(&self, frame: Frame<'_>) -> Bytes {
        self.inner.shared.encode(frame)
    }

    /// Enqueues a frame before all data: a pong, or anything the transport itself says. It goes out with the
    /// next [`flush`](Self::flush) or [`poll_flush`](Self::poll_flush). False when the
    /// control lane is full: then wait with [`poll_room`](Self::poll_room) before reading on.
    pub fn push_control(&self, frame: Bytes) -> bool {
        self.inner.change(|state, shared| state.push_control(shared, frame))
    }

    /// Whether the control lane takes a frame of this length now, or the connection is closing and it does not matter.
    pub(crate) fn has_room(&self, length: usize) -> bool {
        let state = self.inner.state.lock();
        let limit = self.inner.shared.limits.control_bytes;
        state.is_closing() || state.control.fits(length, limit)
    }

    /// Sends a heartbeat, in the connection's own format. False when the control lane is full: then
    /// there is enough that the client has to answer for.
    pub fn ping(&self) -> bool {
        self.tell(self.inner.shared.encode(Frame::Ping))
    }

    /// Sends a frame before all data, from any task. False when the control lane is full; one frame always fits an empty lane.
    pub(crate) fn tell(&self, frame: Bytes) -> bool {
        self.inner.change(|state, shared| {
            let fits = state.push_control(shared, frame);
            state.flush_now(shared);
            fits
        })
    }

    /// The connection's wire format, if it has one.
    pub(crate) fn format(&self) -> Option<&Format> {
        self.inner.shared.format.as_ref()
    }

    /// Writes what waits now, as far as the socket takes it: at the end of a turn of reading, so that all
    /// replies go out in one write.
    pub fn flush(&self) {
        self.inner.change(State::flush_now);
    }

    /// Ready when the control lane takes a frame of this length; what is in it is written meanwhile. For the
    /// connection's own task; cancel safe.
    pub fn poll_room(&self, cx: &mut Context<'_>, length: usize) -> Poll<()> {
        self.inner.change(|state, shared| state.poll_room(shared, cx, length))
    }

    /// Ends the connection at once: what is queued is given up, the close frame is the last.
    pub fn close(&self, reason: CloseReason) {
        self.end(reason, Rest::GivenUp);
    }

    /// Ends the connection when all that is queued has been sent.
    pub fn finish(&self, reason: CloseReason) {
        self.end(reason, Rest::Sent);
    }

    /// Ends the connection when all that is queued has been sent, for which there is one write deadline in all: a client that takes its
    /// time has no more of it.
    pub(crate) fn finish_soon(&self, reason: CloseReason) {
        self.end(reason, Rest::SentSoon);
    }

    /// Ready when the connection is being ended: it takes nothing any more. For the connection's own task, in place of
    /// [`poll_room`](Self::poll_room).
    pub(crate) fn poll_ending(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.inner.state.lock();
        if state.is_closing() {
            return Poll::Ready(());
        }
        state.room = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Ends the connection without another word.
    pub(crate) fn abort(&self) {
        self.inner.change(State::break_off);
    }

    fn end(&self, reason: CloseReason, rest: Rest) {
        self.inner.change(|state, shared| state.close(shared, reason, rest));
    }

    /// How long the socket has taken nothing although something waits. Without a socket: how long nobody has
    /// pulled. When the app has ended the connection, and something waits: how long ago, whatever has been taken since.
    #[must_use]
    pub fn stalled_for(&self) -> Option<Duration> {
        let state = self.inner.state.lock();
        let hurries_since = state.hurries_since().filter(|_| state.has_work());
        hurries_since.or(state.stalled_since).map(|since| since.elapsed())
    }

    /// How long ago the app has ended the connection. All that waited then has one write deadline, in the outbox and behind it.
    #[must_use]
    pub fn ending_for(&self) -> Option<Duration> {
        self.inner.state.lock().hurries_since().map(|since| since.elapsed())
    }

    /// Why the connection is over, once the last frame has been taken, or cannot be any more.
    #[must_use]
    pub fn over(&self) -> Option<CloseReason> {
        self.inner.state.lock().over()
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

    /// Whether the client can tell messages to itself from those that it is subscribed to.
    pub(crate) fn takes_direct(&self) -> bool {
        self.inner.shared.format.as_ref().is_some_and(|format| format.encoder.tells_topics())
    }

    /// Makes room for a subscription. Before the shard knows of it, nothing is offered for it.
    pub(crate) fn add(&self, subject: Subject, policy: OverflowPolicy, limit: usize) -> SubscriptionId {
        self.inner.state.lock().add(Queue::new(subject, policy, limit))
    }

    /// Says before which position nothing of a subscription is missing.
    pub(crate) fn begins_after(&self, subscription: SubscriptionId, position: Position) {
        if let Some(queue) = self.inner.state.lock().queue(subscription) {
            queue.went_out(Some(position));
        }
    }

    pub(crate) fn as_subscriber(&self) -> Arc<dyn Subscriber> {
        self.inner.clone()
    }
}

impl Inner {
    /// Changes the state, and wakes whoever has to know of it: with the lock released, for a waker may run or
    /// drop what comes back here.
    fn change<R>(&self, change: impl FnOnce(&mut State, &Shared) -> R) -> R {
        let mut state = self.state.lock();
        let result = change(&mut state, &self.shared);
        let (task, room) = (state.task_to_wake(), state.room_to_wake());
        drop(state);
        wake(task);
        wake(room);
        result
    }

    /// The same for the connection's own task, which need not be woken.
    fn poll<R>(&self, poll: impl FnOnce(&mut State, &Shared) -> R) -> R {
        let mut state = self.state.lock();
        let result = poll(&mut state, &self.shared);
        let room = state.room_to_wake();
        drop(state);
        wake(room);
        result
    }
}

impl Drop for Inner {
    /// What nobody will read is given back to the process.
    fn drop(&mut self) {
        let Self { shared, state } = self;
        state.get_mut().discard_all(shared);
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
