//! A connection that nothing comes by.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// For how long nothing has come by a connection, and what is due then. A connection may be dead although it never says so: clause
/// *state*.
///
/// A server that is silent is asked whether it is there. One that owes an answer, to this or to anything else, and goes on being
/// silent, is gone. Time in which this program itself stood still does not count: what came meanwhile has not been read yet.
///
/// ```
/// # use std::{sync::atomic::{AtomicU64, Ordering}, time::Duration};
/// # use fanfare_core::backend::blocks::{Due, Silence};
/// /// Returns when the connection is to be given up.
/// async fn watch(heard: &AtomicU64, owes_answer: impl Fn() -> bool, ping: impl Fn()) -> Duration {
///     let (ping_every, answer_within) = (Duration::from_secs(2), Duration::from_secs(3));
///     let heard = || heard.load(Ordering::Relaxed);
///     let mut silence = Silence::new(ping_every, answer_within, heard());
///     loop {
///         silence.pause().await;
///         match silence.look(heard(), owes_answer()) {
///             Due::Nothing => {}
///             Due::Ping => ping(),
///             Due::End(silent) => return silent,
///         }
///     }
/// }
/// ```
#[derive(Debug)]
pub struct Silence {
    ping_every: Duration,
    answer_within: Duration,
    look_every: Duration,
    looked: Instant,
    heard: u64,
    lasts: Duration,
    is_pinged: bool,
}

/// What is due when a connection is silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Nothing.
    Nothing,
    /// The server is to be asked something that it answers in any case. From here on an answer is owed.
    Ping,
    /// The connection is to be given up: an answer was owed, and there was silence for so long.
    End(Duration),
}

impl Silence {
    /// A connection by which so many bytes have come so far. It may be silent for the first time before the server is asked, and for the second
    /// time when an answer is owed.
    #[must_use]
    pub fn new(ping_every: Duration, answer_within: Duration, heard: u64) -> Self {
        let ping_every = ping_every.min(answer_within);
        Self {
            ping_every,
            answer_within,
            look_every: (ping_every / 4).max(Duration::from_millis(5)),
            looked: Instant::now(),
            heard,
            lasts: Duration::ZERO,
            is_pinged: false,
        }
    }

    /// Waits until it is time to look.
    pub async fn pause(&mut self) {
        self.looked = Instant::now();
        sleep(self.look_every).await;
    }

    /// Looks how many bytes have come until now. `owes_answer`: something was asked that is not answered yet.
    pub fn look(&mut self, heard: u64, owes_answer: bool) -> Due {
        self.lasts += self.looked.elapsed().min(2 * self.look_every);
        if heard != self.heard {
            (self.heard, self.lasts, self.is_pinged) = (heard, Duration::ZERO, false);
        } else if !self.is_pinged && self.lasts >= self.ping_every {
            // From here on an answer is owed, whatever was asked before.
            (self.lasts, self.is_pinged) = (Duration::ZERO, true);
            return Due::Ping;
        } else if (self.is_pinged || owes_answer) && self.lasts >= self.answer_within {
            return Due::End(self.lasts);
        }
        Due::Nothing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PING: Duration = Duration::from_secs(2);
    const ANSWER: Duration = Duration::from_secs(3);

    async fn until_due(silence: &mut Silence, heard: u64, owes_answer: bool) -> (Due, Duration) {
        let since = Instant::now();
        loop {
            silence.pause().await;
            match silence.look(heard, owes_answer) {
                Due::Nothing => assert!(since.elapsed() < ANSWER * 3, "nothing is ever due"),
                due => return (due, since.elapsed()),
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_silent_is_asked_and_then_given_up() {
        let mut silence = Silence::new(PING, ANSWER, 7);
        let (due, after) = until_due(&mut silence, 7, false).await;
        assert_eq!(due, Due::Ping);
        assert!(after >= PING && after < ANSWER, "{after:?}");
        let (due, after) = until_due(&mut silence, 7, false).await;
        assert!(matches!(due, Due::End(silent) if silent >= ANSWER), "{due:?}");
        assert!(after >= ANSWER && after < ANSWER + PING, "{after:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_says_something_is_there() {
        let mut silence = Silence::new(PING, ANSWER, 0);
        for heard in 1..100 {
            silence.pause().await;
            assert_eq!(silence.look(heard, true), Due::Nothing);
        }
        assert_eq!(until_due(&mut silence, 99, true).await.0, Due::Ping);
        silence.pause().await;
        assert_eq!(silence.look(100, false), Due::Nothing, "it answers");
        assert_eq!(until_due(&mut silence, 100, false).await.0, Due::Ping, "and is asked anew");
    }

    #[tokio::test(start_paused = true)]
    async fn where_this_program_stood_still_nobody_was_silent() {
        let mut silence = Silence::new(PING, ANSWER, 0);
        assert_eq!(until_due(&mut silence, 0, true).await.0, Due::Ping);
        silence.pause().await;
        tokio::time::advance(ANSWER * 10).await;
        assert_eq!(silence.look(0, true), Due::Nothing);
    }
}
