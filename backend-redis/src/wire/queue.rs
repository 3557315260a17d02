//! The commands for one server: what waits to be sent, and what waits for its answer.
//!
//! Putting a command in is the hand-over: it never waits, and commands are sent in this order. The queue outlives the connections
//! that serve it.

use std::{collections::VecDeque, sync::Arc};

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use redis::Value;
use tokio::sync::{Notify, oneshot};

use super::value::Unexpected;
use crate::settings::Buffer;

/// How many commands may wait for an answer, and their bytes.
const MAX_COMMANDS: usize = 65_536;
const MAX_BYTES: usize = 64 << 20;

/// A command.
pub(crate) struct Request {
    pub(crate) bytes: Bytes,
    pub(crate) expect: Expect,
    /// Who waits for the answer.
    pub(crate) reply: Option<oneshot::Sender<Answer>>,
    pub(crate) retry: Retry,
}

/// What may be done with a command that the server has not obeyed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Retry {
    No,
    /// It may be sent once more, in its order, when the server says that it has done nothing: `NOSCRIPT`.
    Again,
    /// The same, and it may be held back while the server is away: something that is published.
    Held,
}

pub(crate) type Answer = Result<Value, Lost>;

/// What a command is answered with.
#[derive(Debug)]
pub(crate) enum Expect {
    One,
    /// So many answers, given on as an array: what has come so far.
    Several(usize, Vec<Value>),
    /// A push that confirms a subscription, or an error.
    Confirm(Confirm),
}

/// A change of subscriptions that a server confirms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Confirm {
    pub(crate) what: Subscribing,
    pub(crate) channel: Arc<str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subscribing {
    Channel(bool),
    Pattern(bool),
    Shard(bool),
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    /// It was not sent, and will not be.
    Unsent,
    /// As `Unsent`: too much waits already.
    Full,
    /// It was sent, or part of it.
    Unanswered,
}

/// Waits for an answer. Dropping it takes nothing back.
pub(crate) struct Asking(oneshot::Receiver<Answer>);

impl Asking {
    pub(crate) async fn answer(self) -> Answer {
        self.0.await.unwrap_or(Err(Lost::Unanswered))
    }
}

#[derive(Debug)]
pub(crate) struct Queue {
    state: Mutex<State>,
    work: Notify,
    idle: Notify,
    buffer: Option<Buffer>,
}

#[derive(Default)]
struct State {
    /// Goes before everything else, and is not counted.
    urgent: VecDeque<Request>,
    waiting: VecDeque<Request>,
    sent: VecDeque<Request>,
    /// The server did nothing for these; they go again when nothing is on its way any more.
    again: VecDeque<Request>,
    /// What has to be said before they go again.
    before_again: Vec<Bytes>,
    commands: usize,
    bytes: usize,
    is_up: bool,
    is_closed: bool,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State")
            .field("waiting", &self.waiting.len())
            .field("sent", &self.sent.len())
            .field("bytes", &self.bytes)
            .field("is_up", &self.is_up)
            .finish_non_exhaustive()
    }
}

impl Queue {
    pub(crate) fn new(buffer: Option<Buffer>) -> Self {
        Self { state: Mutex::default(), work: Notify::new(), idle: Notify::new(), buffer }
    }

    /// Hands over a command with one answer.
    pub(crate) fn ask(&self, bytes: Bytes) -> Asking {
        self.hand_over(bytes, Expect::One, Retry::No)
    }

    /// Hands over a command. An error arrives as the answer.
    pub(crate) fn hand_over(&self, bytes: Bytes, expect: Expect, retry: Retry) -> Asking {
        let (reply, asking) = oneshot::channel();
        let request = Request { bytes, expect, reply: Some(reply), retry };
        let refused = self.put(request);
        if let Some((request, lost)) = refused
            && let Some(reply) = request.reply
        {
            let _ = reply.send(Err(lost));
        }
        Asking(asking)
    }

