//! The pictures that [`Stats`] and [`TopicStats`] are.

use std::sync::{Arc, atomic::Ordering};

use super::Inner;
use crate::{
    stats::{Stats, TopicStats},
    table::{TopicId, TopicState},
};

impl Inner {
    pub(super) fn stats(&self) -> Stats {
        let totals = &self.totals;
        let outboxes = self.registry.outboxes();
        Stats {
            published: totals.published.get(),
            refused: totals.refused.get(),
            offered: totals.offered.get(),
            delivered: totals.delivered.get(),
            conflated: totals.conflated.get(),
            dropped: totals.dropped.get(),
            discarded: totals.discarded.get(),
            resynced: totals.resynced.get(),
            hidden: totals.hidden.get(),
            gaps: totals.gaps.get(),
            slow_consumers: totals.slow_consumers.get(),
            resyncs: totals.resyncs.get(),
            slow_offers: totals.slow_offers.get(),
            backfills: totals.backfills.get(),
            queued: self.budget.messages() as u64,
            queued_bytes: self.budget.used(),
            lagging: outboxes
                .iter()
                .filter(|outbox| outbox.queued() > 0 || outbox.stalled_for().is_some())
                .count(),
            oldest_lag: outboxes.iter().filter_map(|outbox| outbox.stalled_for()).max().unwrap_or_default(),
            publishes_in_flight: self.in_flight.load(Ordering::Relaxed),
            backend: *self.backend_state.borrow(),
            connections: self.registry.len(),
            parked_sessions: self.parking.len(),
            subscriptions: self.subscriptions.load(Ordering::Relaxed),
            topics: self.table.len(),
            shard_depths: self.inboxes.iter().map(|inbox| inbox.depth()).collect(),
        }
    }

    pub(super) fn topics(&self) -> Vec<TopicStats> {
        let of = |topic: &Arc<TopicState>| TopicStats {
            topic: topic.name().clone(),
            subscribers: topic.sequencer().subscribers(),
        };
        let all = self.table.all();
        all.iter().filter(|topic| topic.id() != TopicId::DIRECT).map(of).collect()
    }
}
