//! How long to pause between attempts, and how often to speak of them.

use std::time::Duration;

use tokio::time::Instant;

use crate::error::Trouble;

/// The first pause is at most this long; each further one at most twice as long as the one before.
const FIRST: Duration = Duration::from_millis(50);

/// The longest pause, so that a node is back within a second after its server is.
const LONGEST: Duration = Duration::from_millis(800);

/// An outage of this length is a long one, with a longest pause of its own; what needs somebody's hand counts as long at once.
const LONG: Duration = Duration::from_secs(60);
const LONGEST_WHEN_LONG: Duration = Duration::from_secs(5);

/// While an attempt is under way, the next begins no sooner.
const BESIDE: Duration = Duration::from_millis(300);

/// How often an outage is spoken of.
const SPEAK_EVERY: Duration = Duration::from_secs(10);

/// One outage: from the loss of a connection until there is another.
pub(crate) struct Outage {
    began: Instant,
    attempts: u32,
    is_lasting: bool,
    spoken: Option<Instant>,
}

impl Outage {
    pub(crate) fn new() -> Self {
        Self { began: Instant::now(), attempts: 0, is_lasting: false, spoken: None }
    }

    /// The pause before the next attempt: full jitter, so that nodes that lost their server together do not come back together.
    pub(crate) fn pause(&mut self, is_beside_another: bool) -> Duration {
        let longest = match self.is_lasting || self.began.elapsed() > LONG {
            true => LONGEST_WHEN_LONG,
            false => LONGEST,
        };
        let bound = FIRST.saturating_mul(1 << self.attempts.min(10)).min(longest);
        self.attempts = self.attempts.saturating_add(1);
        let pause = bound.mul_f64(fastrand::f64()).max(Duration::from_millis(5));
        if is_beside_another { pause.max(BESIDE) } else { pause }
    }

    /// Notes a failed attempt. True when it is time to speak of it.
    pub(crate) fn failed(&mut self, trouble: &Trouble) -> bool {
        self.is_lasting = trouble.is_lasting();
        let speaks = self.spoken.is_none_or(|at| at.elapsed() >= SPEAK_EVERY);
        if speaks {
            self.spoken = Some(Instant::now());
        }
        speaks
    }

    pub(crate) fn lasted(&self) -> Duration {
        self.began.elapsed()
    }

    pub(crate) fn has_spoken(&self) -> bool {
        self.spoken.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_to_their_bound() {
        let mut outage = Outage::new();
        let pauses: Vec<_> = (0..200).map(|_| outage.pause(false)).collect();
        assert!(pauses[0] <= FIRST);
        assert!(pauses.iter().all(|pause| *pause <= LONGEST));
        assert!(pauses.iter().any(|pause| *pause > LONGEST / 2));
        tokio::time::advance(LONG * 2).await;
        assert!((0..200).map(|_| outage.pause(false)).any(|pause| pause > LONGEST));
    }

    #[tokio::test(start_paused = true)]
    async fn what_needs_a_hand_is_not_tried_in_a_hot_loop() {
        let mut outage = Outage::new();
        assert!(outage.failed(&Trouble::configuration("wrong password")));
        assert!(!outage.failed(&Trouble::configuration("wrong password")), "said once");
        let all: Duration = (0..100).map(|_| outage.pause(false)).sum();
        assert!(all > Duration::from_secs(60), "{all:?}");
    }
}