    fn put(&self, request: Request) -> Option<(Request, Lost)> {
        let mut state = self.state.lock();
        let size = request.bytes.len();
        let (commands, bytes) = match self.buffer {
            _ if state.is_closed => return Some((request, Lost::Unsent)),
            _ if state.is_up => (MAX_COMMANDS, MAX_BYTES),
            // Only what is published is held back: other calls are made anew by who made them.
            Some(buffer) if request.retry == Retry::Held => (buffer.messages, buffer.bytes),
            _ => return Some((request, Lost::Unsent)),
        };
        if state.commands >= commands || (state.bytes + size > bytes && state.commands > 0) {
            return Some((request, Lost::Full));
        }
        state.commands += 1;
        state.bytes += size;
        state.waiting.push_back(request);
        drop(state);
        self.work.notify_one();
        None
    }

    /// Asks whether the server is there.
    pub(crate) fn ping(&self, bytes: Bytes) {
        let request = Request { bytes, expect: Expect::One, reply: None, retry: Retry::No };
        self.state.lock().urgent.push_back(request);
        self.work.notify_one();
    }

    /// Waits until there is something to send.
    pub(super) async fn until_work(&self) {
        self.work.notified().await;
    }

    /// Takes what is to be sent, up to a number of bytes; it counts as sent from now on.
    pub(super) fn take(&self, out: &mut BytesMut, max: usize) {
        let mut state = self.state.lock();
        let state = &mut *state;
        let send = |sent: &mut VecDeque<Request>, request: Request, out: &mut BytesMut| {
            out.extend_from_slice(&request.bytes);
            sent.push_back(request);
        };
        while let Some(request) = state.urgent.pop_front() {
            send(&mut state.sent, request, out);
        }
        if !state.again.is_empty() {
            // What follows must not overtake them.
            if !state.sent.is_empty() {
                return;
            }
            for bytes in std::mem::take(&mut state.before_again) {
                send(&mut state.sent, Request { bytes, expect: Expect::One, reply: None, retry: Retry::No }, out);
            }
            while let Some(request) = state.again.pop_back() {
                state.waiting.push_front(request);
            }
        }
        while out.len() < max
            && let Some(request) = state.waiting.pop_front()
        {
            send(&mut state.sent, request, out);
        }
    }

