//! What hooks hear of a session's subscriptions: one thing after the other, in the order in which it happened.

use std::collections::VecDeque;

use tokio::sync::oneshot;

use super::{Held, Seat};
use crate::{
    hooks::Happened,
    session::{CommandError, ErrorCode},
};

/// So far hooks may be behind what happens to a session: then the server makes no further subscription for it. What ends is noted all the same;
/// that is no more than what has begun.
const BEHIND: usize = 1024;

/// What hooks have not heard yet.
#[derive(Default)]
pub(super) struct Events {
    waiting: VecDeque<Happened>,
    /// Somebody is telling them.
    is_told: bool,
    /// Who waits for the last one to be told.
    done: Vec<oneshot::Sender<()>>,
}

impl Events {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && !self.is_told && self.done.is_empty()
    }
}

impl Held {
    /// Notes what has happened, where somebody wants to hear of it.
    pub(super) fn note(&mut self, seat: &Seat, happened: Happened) {
        if seat.broker.hooks.membership.watches(&happened) {
            let waiting = &mut self.table.rare().events.waiting;
            waiting.push_back(happened);
            if waiting.len() == BEHIND {
                let client = seat.client();
                tracing::warn!(target: "fanfare::hooks", %client, limit = BEHIND, "hooks are far behind: do they subscribe clients without end?");
            }
        }
    }

    /// Whether the server may subscribe the client, as far as hooks are concerned: they may do so themselves, over and over.
    pub(super) fn check_hooks(&self) -> Result<(), CommandError> {
        let behind = self.table.rare.as_ref().map_or(0, |rare| rare.events.waiting.len());
        if behind < BEHIND {
            return Ok(());
        }
        let message = "hooks are too far behind what this connection is subscribed to";
        let error = CommandError::new(ErrorCode::LimitExceeded, message).field("topic");
        Err(error.limit(BEHIND as u64, behind as u64 + 1))
    }
}

impl Seat {
    /// Tells the hooks what they have not heard yet. Ready when they have heard it: a client whose hooks take their time is served
    /// no faster than they are done.
    ///
    /// # Cancel safety
    ///
    /// What a hook was being told is told no further; the rest is told all the same.
    pub(in crate::session) async fn tell_hooks(&self) {
        loop {
            match self.turn() {
                Turn::Nothing => return,
                Turn::Tell(telling) => telling.run().await,
                // Whoever tells them may have been cancelled: then it is looked again.
                Turn::Wait(told) => drop(told.await),
            }
        }
    }

    fn turn(&self) -> Turn<'_> {
        let mut held = self.held.lock();
        let Some(rare) = &mut held.table.rare else { return Turn::Nothing };
        let events = &mut rare.events;
        if events.is_told {
            let (done, told) = oneshot::channel();
            events.done.push(done);
            return Turn::Wait(told);
        }
        if events.waiting.is_empty() {
            return Turn::Nothing;
        }
        events.is_told = true;
        Turn::Tell(Telling(self))
    }

    /// The same where nobody can wait for it.
    pub(super) fn tell_hooks_later(&self) {
        let is_due = {
            let held = self.held.lock();
            let events = held.table.rare.as_ref().map(|rare| &rare.events);
            // Who is telling them goes on until nothing is left.
            events.is_some_and(|events| !events.waiting.is_empty() && !events.is_told)
        };
        if is_due && let Some(seat) = self.broker.registry.seat(self.client()) {
            // As long as it is in the registry: its connection's task waits for this before it ends.
            self.broker.runtime.spawn(async move { seat.tell_hooks().await });
        }
    }
}

/// What is to be done about hooks.
enum Turn<'a> {
    Nothing,
    Tell(Telling<'a>),
    Wait(oneshot::Receiver<()>),
}

/// Who is telling the hooks.
struct Telling<'a>(&'a Seat);

impl Telling<'_> {
    async fn run(self) {
        while let Some(happened) = self.next() {
            if let Some(client) = self.0.as_client() {
                self.0.broker.hooks.membership.run(&client, happened).await;
            }
        }
    }

    fn next(&self) -> Option<Happened> {
        self.0.held.lock().table.rare.as_mut()?.events.waiting.pop_front()
    }
}

impl Drop for Telling<'_> {
    fn drop(&mut self) {
        {
            let mut held = self.0.held.lock();
            if let Some(rare) = &mut held.table.rare {
                rare.events.is_told = false;
                // They look for themselves.
                rare.events.done = Vec::new();
            }
            held.table.tidy();
        }
        // What has come in the last moment, or was left when this was cancelled.
        self.0.tell_hooks_later();
    }
}
