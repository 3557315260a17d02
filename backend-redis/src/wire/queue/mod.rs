//! The commands for one server: what waits to be sent, and what waits for its answer.
//!
//! Putting a command in is the hand-over: it never waits, and commands are sent in this order. The queue outlives the connections
//! that serve it.

mod request;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use fanfare_core::backend::blocks::{Load, Room};
use parking_lot::Mutex;
use redis::Value;
pub(super) use request::Taken;
use request::{Answer, plain};
pub(crate) use request::{Asking, Confirm, Expect, Lost, Packed, Redirect, Request, Retry, Subscribing};
use tokio::sync::Notify;

use super::value::Unexpected;

/// How often a command is sent on until its answer counts: servers that disagree about a slot agree before that.
const MAX_HOPS: u16 = 500;

/// How much may wait to be sent or answered.
const ROOM: Room = Room { messages: 65_536, bytes: 64 << 20 };

#[derive(Debug)]
pub(crate) struct Queue {
    state: Mutex<State>,
    work: Notify,
    idle: Notify,
    served: Notify,
    buffer: Option<Room>,
}

#[derive(Default)]
struct State {
    /// Goes before everything else, and is not counted.
    urgent: VecDeque<Request>,
    waiting: VecDeque<Request>,
    sent: VecDeque<Request>,
    /// The server did nothing for these; they go again when nothing is on its way any more.
    again: VecDeque<(Request, Redirect)>,
    /// All that is not answered yet.
    load: Load,
    is_up: bool,
    /// There was no connection yet, and there may be one in a moment.
    is_expected: bool,
    is_closed: bool,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State")
            .field("waiting", &self.waiting.len())
            .field("sent", &self.sent.len())
            .field("load", &self.load)
            .field("is_up", &self.is_up)
            .finish_non_exhaustive()
    }
}

impl Queue {
    pub(crate) fn new(buffer: Option<Room>) -> Self {
        let (work, idle, served) = (Notify::new(), Notify::new(), Notify::new());
        Self { state: Mutex::default(), work, idle, served, buffer }
    }

    /// Hands over a command. An error arrives as the answer.
    pub(crate) fn hand_over(
        &self,
        packed: impl Into<Packed>,
        expect: Expect,
        retry: Retry,
        slot: Option<u16>,
    ) -> Asking {
        let (request, asking) = Request::new(packed.into(), expect, retry, slot);
        self.adopt(request);
        asking
    }

    /// Takes over a command.
    pub(crate) fn adopt(&self, request: Request) {
        if let Some((request, lost)) = self.put(request) {
            request.fail(lost);
        }
    }

    fn put(&self, request: Request) -> Option<(Request, Lost)> {
        let mut state = self.state.lock();
        let room = match self.buffer {
            _ if state.is_closed => return Some((request, Lost::Unsent)),
            _ if state.is_up || state.is_expected => ROOM,
            // Only what is published is held back: other calls are made anew by who made them.
            Some(buffer) if request.retry == Retry::Held => buffer,
            _ => return Some((request, Lost::Unsent)),
        };
        if !state.load.put(request.bytes.len(), room) {
            return Some((request, Lost::Full));
        }
        state.waiting.push_back(request);
        drop(state);
        self.work.notify_one();
        None
    }

    /// Asks whether the server is there.
    pub(crate) fn ping(&self, bytes: Bytes) {
        self.state.lock().urgent.push_back(plain(bytes));
        self.work.notify_one();
    }

    /// Waits until there is something to send.
    pub(super) async fn until_work(&self) {
        self.work.notified().await;
    }

    /// Takes what is to be sent, up to a number of bytes; it counts as sent from now on. Where the runs of servers belong, these are put in.
    pub(super) fn take(&self, out: &mut BytesMut, max: usize, runs: &[u8]) -> Taken {
        let mut state = self.state.lock();
        let state = &mut *state;
        let send = |sent: &mut VecDeque<Request>, request: Request, out: &mut BytesMut| {
            out.extend_from_slice(&request.bytes);
            if request.needs_runs {
                out.extend_from_slice(runs);
            }
            sent.push_back(request);
        };
        while let Some(request) = state.urgent.pop_front() {
            send(&mut state.sent, request, out);
        }
        if !state.again.is_empty() {
            // What follows must not overtake them.
            if !state.sent.is_empty() {
                return Taken::Bytes;
            }
            let redirects = state.again.iter().map(|(_, redirect)| redirect);
            if redirects.clone().any(|redirect| !matches!(redirect, Redirect::Load(_))) {
                return Taken::Redirects { later: redirects.clone().any(|r| *r == Redirect::Later) };
            }
            if let Some((_, Redirect::Load(scripts))) = state.again.back() {
                for bytes in scripts {
                    send(&mut state.sent, plain(bytes.clone()), out);
                }
            }
            while let Some((request, _)) = state.again.pop_back() {
                state.waiting.push_front(request);
            }
        }
        while out.len() < max
            && let Some(request) = state.waiting.pop_front()
        {
            send(&mut state.sent, request, out);
        }
        Taken::Bytes
    }

    /// Whether a connection serves the queue.
    pub(crate) fn is_up(&self) -> bool {
        self.state.lock().is_up
    }

    /// Whether a command of a slot is not answered yet, and will be.
    pub(crate) fn holds(&self, slot: u16) -> bool {
        let state = self.state.lock();
        if !state.is_up {
            return false;
        }
        let again = state.again.iter().map(|(request, _)| request);
        state.waiting.iter().chain(&state.sent).chain(again).any(|request| request.slot == Some(slot))
    }

