//! The law's books: what one subscriber got, beside what was accepted.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use fanfare_core::{
    message::{GapReason, Payload},
    subscription::{Delivery, Subscription},
};
use parking_lot::Mutex;
use tokio::task::JoinHandle;

use super::PATIENCE;

/// A number of lost messages that nobody can have counted.
const INCREDIBLE: u64 = 1 << 30;

/// What one subscriber got: numbers, and where something may be missing.
#[derive(Default)]
struct Heard {
    last: u64,
    numbers: BTreeSet<u64>,
    /// (last number before, first number after).
    gaps: Vec<(u64, Option<u64>)>,
    wrong: Option<String>,
}

/// A subscriber, and its books.
pub(super) struct Listener {
    pub(super) name: String,
    heard: Arc<Mutex<Heard>>,
    task: JoinHandle<()>,
}

impl Listener {
    pub(super) fn start(name: String, mut subscription: Subscription<str>) -> Self {
        let heard = Arc::new(Mutex::new(Heard::default()));
        let task = tokio::spawn({
            let heard = heard.clone();
            async move {
                while let Some(delivery) = subscription.recv().await {
                    heard.lock().take(delivery);
                }
            }
        });
        Self { name, heard, task }
    }

    /// Waits until this number or a later one has come: publishing goes on.
    pub(super) async fn until(&self, number: u64) {
        let deadline = Instant::now() + PATIENCE;
        while self.heard.lock().last < number {
            assert!(Instant::now() < deadline, "{}: nothing comes from {number} on", self.name);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Each accepted message was delivered, or is covered by a gap; none came twice or out of order. Says how many
    /// were not delivered.
    pub(super) fn check(&self, accepted: &BTreeSet<u64>, last: u64) -> usize {
        let heard = self.heard.lock();
        assert_eq!(heard.wrong, None, "{}", self.name);
        let missing: Vec<_> =
            accepted.iter().filter(|n| **n <= last && !heard.numbers.contains(n)).copied().collect();
        for number in &missing {
            let is_covered = heard
                .gaps
                .iter()
                .any(|(before, after)| before < number && after.is_none_or(|after| *number < after));
            assert!(is_covered, "{}: {number} is lost, and no gap covers it: {:?}", self.name, heard.gaps);
        }
        missing.len()
    }

    pub(super) fn gaps(&self) -> usize {
        self.heard.lock().gaps.len()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Heard {
    fn take(&mut self, delivery: Delivery<Payload>) {
        match delivery {
            Delivery::Message(received) => {
                let text = received.message().payload().as_str().unwrap_or_default();
                let number: u64 = text.parse().expect("a number");
                if number <= self.last {
                    self.wrong.get_or_insert(format!("{number} came after {}", self.last));
                }
                self.last = number;
                self.numbers.insert(number);
                for (_, after) in &mut self.gaps {
                    after.get_or_insert(number);
                }
            }
            Delivery::Gap(gap) => {
                if gap.reason == GapReason::Slow {
                    self.wrong.get_or_insert("the reader was too slow for the test".into());
                }
                // What nobody can know has no number.
                if gap.missed.is_some_and(|missed| missed > INCREDIBLE) {
                    self.wrong.get_or_insert(format!("{gap:?}"));
                }
                self.gaps.push((self.last, None));
            }
            _ => {}
        }
    }
}
