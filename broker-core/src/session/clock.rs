//! What of sessions has its time: tokens that are about to expire, grants that end, sessions that nobody has come back for.
//!
//! One task for all of them, whatever their transports: a stream that nobody polls is looked after like any other. It sleeps until the
//! first is due, and for ever where nothing is.

use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
};

use parking_lot::Mutex;
use tokio::{sync::Notify, time::Instant};

use super::seat::Seat;
use crate::broker::Inner;

/// When which seat is to be looked at: each at one time at most.
#[derive(Default)]
pub(crate) struct Clock {
    due: Mutex<Due>,
    changed: Notify,
}

#[derive(Default)]
struct Due {
    seats: BTreeMap<Alarm, Weak<Seat>>,
    next: u64,
}

/// A time, and a number that no other has.
pub(super) type Alarm = (Instant, u64);

impl Clock {
    /// Looks at a seat at a time.
    pub(super) fn set(&self, time: Instant, seat: Weak<Seat>) -> Alarm {
        let mut due = self.due.lock();
        let alarm = (time, due.next);
        due.next += 1;
        due.seats.insert(alarm, seat);
        let is_first = due.seats.first_key_value().is_some_and(|(first, _)| *first == alarm);
        drop(due);
        if is_first {
            self.wake();
        }
        alarm
    }

    /// Does not look, if it has not yet.
    pub(super) fn cancel(&self, alarm: Alarm) {
        self.due.lock().seats.remove(&alarm);
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.due.lock().seats.len()
    }

    /// There may be something earlier than before.
    pub(crate) fn wake(&self) {
        self.changed.notify_one();
    }

    /// Runs until it is aborted, or the broker is gone.
    pub(crate) async fn run(self: Arc<Self>, broker: Weak<Inner>) {
        loop {
            let now = Instant::now();
            for seat in self.take(now) {
                if let Some(seat) = seat.upgrade() {
                    seat.look(now);
                }
            }
            let swept = match broker.upgrade() {
                Some(broker) => broker.sweep_parking(now),
                None => return,
            };
            let first = self.due.lock().seats.first_key_value().map(|((time, _), _)| *time);
            match first.into_iter().chain(swept).min() {
                Some(time) => {
                    let _woken = tokio::time::timeout_at(time, self.changed.notified()).await;
                }
                None => self.changed.notified().await,
            }
        }
    }

    fn take(&self, now: Instant) -> Vec<Weak<Seat>> {
        let mut due = self.due.lock();
        let mut taken = Vec::new();
        while let Some(first) = due.seats.first_entry()
            && first.key().0 <= now
        {
            taken.push(first.remove());
        }
        taken
    }
}
