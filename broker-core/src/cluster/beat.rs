//! When a node speaks, and when it looks who does not.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::time::Instant;

use super::{Cluster, heartbeat::Heartbeat};
use crate::{
    backend::{BackendState, NodeId},
    broker::{self, Inner},
};

/// By how much the time between two heartbeats varies, so that nodes that began together do not speak together.
const JITTER: f64 = 0.1;

/// A node that wakes so much later than it wanted has stood still itself.
const STOOD_STILL: Duration = Duration::from_millis(500);

/// Speaks and listens until the broker has gone.
pub(super) async fn run(broker: Weak<Inner>) {
    let Some(mut state) = broker.upgrade().map(|broker| broker.backend_state.subscribe()) else { return };
    let mut next_beat = None;
    loop {
        let Some(this) = broker.upgrade() else { return };
        let is_up = *state.borrow_and_update() == BackendState::Up;
        match next_beat {
            _ if !is_up => next_beat = None,
            // The backend is back: everybody is to be heard at once.
            None => {
                this.cluster.beat(&this, None, true);
                next_beat = Some(Instant::now() + pause(this.cluster.every));
            }
            Some(at) if at <= Instant::now() => {
                this.cluster.beat(&this, None, false);
                next_beat = Some(Instant::now() + pause(this.cluster.every));
            }
            Some(_) => {}
        }
        let wake_at = [next_beat, this.cluster.next_due()].into_iter().flatten().min();
        let woken = async {
            match wake_at {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let cluster_wakes = this.cluster.wake.clone();
        drop(this);
        tokio::select! {
            () = woken => {
                let Some(this) = broker.upgrade() else { return };
                let late = wake_at.map_or(Duration::ZERO, |at| at.elapsed());
                let late = if late > STOOD_STILL { late } else { Duration::ZERO };
                this.cluster.expire(&this, late);
            }
            changed = state.changed() => if changed.is_err() { return },
            () = cluster_wakes.notified() => {}
        }
    }
}

impl Cluster {
    /// Says that this node is there, to one other or to all.
    pub(super) fn beat(&self, broker: &Arc<Inner>, to: Option<NodeId>, wants_answer: bool) {
        let attachments: Vec<_> =
            self.handlers.read().attachments.iter().map(|(kind, say, _)| (*kind, say.clone())).collect();
        let attached = attachments
            .into_iter()
            .filter_map(|(kind, say)| say(broker).map(|bytes| (kind, bytes)))
            .collect();
        let heartbeat = Heartbeat { every: self.every, wants_answer, stamp: self.stamp, attached };
        self.outgoing.frame(to, broker::heartbeat(&heartbeat.encode()));
    }
}

/// The time until the next heartbeat.
fn pause(every: Duration) -> Duration {
    every.mul_f64(1.0 - JITTER * fastrand::f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_that_began_together_do_not_speak_together() {
        let every = Duration::from_secs(2);
        let pauses: Vec<_> = (0..100).map(|_| pause(every)).collect();
        assert!(pauses.iter().all(|pause| (every * 9 / 10..=every).contains(pause)), "{pauses:?}");
        assert!(pauses.iter().any(|pause| *pause != pauses[0]));
    }
}
