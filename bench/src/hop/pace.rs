//! An even pace, and messages that know when they were sent.

use std::time::{Duration, Instant};

use super::{RATE, SIZE};

/// Moments at an even pace, whatever happens between them.
pub(super) struct Pace(tokio::time::Interval);

impl Pace {
    pub(super) fn new() -> Self {
        Self(tokio::time::interval(Duration::from_secs(1) / RATE))
    }

    pub(super) async fn next(&mut self) {
        self.0.tick().await;
    }
}

/// The time since the start as text of a fixed size.
pub(super) fn stamped(start: Instant) -> String {
    format!("{:<SIZE$}", start.elapsed().as_nanos())
}

/// How long messages were on their way.
pub(super) struct Arrivals {
    start: Instant,
    wanted: usize,
    nanoseconds: Vec<u64>,
}

impl Arrivals {
    pub(super) fn new(start: Instant, wanted: u32) -> Self {
        let wanted = wanted as usize;
        Self { start, wanted, nanoseconds: Vec::with_capacity(wanted) }
    }

    pub(super) fn are_complete(&self) -> bool {
        self.nanoseconds.len() >= self.wanted
    }

    /// A message has come.
    pub(super) fn take(&mut self, text: &str) {
        let sent = text.trim().parse().unwrap_or(0);
        let now = u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.nanoseconds.push(now.saturating_sub(sent));
    }

    pub(super) fn times(mut self) -> Times {
        self.nanoseconds.sort_unstable();
        let at = |part: usize| {
            let index = self.nanoseconds.len() * part / 100;
            self.nanoseconds.get(index).copied().unwrap_or(0) / 1000
        };
        Times { p50: at(50), p99: at(99) }
    }
}

/// Microseconds.
pub(super) struct Times {
    pub(super) p50: u64,
    pub(super) p99: u64,
}
