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

    #[cfg(all(test, not(loom)))]
    fn len(&self) -> usize {
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

#[cfg(all(test, not(loom)))]
mod tests {
    use std::time::Duration;

    use async_trait::async_trait;

    use crate::{
        Broker,
        message::{Encoder, Frame},
        policy::{Action, Admission, Grant, Identity, Policy, Verdict},
        session::{CloseKind, Command, Handshake, Refusal, SubscribeCommand},
    };

    /// Everything ends sometime.
    struct Brief;

    #[async_trait]
    impl Policy for Brief {
        async fn connect(&self, _: &Handshake) -> Result<Admission, Refusal> {
            Ok(Admission::Accept(Identity::user("ann").expires_in(Duration::from_secs(3600))))
        }

        fn authorize<'a>(&'a self, _: &'a Identity, _: Action<'a>) -> Verdict<'a> {
            Verdict::grant(Grant::new().expires_in(Duration::from_secs(60)))
        }
    }

    struct Nothing;

    impl Encoder for Nothing {
        fn encode(&self, _: Frame<'_>, _: &mut bytes::BytesMut) {}
    }

    #[tokio::test(start_paused = true)]
    async fn a_seat_is_looked_at_at_one_time_and_not_after_its_end() {
        let broker = Broker::builder().policy(Brief).start().await.unwrap();
        let format = broker.register(std::sync::Arc::new(Nothing)).unwrap();
        let clock = broker.inner().clock.clone();
        for kind in [CloseKind::Lost, CloseKind::Normal] {
            let (mut session, _outbox) = broker.connect(Handshake::new("test"), &format).await.unwrap();
            assert_eq!(clock.len(), 1, "its token");
            for topic in ["a", "b", "c"] {
                let subscribe = Command::Subscribe(SubscribeCommand::live(topic));
                session.handle(None, subscribe).await.unwrap();
            }
            assert_eq!(clock.len(), 1, "what comes first");
            tokio::time::sleep(Duration::from_secs(70)).await;
            assert_eq!(clock.len(), 1, "what comes next");
            session.close(kind.into()).await;
            assert_eq!(clock.len(), 0, "nothing of it is left");
        }
    }
}
