//! What is for the server: what waits to be sent, and what waits for its answer.
//!
//! Putting something in is the hand-over: it never waits, and it is sent in this order. The queue outlives the connections that
//! serve it.

mod answers;
mod appends;
mod life;
mod request;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    fmt::Write as _,
    sync::Arc,
};

use bytes::BytesMut;
use fanfare_core::backend::blocks::{Load, Room};
use parking_lot::Mutex;
pub(crate) use request::{Answer, Asking, Call, Expect, Lost, publish};
use request::{Request, headers_of, publish_with};
use tokio::{sync::Notify, time::Instant};

use super::Message;
use crate::error::Trouble;

/// How much may wait to be sent or answered.
const ROOM: Room = Room { messages: 65_536, bytes: 64 << 20 };

/// How much may be on its way into logs at once. A server drops what it cannot take in.
const MAX_APPENDING: usize = 2_048;
const MAX_APPENDING_BYTES: usize = 8 << 20;

/// The subscription for answers.
pub(crate) const INBOX: u64 = 1;

/// What is said of a message that a server would not take.
pub(crate) fn too_large(size: usize, most: usize) -> Trouble {
    Trouble::too_large(format!(
        "a message of {size} bytes is larger than the server takes ({most}): raise `max_payload`, or lower max_message"
    ))
}

pub(crate) struct Queue {
    state: Mutex<State>,
    work: Notify,
    idle: Notify,
    /// Messages for logs wait, and it is not known for which stream.
    lacks_stream: Notify,
    buffer: Option<Room>,
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
    /// The largest message that the server takes; 0 where it is not known.
    max_payload: usize,
    inbox: String,
    next: u64,
    /// All that is not answered yet.
    load: Load,
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
    pub(crate) fn new(buffer: Option<Room>) -> Self {
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
        let room = match self.buffer {
            _ if state.is_closed || (state.is_draining && request.may_wait) => {
                return Some((request, Lost::Unsent));
            }
            _ if state.is_up => ROOM,
            // Only what is published is held back: other calls are made anew by who made them.
            Some(buffer) if request.may_wait => buffer,
            _ => return Some((request, Lost::Unsent)),
        };
        if !state.load.put(request.size(), room) {
            return Some((request, Lost::Full));
        }
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
    pub(crate) async fn until_work(&self) {
        self.work.notified().await;
    }

    /// Takes what is to be sent, up to a number of bytes; it counts as sent from now on.
    pub(crate) fn take(&self, out: &mut BytesMut, max: usize) {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let (now, mut refused) = (Instant::now(), Vec::new());
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
                _ => match state.too_large(&request, "") {
                    Some(trouble) => refused.push((request, trouble)),
                    None => state.ask(request, out),
                },
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
            if let Some(trouble) = state.too_large(&request, &stream) {
                refused.push((request, trouble));
                continue;
            }
            request.sent = Some(now);
            state.append(request, &stream, out);
        }
        if !taken.is_empty() || state.pings > 0 {
            state.pings = 0;
            out.extend_from_slice(b"PING\r\n");
            state.pinged.push_back(taken);
        }
        for (request, trouble) in refused {
            self.finish(&mut guard, request, Err(Lost::Refused(trouble)));
        }
    }
}

impl State {
    /// Why a message is not sent for which the server would end the connection.
    fn too_large(&self, request: &Request, stream: &str) -> Option<Trouble> {
        let size = request.payload(stream);
        (self.max_payload > 0 && size > self.max_payload).then(|| too_large(size, self.max_payload))
    }

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
        let (headers, count) = headers_of(stream, id.as_deref());
        publish_with(out, subject, &reply, &headers[..count], payload);
        self.appending += 1;
        self.appending_bytes += request.size();
        self.asked.insert(self.next, request);
    }
}
