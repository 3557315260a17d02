//! The first thing that is wrong ends the run.

use std::{fmt::Write, time::Instant};

use parking_lot::Mutex;
use tokio::sync::watch;

use super::diary::Diary;

/// What is wrong, and who has seen it.
#[derive(Clone, Debug)]
pub struct Violation {
    /// When: seconds since the start.
    pub seconds: f64,
    /// Who has seen it.
    pub who: String,
    /// What it is.
    pub what: String,
    /// What the subscriber saw last, and what was done to the cluster last.
    pub story: String,
}

/// Where violations are told.
pub(super) struct Verdict {
    began: Instant,
    first: Mutex<Option<Violation>>,
    over: watch::Sender<bool>,
    /// What was done to the cluster.
    pub(super) deeds: Mutex<Diary<String>>,
}

impl Verdict {
    pub(super) fn new() -> Self {
        let (first, over) = (Mutex::default(), watch::Sender::new(false));
        Self { began: Instant::now(), first, over, deeds: Mutex::new(Diary::new()) }
    }

    pub(super) fn seconds(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }

    /// Something was done to the cluster.
    pub(super) fn deed(&self, what: impl Into<String>) {
        self.deeds.lock().push(self.seconds(), what.into());
    }

    /// Something is wrong.
    pub(super) fn wrong(&self, who: &str, what: impl Into<String>, seen: impl FnOnce() -> String) {
        let mut first = self.first.lock();
        if first.is_some() {
            return;
        }
        let mut story = seen();
        let _ = writeln!(story, "what was done to the cluster:");
        let _ = write!(story, "{}", self.deeds.lock());
        *first = Some(Violation { seconds: self.seconds(), who: who.to_owned(), what: what.into(), story });
        drop(first);
        self.over.send_replace(true);
    }

    /// Whether something is wrong.
    pub(super) fn is_over(&self) -> bool {
        *self.over.borrow()
    }

    /// Waits until something is wrong.
    pub(super) async fn over(&self) {
        // The sender is this one's own.
        let _ = self.over.subscribe().wait_for(|over| *over).await;
    }

    pub(super) fn first(&self) -> Option<Violation> {
        self.first.lock().clone()
    }
}
