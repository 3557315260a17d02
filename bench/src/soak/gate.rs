//! When there is work, when all is to settle, and when to end.

use std::sync::Arc;

use tokio::sync::watch;

/// What everybody is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Publish, come and go, fail.
    Busy,
    /// Publish nothing, stay, and read what comes.
    Quiet,
    /// End.
    Over,
}

/// Says what everybody is to do, and knows who still does something.
#[derive(Debug)]
pub(super) struct Gate {
    phase: watch::Sender<Phase>,
    working: watch::Sender<usize>,
}

/// Somebody works, until this is dropped.
pub(super) struct Working(Arc<Gate>);

impl Gate {
    pub(super) fn new() -> Self {
        Self { phase: watch::Sender::new(Phase::Busy), working: watch::Sender::new(0) }
    }

    pub(super) fn set(&self, phase: Phase) {
        self.phase.send_replace(phase);
    }

    pub(super) fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Waits for a phase.
    pub(super) async fn until(&self, wanted: impl Fn(Phase) -> bool) -> Phase {
        let mut phase = self.phase.subscribe();
        // The sender is this one's own.
        let reached = phase.wait_for(|phase| wanted(*phase)).await;
        reached.map_or(Phase::Over, |phase| *phase)
    }

    /// Waits until there is work; `None` when there is none any more.
    pub(super) async fn work(self: &Arc<Self>) -> Option<Working> {
        loop {
            if self.until(|phase| phase != Phase::Quiet).await == Phase::Over {
                return None;
            }
            // Who waits until nobody works sets the phase first.
            if let Some(working) = self.try_work() {
                return Some(working);
            }
        }
    }

    /// The same where there is work now.
    pub(super) fn try_work(self: &Arc<Self>) -> Option<Working> {
        self.working.send_modify(|working| *working += 1);
        let working = Working(self.clone());
        (self.phase() == Phase::Busy).then_some(working)
    }

    /// Waits until nobody works any more.
    pub(super) async fn idle(&self) {
        let _ = self.working.subscribe().wait_for(|working| *working == 0).await;
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        self.0.working.send_modify(|working| *working -= 1);
    }
}
