//! What is for the server: what waits to be sent, and what waits for its answer.
//!
//! Putting something in is the hand-over: it never waits, and it is sent in this order. The queue outlives the connections that
//! serve it.

mod request;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    fmt::Write as _,
    sync::Arc,
    time::Duration,
};

use bytes::BytesMut;
use parking_lot::{Mutex, MutexGuard};
pub(crate) use request::{Answer, Asking, Call, Expect, Lost, publish};
use request::{Request, publish_with};
use tokio::{sync::Notify, time::Instant};

use super::Message;
use crate::{error::Trouble, settings::Buffer};

/// How much may wait to be sent or answered: calls, bytes.
const MAX_CALLS: usize = 65_536;
const MAX_BYTES: usize = 64 << 20;

/// How much may be on its way into logs at once. A server drops what it cannot take in.
const MAX_APPENDING: usize = 2_048;
const MAX_APPENDING_BYTES: usize = 8 << 20;

/// How often a message is sent to another stream than the one that was gone.
const MAX_TRIES: u8 = 5;

/// How often it is looked whether all is answered.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// The subscription for answers.
pub(crate) const INBOX: u64 = 1;

pub(crate) struct Queue {
    state: Mutex<State>,
    work: Notify,
    idle: Notify,
    /// Messages for logs wait, and it is not known for which stream.
    lacks_stream: Notify,
    buffer: Option<Buffer>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Request>,
    appends: VecDeque<Request>,
    /// Refused because the stream was gone, by number: they go again, before all others.
    again: BTreeMap<u64, Request>,
    /// The stream that holds the logs, once it has been looked at on this connection.
    stream: Option<Arc<str>>,
    /// Sent before each PING that is not answered yet.
    pinged: VecDeque<Vec<Request>>,
    /// Sent, and answered on subjects of their own, by number.
    asked: BTreeMap<u64, Request>,
    /// The numbers of those with subscriptions of their own.
    fetches: HashMap<u64, u64>,
    /// Subscriptions that have served their purpose.
    done: Vec<u64>,
    pings: usize,
    appending: usize,
    appending_bytes: usize,
    inbox: String,
    next: u64,
    calls: usize,
    bytes: usize,
    is_up: bool,
    /// How many connections have served the queue.
    connection: u64,
    /// Nothing is sent until another connection serves the queue.
    is_held: bool,
    is_closed: bool,
    /// Only what finishes other calls is taken.
    is_draining: bool,
}

impl Queue {
    pub(crate) fn new(buffer: Option<Buffer>) -> Self {
        let state = State { next: INBOX + 1, ..State::default() };
        Self {
            state: Mutex::new(state),
            work: Notify::new(),
            idle: Notify::new(),
            lacks_stream: Notify::new(),
            buffer,
        }
    }

    /// Hands over a call. An error arrives as the answer.
    pub(crate) fn hand_over(&self, call: Call, may_wait: bool) -> Asking {
        let (request, asking) = Request::new(call, may_wait);
        if let Some((request, lost)) = self.put(request) {
            request.finish(Err(lost));
        }
        asking
    }

    fn put(&self, request: Request) -> Option<(Request, Lost)> {
        let mut state = self.state.lock();
        let size = request.size();
        let (calls, bytes) = match self.buffer {
            _ if state.is_closed || (state.is_draining && request.may_wait) => {
                return Some((request, Lost::Unsent));
            }
            _ if state.is_up => (MAX_CALLS, MAX_BYTES),
            // Only what is published is held back: other calls are made anew by who made them.
            Some(buffer) if request.may_wait => (buffer.messages, buffer.bytes),
            _ => return Some((request, Lost::Unsent)),
        };
        if state.calls >= calls || (state.bytes + size > bytes && state.calls > 0) {
            return Some((request, Lost::Full));
        }
        state.calls += 1;
        state.bytes += size;
        if request.is_append() {
            state.appends.push_back(request);
            self.look_for_stream(&state);
        } else {
            state.waiting.push_back(request);
        }
        drop(state);
        self.work.notify_one();
        None
    }

    /// A number that no subscription has had.
    pub(crate) fn next_sid(&self) -> u64 {
        let mut state = self.state.lock();
        state.next += 1;
        state.next
    }

