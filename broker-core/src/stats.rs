//! What a broker counts.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use crate::{backend::BackendState, topic::TopicName};

/// Counters that only grow. Relaxed: they are read as a picture, not as a protocol.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    pub(crate) published: Counter,
    pub(crate) refused: Counter,
    pub(crate) offered: Counter,
    pub(crate) delivered: Counter,
    pub(crate) conflated: Counter,
    pub(crate) dropped: Counter,
    pub(crate) discarded: Counter,
    pub(crate) resynced: Counter,
    pub(crate) hidden: Counter,
    pub(crate) gaps: Counter,
    pub(crate) slow_consumers: Counter,
    pub(crate) resyncs: Counter,
    pub(crate) slow_offers: Counter,
    pub(crate) backfills: Counter,
}

/// One counter.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, n: u64) {
        if n > 0 {
            self.0.fetch_add(n, Ordering::Relaxed);
        }
    }

    /// What was counted did not happen after all.
    pub(crate) fn take_back(&self, n: u64) {
        self.0.fetch_sub(n, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A picture of a broker: what it has done since its start, and what waits now.
///
/// Of the messages that were offered to subscriptions, at rest:
/// `offered == delivered + conflated + dropped + discarded + resynced + hidden + queued`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Messages that were accepted for publishing on this node.
    pub published: u64,
    /// Messages that were refused.
    pub refused: u64,
    /// Messages offered to subscriptions, one for each subscription.
    pub offered: u64,
    /// Messages that the kernel, or a stream's reader, has taken.
    pub delivered: u64,
    /// Queued messages that gave way to a newer value of their key.
    pub conflated: u64,
    /// Messages that an overflow policy gave up; each is told in a gap.
    pub dropped: u64,
    /// Messages that were queued when their subscription or connection ended.
    pub discarded: u64,
    /// Queued messages that were taken back to be read again from the log.
    pub resynced: u64,
    /// Messages that were hidden from a subscription on purpose.
    pub hidden: u64,
    /// Gaps that were told.
    pub gaps: u64,
    /// Connections that were closed as slow consumers.
    pub slow_consumers: u64,
    /// How often a slow subscription was sent back to the log.
    pub resyncs: u64,
    /// Offers to a subscriber that took longer than 5 ms: its `offer` blocks, and it should not.
    pub slow_offers: u64,
    /// Holes in a logged topic that were filled from the backend.
    pub backfills: u64,
    /// Messages that wait in queues now.
    pub queued: u64,
    /// Bytes that wait in queues now.
    pub queued_bytes: usize,
    /// Connections that have something waiting because they do not read: now.
    pub lagging: usize,
    /// For how long the one of them that waits longest has taken nothing; 0 without any.
    pub oldest_lag: Duration,
    /// Publishes whose acknowledgement by the backend is waited for, now.
    pub publishes_in_flight: usize,
    /// Whether the backend can be reached, now.
    pub backend: BackendState,
    /// Connections now.
    pub connections: usize,
    /// Sessions whose connection was lost and that can be taken up again, now.
    pub parked_sessions: usize,
    /// Subscriptions now, those within the process included.
    pub subscriptions: usize,
    /// Topics that this node holds state for now.
    pub topics: usize,
    /// Messages that wait for each shard, or are being fanned out by it, now.
    pub shard_depths: Vec<usize>,
}

/// One topic in a picture of a broker.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopicStats {
    /// The topic.
    pub topic: TopicName,
    /// Subscriptions to the topic by its name, on this node, now. Those to a pattern that matches it are not counted.
    pub subscribers: usize,
}
