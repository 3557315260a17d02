//! What is on its way: what the server answers, refuses, or is silent about.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use parking_lot::MutexGuard;
use tokio::time::Instant;

use super::{Answer, Call, Expect, INBOX, Lost, Message, Queue, State, request::Request};
use crate::error::Trouble;

/// How often a message is sent again after a stream that was gone, or had no leader.
const MAX_TRIES: u8 = 16;

impl Queue {
    /// The server has taken all that was sent before a PING.
    pub(crate) fn pong(&self) {
        let mut state = self.state.lock();
        let taken = state.pinged.pop_front().unwrap_or_default();
        for request in taken {
            self.finish(&mut state, request, Ok(Answer::Taken));
        }
    }

    /// Takes a message if it answers something that was asked; else gives it back.
    pub(crate) fn answer(&self, message: Message) -> Option<Message> {
        let mut state = self.state.lock();
        let number = match message.sid {
            INBOX => message.subject.rsplit_once('.').and_then(|(_, number)| number.parse().ok()),
            sid => match state.fetches.get(&sid) {
                Some(number) => Some(*number),
                None => return Some(message),
            },
        };
        let number = number?;
        let Some(mut request) = state.asked.remove(&number) else {
            // Of two streams that were made at once one refuses what the other one takes, and may be quicker to say so.
            let held = if is_gone(&message) { None } else { state.again.remove(&number) };
            if let Some(request) = held {
                self.refuse_held_before(&mut state, number, request.subject());
                self.finish(&mut state, request, Ok(Answer::Message(message)));
            }
            return None;
        };
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
                self.refuse_held_before(&mut state, number, request.subject());
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

    /// A stream has taken a message. What was refused of its topic before, and is held to be sent again, would stand behind it:
    /// a leader came while they were on their way.
    fn refuse_held_before(&self, state: &mut MutexGuard<'_, State>, number: u64, subject: &str) {
        let is_too_late = |before: u64, held: &Request| before < number && held.subject() == subject;
        for before in extract(&mut state.again, is_too_late) {
            let trouble = Trouble::unavailable("the stream had no leader, and took what followed");
            self.finish(state, before, Err(Lost::Refused(trouble)));
        }
    }

    /// The server does not let a subject be published to. Who had may be gone.
    pub(crate) fn refuse(&self, subject: &str, trouble: &Trouble) {
        let mut state = self.state.lock();
        let mut refused = Vec::new();
        for taken in &mut state.pinged {
            refused.extend(taken.extract_if(.., |request| request.publishes(subject)));
        }
        refused.extend(extract(&mut state.asked, |_, request| request.publishes(subject)));
        for request in refused {
            self.give_up(&mut state, request, Lost::Refused(trouble.clone()));
        }
    }

    /// The server does not let a subject be subscribed to. False where nobody has asked for that.
    pub(crate) fn refuse_subscription(&self, subject: &str, trouble: &Trouble) -> bool {
        let is_it = |request: &mut Request| request.subscribes().is_some() && request.subject() == subject;
        let mut state = self.state.lock();
        let Some(taken) = state.pinged.front_mut() else { return false };
        let refused: Vec<_> = taken.extract_if(.., is_it).collect();
        let is_ours = !refused.is_empty();
        for request in refused {
            self.give_up(&mut state, request, Lost::Refused(trouble.clone()));
        }
        is_ours
    }

    /// The server takes no more subscriptions, and does not say which of the last ones it has not taken: all of them are given back. Their
    /// subjects.
    pub(crate) fn refuse_subscriptions(&self, trouble: &Trouble) -> Vec<Arc<str>> {
        let mut state = self.state.lock();
        let taken = state.pinged.front_mut().into_iter();
        let mut refused: Vec<_> =
            taken.flat_map(|taken| taken.extract_if(.., |request| request.subscribes().is_some())).collect();
        let subjects = refused.iter().map(|request| request.subject().into()).collect();
        state.done.extend(refused.iter().filter_map(Request::subscribes));
        refused.extend(extract(&mut state.asked, |_, request| request.sid.is_some()));
        for request in refused {
            self.give_up(&mut state, request, Lost::Refused(trouble.clone()));
        }
        self.work.notify_one();
        subjects
    }

    /// What was asked so long ago that no answer comes any more is given up, and a question whose answer nobody waits for.
    pub(crate) fn expire(&self, limit: Duration) {
        let mut state = self.state.lock();
        let is_late = |request: &Request| {
            request.is_abandoned() || request.sent.is_some_and(|sent| sent.elapsed() > limit)
        };
        let late = extract(&mut state.asked, |_, request| is_late(request));
        for request in late {
            self.give_up(&mut state, request, Lost::Unanswered);
        }
        self.look_for_stream(&state);
        drop(state);
        self.work.notify_one();
    }

    /// What was sent has no answer any more.
    fn give_up(&self, state: &mut MutexGuard<'_, State>, request: Request, why: Lost) {
        if request.is_append() {
            state.has_come(&request);
        }
        if let Some(sid) = request.sid {
            state.fetches.remove(&sid);
            state.done.push(sid);
        }
        self.finish(state, request, Err(why));
    }

    pub(super) fn finish(
        &self,
        state: &mut MutexGuard<'_, State>,
        request: Request,
        answer: Result<Answer, Lost>,
    ) {
        state.load.take(request.size());
        if state.load.is_empty() {
            self.idle.notify_waiters();
        }
        request.finish(answer);
    }

    /// Whether the server owes a PONG.
    pub(crate) fn awaits_pong(&self) -> bool {
        !self.state.lock().pinged.is_empty()
    }
}

impl State {
    /// A message for a log is not on its way any more.
    fn has_come(&mut self, request: &Request) {
        self.appending = self.appending.saturating_sub(1);
        self.appending_bytes = self.appending_bytes.saturating_sub(request.size());
    }
}

/// Takes out what is wanted.
fn extract(requests: &mut BTreeMap<u64, Request>, is_wanted: impl Fn(u64, &Request) -> bool) -> Vec<Request> {
    let wanted = requests.iter().filter(|(number, request)| is_wanted(**number, request));
    let wanted: Vec<_> = wanted.map(|(number, _)| *number).collect();
    wanted.into_iter().filter_map(|number| requests.remove(&number)).collect()
}

/// Whether a message was not stored because its stream is gone: nobody took it, or another stream has the subject.
fn is_gone(answer: &Message) -> bool {
    const NOT_FOUND: &str = "\"err_code\":10059";
    const ANOTHER: &str = "\"err_code\":10060";
    let says = |text: &str| memchr::memmem::find(&answer.payload, text.as_bytes()).is_some();
    answer.status() == Some(503) || says(NOT_FOUND) || says(ANOTHER)
}