    /// Asks whether the server is there.
    pub(crate) fn ping(&self) {
        self.state.lock().pings += 1;
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
        let now = Instant::now();
        for sid in state.done.drain(..) {
            let _ = write!(out, "UNSUB {sid}\r\n");
        }
        let mut taken = Vec::new();
        while out.len() < max
            && !state.is_held
            && let Some(mut request) = state.waiting.pop_front()
        {
            request.sent = Some(now);
            match &request.call {
                Call::Frames { bytes, .. } => {
                    out.extend_from_slice(bytes);
                    taken.push(request);
                }
                _ => state.ask(request, out),
            }
        }
        while out.len() < max
            && !state.is_held
            && state.again.is_empty()
            && state.appending < MAX_APPENDING
            && (state.appending_bytes < MAX_APPENDING_BYTES || state.appending == 0)
            && let Some(stream) = state.stream.clone()
            && let Some(mut request) = state.appends.pop_front()
        {
            request.sent = Some(now);
            state.append(request, &stream, out);
        }
        if !taken.is_empty() || state.pings > 0 {
            state.pings = 0;
            out.extend_from_slice(b"PING\r\n");
            state.pinged.push_back(taken);
        }
    }

    /// The server has taken all that was sent before a PING.
    pub(super) fn pong(&self) {
        let mut state = self.state.lock();
        let taken = state.pinged.pop_front().unwrap_or_default();
        for request in taken {
            self.finish(&mut state, request, Ok(Answer::Taken));
        }
    }

    /// Takes a message if it answers something that was asked; else gives it back.
    pub(super) fn answer(&self, message: Message) -> Option<Message> {
        let mut state = self.state.lock();
        let number = match message.sid {
            INBOX => message.subject.rsplit_once('.').and_then(|(_, number)| number.parse().ok()),
            sid => match state.fetches.get(&sid) {
                Some(number) => Some(*number),
                None => return Some(message),
            },
        };
        let mut request = number.and_then(|number| state.asked.remove(&number))?;
        let number = number.unwrap_or_default();
        let has_ended = message.status().is_some();
        let answer = match &request.call {
            Call::Append { .. } => {
                state.has_come(&request);
                if is_gone(&message) && request.tries < MAX_TRIES {
                    request.tries += 1;
                    state.again.insert(number, request);
                    state.stream = None;
                    self.look_for_stream(&state);
                    return None;
                }
                self.look_for_stream(&state);
                self.work.notify_one();
                Answer::Message(message)
            }
            Call::Ask { expect: Expect::One, .. } | Call::Frames { .. } => Answer::Message(message),
            Call::Ask { expect, .. } => {
                let mut status = None;
                let count = if let Expect::Count(count) = expect { *count } else { usize::MAX };
                if has_ended {
                    status = Some(message);
                } else {
                    request.came.push(message);
                }
                if status.is_none() && request.came.len() < count {
                    // It goes on: an answer that comes in parts is alive.
                    request.sent = Some(Instant::now());
                    state.asked.insert(number, request);
                    return None;
                }
                if let Some(sid) = request.sid {
                    state.fetches.remove(&sid);
                    state.done.push(sid);
                    self.work.notify_one();
                }
                Answer::Messages(std::mem::take(&mut request.came), status)
            }
        };
        self.finish(&mut state, request, Ok(answer));
        None
    }

    /// The server refuses the use of a subject. False where nobody had asked for it.
    pub(super) fn refuse(&self, subject: &str, trouble: &Trouble) -> bool {
        let mut state = self.state.lock();
        let mut refused = Vec::new();
        for taken in &mut state.pinged {
            refused.extend(taken.extract_if(.., |request| request.subject() == subject));
        }
        let asked: Vec<u64> = state
            .asked
            .iter()
            .filter(|(_, request)| request.subject() == subject)
            .map(|(number, _)| *number)
            .collect();
        for number in asked {
            refused.extend(state.asked.remove(&number));
        }
        let is_ours = !refused.is_empty();
        for request in refused {
            if request.is_append() {
                state.has_come(&request);
            }
            self.finish(&mut state, request, Err(Lost::Refused(trouble.clone())));
        }
        is_ours
    }

    /// What was asked so long ago that no answer comes any more is given up.
    pub(super) fn expire(&self, limit: Duration) {
        let mut state = self.state.lock();
        let is_late = |request: &Request| request.sent.is_some_and(|sent| sent.elapsed() > limit);
        let late: Vec<u64> =
            state.asked.iter().filter(|(_, request)| is_late(request)).map(|(number, _)| *number).collect();
        for number in late {
            let Some(request) = state.asked.remove(&number) else { continue };
            if request.is_append() {
                state.has_come(&request);
            }
            if let Some(sid) = request.sid {
                state.fetches.remove(&sid);
                state.done.push(sid);
            }
            self.finish(&mut state, request, Err(Lost::Unanswered));
        }
        self.look_for_stream(&state);
        drop(state);
        self.work.notify_one();
    }