    /// Takes an answer. The server did nothing for a command whose answer says so: it goes again, after `first`.
    pub(super) fn answer(&self, value: Value, first: Option<&[Bytes]>) -> Result<(), Unexpected> {
        let mut state = self.state.lock();
        let request = state.sent.front_mut().ok_or(Unexpected)?;
        if let Some(first) = first
            && request.retry != Retry::No
        {
            if let Some(request) = state.sent.pop_front() {
                state.again.push_back(request);
                state.before_again = first.to_vec();
                self.work.notify_one();
            }
            return Ok(());
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
        let state = self.state.lock();
        match state.sent.front().map(|request| &request.expect) {
            Some(Expect::Confirm(expected)) if expected == confirm => {
                self.finish(state, Ok(Value::Okay));
                true
            }
            _ => false,
        }
    }

    fn finish(&self, mut state: parking_lot::MutexGuard<'_, State>, answer: Answer) {
        let Some(request) = state.sent.pop_front() else { return };
        if let Some(reply) = request.reply {
            state.commands = state.commands.saturating_sub(1);
            state.bytes = state.bytes.saturating_sub(request.bytes.len());
            let _ = reply.send(answer);
        }
        let goes_again = state.sent.is_empty() && !state.again.is_empty();
        let is_idle = state.commands == 0;
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

    /// A connection serves the queue.
    pub(crate) fn up(&self) {
        self.state.lock().is_up = true;
        self.work.notify_one();
    }

    /// No connection serves the queue any more. What was sent has no answer; what was not waits, where it may.
    pub(crate) fn down(&self) {
        let mut state = self.state.lock();
        state.is_up = false;
        state.urgent.clear();
        state.before_again.clear();
        let mut lost: Vec<_> = state.sent.drain(..).map(|request| (request, Lost::Unanswered)).collect();
        // The server has said that it did nothing for these.
        while let Some(request) = state.again.pop_back() {
            state.waiting.push_front(request);
        }
        let held: VecDeque<_> = std::mem::take(&mut state.waiting);
        (state.commands, state.bytes) = (0, 0);
        let mut full = false;
        for request in held {
            let fits = self.buffer.is_some_and(|buffer| {
                state.commands < buffer.messages
                    && (state.bytes + request.bytes.len() <= buffer.bytes || state.commands == 0)
            });
            // What follows one that is lost is not sent before it is known to be.
            full |= request.retry == Retry::Held && !fits;
            if request.retry == Retry::Held && !full && !state.is_closed {
                state.commands += 1;
                state.bytes += request.bytes.len();
                state.waiting.push_back(request);
            } else {
                lost.push((request, Lost::Unsent));
            }
        }
        drop(state);
        for (request, why) in lost {
            if let Some(reply) = request.reply {
                let _ = reply.send(Err(why));
            }
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
            if self.state.lock().commands == 0 {
                return;
            }
            idle.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn sent(queue: &Queue) -> Vec<u8> {
        let mut out = BytesMut::new();
        queue.take(&mut out, 1 << 16);
        out.to_vec()
    }

    fn bytes(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    fn publish(queue: &Queue, text: &'static str) -> Asking {
        queue.hand_over(bytes(text), Expect::One, Retry::Held)
    }

    fn state_of(asking: Asking) -> Option<Answer> {
        asking.answer().now_or_never()
    }

    #[test]
    fn what_was_sent_is_told_from_what_was_not() {
        let queue = Queue::new(None);
        queue.up();
        let a = publish(&queue, "a");
        assert_eq!(sent(&queue), b"a");
        let b = publish(&queue, "b");
        queue.down();
        assert_eq!(state_of(a), Some(Err(Lost::Unanswered)));
        assert_eq!(state_of(b), Some(Err(Lost::Unsent)));
        assert_eq!(state_of(publish(&queue, "c")), Some(Err(Lost::Unsent)));
    }

    #[test]
    fn a_buffer_holds_back_what_is_published_and_no_more_than_it_may() {
        let queue = Queue::new(Some(Buffer { messages: 2, bytes: 100 }));
        assert_eq!(state_of(queue.ask(bytes("history"))), Some(Err(Lost::Unsent)));
        let a = publish(&queue, "a");
        let _b = publish(&queue, "b");
        assert_eq!(state_of(publish(&queue, "c")), Some(Err(Lost::Full)));
        queue.up();
        assert_eq!(sent(&queue), b"ab");
        queue.answer(Value::Okay, None).unwrap();
        assert_eq!(state_of(a), Some(Ok(Value::Okay)));
    }

    #[test]
    fn what_goes_again_is_not_overtaken() {
        let queue = Queue::new(None);
        queue.up();
        let [_a, _b, _c] = ["a", "b", "c"].map(|text| publish(&queue, text));
        assert_eq!(sent(&queue), b"abc");
        // The server knows the script of none of them.
        queue.answer(Value::Nil, Some(&[bytes("L")])).unwrap();
        let _d = publish(&queue, "d");
        assert_eq!(sent(&queue), b"", "b and c are still on their way");
        queue.answer(Value::Nil, Some(&[bytes("L")])).unwrap();
        queue.answer(Value::Nil, Some(&[bytes("L")])).unwrap();
        assert_eq!(sent(&queue), b"Labcd");
    }

    #[test]
    fn a_dropped_publish_is_sent() {
        let queue = Queue::new(None);
        queue.up();
        drop(publish(&queue, "a"));
        assert_eq!(sent(&queue), b"a");
    }

    #[test]
    fn a_confirmation_that_nobody_asked_for_answers_nothing() {
        let queue = Queue::new(None);
        queue.up();
        let asking = queue.ask(bytes("PING"));
        let _ = sent(&queue);
        let moved = Confirm { what: Subscribing::Shard(false), channel: "t".into() };
        assert!(!queue.confirm(&moved));
        queue.answer(Value::SimpleString("PONG".into()), None).unwrap();
        assert!(matches!(state_of(asking), Some(Ok(Value::SimpleString(_)))));
        assert!(queue.answer(Value::Nil, None).is_err());
    }
}
