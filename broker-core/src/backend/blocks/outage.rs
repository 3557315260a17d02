//! How long to pause between attempts, and how often to speak of them.

use std::time::Duration;

use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::time::{Instant, sleep};

use super::{Reasons, Trouble};

/// The first pause is at most this long; each further one at most twice as long as the one before.
const FIRST: Duration = Duration::from_millis(50);

/// The longest pause, so that a node is back within a second after its server is.
const LONGEST: Duration = Duration::from_millis(800);

/// An outage of this length is a long one, with a longest pause of its own; what needs somebody's hand counts as long at once.
const LONG: Duration = Duration::from_secs(60);
const LONGEST_WHEN_LONG: Duration = Duration::from_secs(5);

/// While an attempt is under way, the next begins no sooner.
const BESIDE: Duration = Duration::from_millis(300);

/// How many attempts are under way at most. One that hangs does not keep the next from beginning: when a network comes back, a
/// new connection is there sooner than an old one.
const BESIDE_EACH_OTHER: usize = 6;

/// One outage: from the loss of a connection until there is another.
///
/// Pauses between attempts grow from 50 ms to 0.8 s, so that a node is back within a second after its server is, and to 5 s where
/// the outage has lasted for a minute, or where somebody has to change something. Each is drawn from nothing to its bound: nodes that
/// lost their server together do not come back together.
#[derive(Debug)]
pub struct Outage {
    began: Instant,
    attempts: u32,
    is_lasting: bool,
    told: Reasons,
    has_spoken: bool,
}

impl Outage {
    /// An outage that begins now.
    #[must_use]
    pub fn new() -> Self {
        Self {
            began: Instant::now(),
            attempts: 0,
            is_lasting: false,
            told: Reasons::new(),
            has_spoken: false,
        }
    }

    /// Tries until an attempt succeeds, for ever. While one hangs others begin, up to six, and the first that succeeds counts. Each
    /// that fails is told to `failed`, with whether it is time to speak of it.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it drops the attempts that are under way. The outage goes on.
    pub async fn until_over<T, A>(
        &mut self,
        mut attempt: impl FnMut() -> A,
        mut failed: impl FnMut(&Trouble, bool),
    ) -> T
    where
        A: Future<Output = Result<T, Trouble>>,
    {
        let mut attempts = FuturesUnordered::new();
        attempts.push(attempt());
        loop {
            let pause = if attempts.is_empty() { self.pause() } else { self.pause().max(BESIDE) };
            tokio::select! {
                Some(ended) = attempts.next(), if !attempts.is_empty() => match ended {
                    Ok(done) => return done,
                    Err(trouble) => {
                        let speaks = self.failed(&trouble);
                        failed(&trouble, speaks);
                        if attempts.is_empty() {
                            sleep(self.pause()).await;
                            attempts.push(attempt());
                        }
                    }
                },
                () = sleep(pause) => {
                    if attempts.len() < BESIDE_EACH_OTHER {
                        attempts.push(attempt());
                    }
                }
            }
        }
    }

    /// The pause before the next attempt.
    pub fn pause(&mut self) -> Duration {
        let longest = match self.is_lasting || self.began.elapsed() > LONG {
            true => LONGEST_WHEN_LONG,
            false => LONGEST,
        };
        let bound = FIRST.saturating_mul(1 << self.attempts.min(10)).min(longest);
        self.attempts = self.attempts.saturating_add(1);
        bound.mul_f64(fastrand::f64()).max(Duration::from_millis(5))
    }

    /// Notes a failed attempt. True when it is time to speak of it: at once where the reason is a new one, then every 10 s (see
    /// [`Reasons`]).
    pub fn failed(&mut self, trouble: &Trouble) -> bool {
        self.is_lasting = trouble.is_lasting();
        let speaks = self.told.is_news(trouble);
        self.has_spoken |= speaks;
        speaks
    }

    /// How long it has lasted.
    #[must_use]
    pub fn lasted(&self) -> Duration {
        self.began.elapsed()
    }

    /// Whether it was spoken of, so that its end is worth a word, too.
    #[must_use]
    pub fn has_spoken(&self) -> bool {
        self.has_spoken
    }
}

impl Default for Outage {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, future::pending};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_to_their_bound() {
        let mut outage = Outage::new();
        let pauses: Vec<_> = (0..200).map(|_| outage.pause()).collect();
        assert!(pauses[0] <= FIRST);
        assert!(pauses.iter().all(|pause| *pause <= LONGEST));
        assert!(pauses.iter().any(|pause| *pause > LONGEST / 2));
        tokio::time::advance(LONG * 2).await;
        assert!((0..200).map(|_| outage.pause()).any(|pause| pause > LONGEST));
    }

    #[tokio::test(start_paused = true)]
    async fn what_needs_a_hand_is_not_tried_in_a_hot_loop() {
        let mut outage = Outage::new();
        assert!(outage.failed(&Trouble::configuration("wrong password")));
        assert!(!outage.failed(&Trouble::configuration("wrong password")), "said once");
        assert!(outage.failed(&Trouble::unavailable("nobody answers")), "that is something else");
        assert!(!outage.failed(&Trouble::configuration("wrong password")), "said already");
        let all: Duration = (0..100).map(|_| outage.pause()).sum();
        assert!(all > Duration::from_secs(60), "{all:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_over_when_an_attempt_succeeds() {
        let (mut outage, tried) = (Outage::new(), Cell::new(0));
        let (mut failed, mut spoken) = (0, 0);
        let attempt = || {
            tried.set(tried.get() + 1);
            let number = tried.get();
            async move { if number < 5 { Err(Trouble::unavailable("not yet")) } else { Ok(number) } }
        };
        let done = outage.until_over(attempt, |trouble, speaks| {
            assert_eq!(trouble.to_string(), "not yet");
            failed += 1;
            spoken += usize::from(speaks);
        });
        assert_eq!(done.await, 5);
        assert_eq!((failed, spoken, outage.has_spoken()), (4, 1, true));
        assert!(outage.lasted() >= Duration::from_millis(20), "with pauses");
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_that_hangs_does_not_keep_others_from_beginning() {
        let (mut outage, tried) = (Outage::new(), Cell::new(0));
        let attempt = || {
            tried.set(tried.get() + 1);
            let hangs = tried.get() < BESIDE_EACH_OTHER;
            async move { if hangs { pending().await } else { Ok(()) } }
        };
        outage.until_over(attempt, |_, _| {}).await;
        assert_eq!(tried.get(), BESIDE_EACH_OTHER);
        let beside = BESIDE * (BESIDE_EACH_OTHER as u32 - 1);
        assert!(outage.lasted() >= beside, "{:?}", outage.lasted());
        tried.set(0);
        let attempt = || {
            tried.set(tried.get() + 1);
            pending::<Result<(), Trouble>>()
        };
        let over = outage.until_over(attempt, |_, _| {});
        assert!(tokio::time::timeout(LONG, over).await.is_err());
        assert_eq!(tried.get(), BESIDE_EACH_OTHER, "no more at once");
    }
}