    fn finish(&self, state: &mut MutexGuard<'_, State>, request: Request, answer: Result<Answer, Lost>) {
        state.calls = state.calls.saturating_sub(1);
        state.bytes = state.bytes.saturating_sub(request.size());
        if state.calls == 0 {
            self.idle.notify_waiters();
        }
        request.finish(answer);
    }

    /// Whether the server owes a PONG.
    pub(super) fn awaits_pong(&self) -> bool {
        !self.state.lock().pinged.is_empty()
    }

    /// Has the stream looked for if something waits for it. What is on its way is answered first: none of it may come after what
    /// is sent again.
    fn look_for_stream(&self, state: &State) {
        let waits = !state.appends.is_empty() || !state.again.is_empty();
        if state.is_up && state.stream.is_none() && waits && state.appending == 0 {
            self.lacks_stream.notify_one();
        }
    }

    /// Waits until a stream has to be found for what waits.
    pub(crate) async fn until_it_lacks_a_stream(&self) {
        self.lacks_stream.notified().await;
    }

    /// Whether what waits was refused by a stream that was gone.
    pub(crate) fn was_refused(&self) -> bool {
        !self.state.lock().again.is_empty()
    }

    /// What is for logs goes to this stream from now on; first what was refused by another.
    pub(crate) fn set_stream(&self, stream: Arc<str>) {
        let mut state = self.state.lock();
        let state = &mut *state;
        state.stream = Some(stream);
        while let Some((_, request)) = state.again.pop_last() {
            state.appends.push_front(request);
        }
        self.work.notify_one();
    }

    /// What is for logs waits until the stream has been looked at anew.
    pub(crate) fn forget_stream(&self) {
        let mut state = self.state.lock();
        state.stream = None;
        self.look_for_stream(&state);
    }

    /// The connection that serves the queue, or did last.
    pub(crate) fn connection(&self) -> u64 {
        self.state.lock().connection
    }

    /// There is no stream for what waits, a connection said. If that one is gone, the next one is asked.
    pub(crate) fn refuse_appends(&self, trouble: &Trouble, connection: u64) {
        let mut state = self.state.lock();
        if !state.is_up || state.connection != connection {
            return self.look_for_stream(&state);
        }
        let again = std::mem::take(&mut state.again);
        let waiting = std::mem::take(&mut state.appends);
        for request in again.into_values().chain(waiting) {
            self.finish(&mut state, request, Err(Lost::Refused(trouble.clone())));
        }
    }

    /// A connection serves the queue. Answers come to this inbox.
    pub(crate) fn up(&self, inbox: String) {
        let mut state = self.state.lock();
        state.is_up = true;
        state.connection += 1;
        state.inbox = inbox;
        self.look_for_stream(&state);
        drop(state);
        self.work.notify_one();
    }

    /// Nothing more is sent but PINGs, until another connection serves the queue.
    pub(crate) fn hold(&self) {
        self.state.lock().is_held = true;
    }

    /// What was held is sent after all.
    pub(crate) fn go_on(&self) {
        self.state.lock().is_held = false;
        self.work.notify_one();
    }