    /// Takes out all that is not sent, in its order; what was redirected comes first.
    pub(crate) fn drain(&self) -> Vec<(Request, Option<Redirect>)> {
        let mut state = self.state.lock();
        let state = &mut *state;
        let again = state.again.drain(..).map(|(request, redirect)| (request, Some(redirect)));
        let waiting = state.waiting.drain(..).map(|request| (request, None));
        let drained: Vec<_> = again.chain(waiting).collect();
        for (request, _) in &drained {
            state.load.take(request.bytes.len());
        }
        drained
    }

    /// Takes an answer. The server did nothing for a command whose answer redirects it, if that may go again.
    pub(super) fn answer(&self, value: Value, redirect: Option<Redirect>) -> Result<(), Unexpected> {
        let mut state = self.state.lock();
        let request = state.sent.front_mut().ok_or(Unexpected)?;
        let goes_on = redirect.is_some() && request.retry != Retry::No && request.hops < MAX_HOPS;
        if goes_on {
            request.redirect = redirect;
        }
        let value = match (&mut request.expect, value) {
            (Expect::Several(count, values), value) => {
                values.push(value);
                if values.len() < *count {
                    return Ok(());
                }
                Value::Array(std::mem::take(values))
            }
            (Expect::Confirm(_), value @ Value::ServerError(_)) | (Expect::One, value) => value,
            (Expect::Confirm(_), _) => return Err(Unexpected),
        };
        if let Some(redirect) = request.redirect.take()
            && let Some(mut request) = state.sent.pop_front()
        {
            request.hops += 1;
            state.again.push_back((request, redirect));
            self.work.notify_one();
            return Ok(());
        }
        self.finish(state, Ok(value));
        Ok(())
    }

    /// Whether a confirmation is the next answer.
    pub(super) fn expects(&self, confirm: &Confirm) -> bool {
        let state = self.state.lock();
        let next = state.sent.front().map(|request| &request.expect);
        matches!(next, Some(Expect::Confirm(expected)) if expected == confirm)
    }

    /// Takes a confirmation. False where nobody asked for it.
    pub(super) fn confirm(&self, confirm: &Confirm) -> bool {
        let is_expected = self.expects(confirm);
        if is_expected {
            self.finish(self.state.lock(), Ok(Value::Okay));
        }
        is_expected
    }

    fn finish(&self, mut state: parking_lot::MutexGuard<'_, State>, answer: Answer) {
        let Some(request) = state.sent.pop_front() else { return };
        if let Some(reply) = request.reply {
            state.load.take(request.bytes.len());
            let _ = reply.send(answer);
        }
        let goes_again = state.sent.is_empty() && !state.again.is_empty();
        let is_idle = state.load.is_empty();
        drop(state);
        if goes_again {
            self.work.notify_one();
        }
        if is_idle {
            self.idle.notify_waiters();
        }
    }

    /// Whether an answer is awaited.
    pub(super) fn awaits_answer(&self) -> bool {
        !self.state.lock().sent.is_empty()
    }

    /// The first connection is on its way: until it is there, or cannot be made, commands wait for it.
    pub(crate) fn expect(&self) {
        self.state.lock().is_expected = true;
    }

    /// The first connection could not be made.
    pub(crate) fn give_up(&self) {
        if self.state.lock().is_expected {
            self.down();
        }
    }

    /// A connection serves the queue.
    pub(crate) fn up(&self) {
        let mut state = self.state.lock();
        (state.is_up, state.is_expected) = (true, false);
        drop(state);
        self.work.notify_one();
        self.served.notify_waiters();
    }

    /// Waits until a connection serves the queue.
    pub(crate) async fn until_up(&self) {
        loop {
            let served = self.served.notified();
            if self.state.lock().is_up {
                return;
            }
            served.await;
        }
    }

    /// No connection serves the queue any more. What was sent has no answer; what was not waits, where it may.
    pub(crate) fn down(&self) {
        let mut state = self.state.lock();
        (state.is_up, state.is_expected) = (false, false);
        state.urgent.clear();
        let mut lost: Vec<_> = state.sent.drain(..).map(|request| (request, Lost::Unanswered)).collect();
        // The server has said that it did nothing for these.
        while let Some((request, _)) = state.again.pop_back() {
            state.waiting.push_front(request);
        }
        let room = self.buffer.filter(|_| !state.is_closed);
        let waiting = std::mem::take(&mut state.waiting);
        let may_wait = |request: &Request| (request.retry == Retry::Held).then_some(request.bytes.len());
        let (held, unsent) = state.load.hold(waiting, room, may_wait);
        state.waiting = held.into();
        lost.extend(unsent.into_iter().map(|request| (request, Lost::Unsent)));
        drop(state);
        for (request, why) in lost {
            request.fail(why);
        }
        self.idle.notify_waiters();
    }

    /// Takes no more commands.
    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        state.is_closed = true;
        let is_up = state.is_up;
        drop(state);
        if !is_up {
            self.down();
        }
    }

    /// Waits until all that was handed over is answered.
    pub(crate) async fn until_idle(&self) {
        loop {
            let idle = self.idle.notified();
            if self.state.lock().load.is_empty() {
                return;
            }
            idle.await;
        }
    }
}
