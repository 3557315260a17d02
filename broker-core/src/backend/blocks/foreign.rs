//! What is none of ours.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::Instant;

/// How often it is spoken of.
const SPEAK_EVERY: Duration = Duration::from_secs(60);

/// Counts what comes on this cluster's channels and is none of its messages: from another program, or from a newer version. Somebody has to be
/// told, but no log is to be flooded by it.
#[derive(Debug, Default)]
pub struct Foreign {
    count: AtomicU64,
    spoken: Mutex<Option<Instant>>,
}

impl Foreign {
    /// Nothing of the kind has come.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts one. When it is time to speak of it, the first time and then once a minute: how many there were.
    pub fn came(&self) -> Option<u64> {
        let count = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        let mut spoken = self.spoken.lock();
        let speaks = spoken.is_none_or(|at| at.elapsed() >= SPEAK_EVERY);
        if speaks {
            *spoken = Some(Instant::now());
        }
        speaks.then_some(count)
    }

    /// How many there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_is_spoken_of_once_a_minute() {
        let foreign = Foreign::new();
        assert_eq!([foreign.came(), foreign.came(), foreign.came()], [Some(1), None, None]);
        tokio::time::advance(SPEAK_EVERY).await;
        assert_eq!([foreign.came(), foreign.came()], [Some(4), None]);
        assert_eq!(foreign.count(), 5);
    }
}