    /// Waits until all that was asked is answered.
    pub(crate) async fn until_answered(&self) {
        while !self.state.lock().asked.is_empty() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Waits until all PINGs are answered.
    pub(crate) async fn until_heard(&self) {
        while !self.state.lock().is_heard() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// The subject on which answers come.
    pub(crate) fn inbox(&self) -> String {
        self.state.lock().inbox.clone()
    }

    /// Another connection serves the queue than the one that did: answers come by it. What has several messages for an answer has
    /// none: some may have come by both.
    pub(crate) fn moved(&self) {
        let mut state = self.state.lock();
        state.pings = 0;
        state.fetches.clear();
        state.done.clear();
        let mut lost: Vec<_> = state.pinged.drain(..).flatten().collect();
        let has_parts =
            state.asked.iter().filter(|(_, request)| request.has_parts()).map(|(number, _)| *number);
        for number in has_parts.collect::<Vec<_>>() {
            lost.extend(state.asked.remove(&number));
        }
        for request in lost {
            self.finish(&mut state, request, Err(Lost::Unanswered));
        }
        drop(state);
        self.go_on();
    }

    /// No connection serves the queue any more. What was sent has no answer; what was not waits, where it may.
    pub(crate) fn down(&self) {
        let mut state = self.state.lock();
        (state.is_up, state.is_held) = (false, false);
        state.stream = None;
        state.pings = 0;
        (state.appending, state.appending_bytes) = (0, 0);
        state.fetches.clear();
        state.done.clear();
        let pinged = state.pinged.drain(..).flatten().collect::<Vec<_>>();
        let asked = std::mem::take(&mut state.asked);
        let mut lost: Vec<_> = pinged
            .into_iter()
            .chain(asked.into_values())
            .map(|request| (request, Lost::Unanswered))
            .collect();
        // The server has said that it did nothing for these.
        while let Some((_, request)) = state.again.pop_last() {
            state.appends.push_front(request);
        }
        let waiting = std::mem::take(&mut state.waiting);
        let appends = std::mem::take(&mut state.appends);
        (state.calls, state.bytes) = (0, 0);
        let mut full = state.is_closed;
        for request in waiting.into_iter().chain(appends) {
            let size = request.size();
            let fits = self.buffer.is_some_and(|buffer| {
                state.calls < buffer.messages && (state.bytes + size <= buffer.bytes || state.calls == 0)
            });
            // What follows one that is lost is not sent before it is known to be.
            full |= request.may_wait && !fits;
            if request.may_wait && !full {
                state.calls += 1;
                state.bytes += size;
                let to = if request.is_append() { &mut state.appends } else { &mut state.waiting };
                to.push_back(request);
            } else {
                lost.push((request, Lost::Unsent));
            }
        }
        drop(state);
        for (request, why) in lost {
            request.finish(Err(why));
        }
        self.idle.notify_waiters();
    }

    /// Takes nothing more that is published; what was is finished.
    pub(crate) fn drain(&self) {
        let mut state = self.state.lock();
        state.is_draining = true;
        let is_up = state.is_up;
        drop(state);
        if !is_up {
            self.close();
        }
    }

    /// Takes no more calls.
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
            if self.state.lock().calls == 0 {
                return;
            }
            idle.await;
        }
    }
}

impl State {
    fn ask(&mut self, mut request: Request, out: &mut BytesMut) {
        let Call::Ask { subject, headers, payload, expect } = &request.call else { return };
        self.next += 1;
        let number = self.next;
        if let Expect::Count(_) = expect {
            // These answers have the subjects that they were published to: the subscription tells what they belong to.
            let reply = format!("{}.fetch.{number}", self.inbox);
            let _ = write!(out, "SUB {reply} {number}\r\n");
            publish_with(out, subject, &reply, headers, payload);
            self.fetches.insert(number, number);
            request.sid = Some(number);
        } else {
            publish_with(out, subject, &format!("{}.{number}", self.inbox), headers, payload);
        }
        self.asked.insert(number, request);
    }

    fn append(&mut self, request: Request, stream: &str, out: &mut BytesMut) {
        let Call::Append { subject, id, payload } = &request.call else { return };
        self.next += 1;
        let reply = format!("{}.{}", self.inbox, self.next);
        let headers = [("Nats-Expected-Stream", stream), ("Nats-Msg-Id", id.as_deref().unwrap_or_default())];
        let count = if id.is_some() { 2 } else { 1 };
        publish_with(out, subject, &reply, &headers[..count], payload);
        self.appending += 1;
        self.appending_bytes += request.size();
        self.asked.insert(self.next, request);
    }

    fn is_heard(&self) -> bool {
        self.pings == 0 && self.pinged.is_empty()
    }

    /// A message for a log is not on its way any more.
    fn has_come(&mut self, request: &Request) {
        self.appending = self.appending.saturating_sub(1);
        self.appending_bytes = self.appending_bytes.saturating_sub(request.size());
    }
}

/// Whether a message was not stored because its stream is gone: nobody took it, or another stream has the subject.
fn is_gone(answer: &Message) -> bool {
    const NOT_FOUND: &str = "\"err_code\":10059";
    const ANOTHER: &str = "\"err_code\":10060";
    let says = |text: &str| memchr::memmem::find(&answer.payload, text.as_bytes()).is_some();
    answer.status() == Some(503) || says(NOT_FOUND) || says(ANOTHER)
}
