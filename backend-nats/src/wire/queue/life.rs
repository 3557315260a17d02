//! The connections that serve the queue: one comes, goes, or takes over from another.

use std::time::Duration;

use super::{Lost, Queue, Request, State};

/// How often it is looked whether all is answered.
const LOOK_EVERY: Duration = Duration::from_millis(2);

impl Queue {
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

    /// The largest message that the server takes: bytes.
    pub(crate) fn limit(&self, max_payload: usize) {
        self.state.lock().max_payload = max_payload;
    }

    /// The connection that serves the queue, or did last.
    pub(crate) fn connection(&self) -> u64 {
        self.state.lock().connection
    }

    /// The subject on which answers come.
    pub(crate) fn inbox(&self) -> String {
        self.state.lock().inbox.clone()
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
        let room = self.buffer.filter(|_| !state.is_closed);
        let may_wait = |request: &Request| request.may_wait.then(|| request.size());
        let (held, unsent) = state.load.hold(waiting.into_iter().chain(appends), room, may_wait);
        (state.appends, state.waiting) = held.into_iter().partition(Request::is_append);
        lost.extend(unsent.into_iter().map(|request| (request, Lost::Unsent)));
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
            if self.state.lock().load.is_empty() {
                return;
            }
            idle.await;
        }
    }
}

impl State {
    fn is_heard(&self) -> bool {
        self.pings == 0 && self.pinged.is_empty()
    }
}
