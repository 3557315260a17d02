//! Ending in good order.

use std::{sync::atomic::Ordering, time::Duration};

use tokio::time::Instant;

use super::Inner;
use crate::{
    limits::FOREVER,
    session::{BEQUEATH_WITHIN, CloseKind, CloseReason},
};

/// How often the end is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Clients are asked to come back at a moment of their own within this time.
const SPREAD: Duration = Duration::from_secs(5);

impl Inner {
    pub(crate) fn is_draining(&self) -> bool {
        *self.draining.borrow()
    }

    pub(super) async fn drain(&self, within: Duration) -> bool {
        let deadline = Instant::now() + within.min(FOREVER);
        self.draining.send_replace(true);
        // Other nodes know before the connections end: their clients come back there.
        self.presence.goodbye(self);
        // Commands are refused by now; what was committed is acknowledged and fanned out.
        let acknowledged = wait(deadline, || self.awaited.load(Ordering::SeqCst) == 0).await;
        let fanned_out = wait(deadline, || self.inboxes.iter().all(|inbox| inbox.is_quiet())).await;
        for outbox in self.registry.outboxes() {
            let spread = SPREAD.mul_f64(fastrand::f64());
            outbox.finish(CloseReason::new(CloseKind::Draining).retry_after(spread));
        }
        // What is left of the time is for their sessions.
        let spared = if self.has_heirs() { BEQUEATH_WITHIN.min(within / 4) } else { Duration::ZERO };
        let ended = wait(deadline.checked_sub(spared).unwrap_or(deadline), || self.registry.len() == 0).await;
        if !ended {
            for outbox in self.registry.outboxes() {
                outbox.abort();
            }
        }
        if let Some(this) = self.weak().upgrade() {
            this.bequeath_sessions(deadline).await;
        }
        self.cluster.leave(deadline).await;
        self.stop_tasks();
        self.stop_backend(deadline).await;
        for inbox in &self.inboxes {
            inbox.close();
        }
        for shard in self.take_shards() {
            let _ = tokio::time::timeout_at(deadline, shard).await;
        }
        acknowledged && fanned_out && ended
    }
}

async fn wait(deadline: Instant, done: impl Fn() -> bool) -> bool {
    loop {
        if done() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
