//! What ends with time: an admission, of which the client is told before, and a grant, for which the policy is asked again.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{Held, Seat};
use crate::{message::Frame, policy::Identity};

/// The client is told of the end of its admission so long before, or a fifth of the admission's life where that is less.
const NOTICE: Duration = Duration::from_secs(60);

/// When to try again to tell a client that does not read what it is told.
const AGAIN: Duration = Duration::from_secs(1);

impl Seat {
    /// Notes who the client is, and until when.
    pub(in crate::session) fn admit(self: &Arc<Self>, identity: Identity) {
        let now = Instant::now();
        let mut held = self.held.lock();
        // A time beyond what the clock can hold is never.
        let expires = identity.expires.and_then(|after| now.checked_add(after));
        let notice = identity.expires.filter(|_| expires.is_some()).map(|life| life - NOTICE.min(life / 5));
        if expires.is_some() || held.table.rare.is_some() {
            let rare = held.table.rare();
            (rare.expires, rare.notice_at) = (expires, notice.and_then(|after| now.checked_add(after)));
        }
        held.identity = Some(identity.shared());
        held.set_clock(self);
    }

    /// Does what is due.
    pub(in crate::session) fn look(self: &Arc<Self>, now: Instant) {
        let mut held = self.held.lock();
        if held.table.is_closed {
            return;
        }
        let expires = held.expires();
        if let Some(rare) = &mut held.table.rare {
            rare.look_at = None;
            if rare.notice_at.is_some_and(|at| at <= now) {
                let left = expires.map_or(Duration::ZERO, |at| at.saturating_duration_since(now));
                let told = self.outbox.push_control(self.outbox.encode(Frame::Token { expires: left }));
                rare.notice_at = if told || left.is_zero() { None } else { Some(now + AGAIN) };
            }
        }
        let mut ended = Vec::new();
        for held in held.table.iter_mut() {
            if let Some(terms) = &mut held.terms
                && terms.expires.is_some_and(|at| at <= now)
            {
                // What the policy says next is the next time.
                terms.expires = None;
                ended.push(held.ticket);
            }
        }
        held.set_clock(self);
        held.table.tidy();
        drop(held);
        self.outbox.flush();
        if !ended.is_empty() {
            let seat = self.clone();
            // It ends by itself: the policy has only so long to decide.
            self.broker
                .runtime
                .spawn(async move { seat.ask_again(|held| ended.contains(&held.ticket)).await });
        }
    }
}

impl Held {
    /// When the admission ends; `None` is never.
    pub(super) fn expires(&self) -> Option<Instant> {
        self.table.rare.as_ref()?.expires
    }

    /// Has the clock look when the first thing is due.
    pub(super) fn set_clock(&mut self, seat: &Arc<Seat>) {
        let grants = self.table.iter().filter_map(|held| held.terms.as_ref()?.expires);
        let notice = self.table.rare.as_ref().and_then(|rare| rare.notice_at);
        let first = grants.chain(notice).min();
        let set = self.table.rare.as_ref().and_then(|rare| rare.look_at);
        if set.map(|(time, _)| time) == first {
            return;
        }
        let clock = &seat.broker.clock;
        if let Some(alarm) = set {
            clock.cancel(alarm);
        }
        self.table.rare().look_at = first.map(|time| clock.set(time, Arc::downgrade(seat)));
        self.table.tidy();
    }

    pub(super) fn stop_clock(&mut self, seat: &Seat) {
        if let Some(rare) = &mut self.table.rare {
            rare.notice_at = None;
            if let Some(alarm) = rare.look_at.take() {
                seat.broker.clock.cancel(alarm);
            }
        }
        self.table.tidy();
    }
}
