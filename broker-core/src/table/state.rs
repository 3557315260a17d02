//! One topic on this node.

use std::sync::Arc;

use governor::{DefaultDirectRateLimiter, Quota};
use parking_lot::{Mutex, MutexGuard};

use super::{Flight, Sequencer};
use crate::{
    backend::{Interest, Retention},
    topic::{TopicConfig, TopicName},
};

/// One topic on this node. Its lock orders everything that happens on it.
pub(crate) struct TopicState {
    id: TopicId,
    name: TopicName,
    config: Arc<TopicConfig>,
    rate: Option<DefaultDirectRateLimiter>,
    sequencer: Mutex<Sequencer>,
    /// Held while the backend is told what this node wants of the topic.
    pub(crate) interest: Flight,
    /// Held while holes are filled from the backend: one reader, not one per client.
    pub(crate) backfill: tokio::sync::Mutex<()>,
}

/// A topic's number on this node; a topic that was given up and came back has a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct TopicId(u64);

impl TopicId {
    /// Of messages to connections themselves, which are in one order on this node: the lowest, so that its lock is the first.
    pub(crate) const DIRECT: Self = Self(0);

    pub(super) fn new(value: u64) -> Self {
        Self(value)
    }
}

impl TopicState {
    pub(super) fn new(id: TopicId, name: TopicName, config: Arc<TopicConfig>) -> Self {
        let rate = config.rate().map(|rate| {
            DefaultDirectRateLimiter::direct(Quota::per_second(rate.per_second).allow_burst(rate.burst))
        });
        Self {
            id,
            name,
            config,
            rate,
            sequencer: Mutex::new(Sequencer::new()),
            interest: Flight::default(),
            backfill: tokio::sync::Mutex::new(()),
        }
    }

    pub(crate) fn id(&self) -> TopicId {
        self.id
    }

    pub(crate) fn name(&self) -> &TopicName {
        &self.name
    }

    pub(crate) fn config(&self) -> &TopicConfig {
        &self.config
    }

    pub(crate) fn is_logged(&self) -> bool {
        self.config.is_logged()
    }

    /// Whether this is what watchers of presence are told, on this node.
    pub(crate) fn is_presence(&self) -> bool {
        crate::presence::is_event_topic(&self.name)
    }

    pub(crate) fn retention(&self) -> Option<Retention> {
        Retention::of(&self.config)
    }

    pub(crate) fn interest(&self) -> Interest {
        Interest::Topic { name: self.name.clone(), retention: self.retention() }
    }

    /// Whether the topic's own rate takes one more message now.
    pub(crate) fn within_rate(&self) -> bool {
        self.rate.as_ref().is_none_or(|rate| rate.check().is_ok())
    }

    /// The sequencing lock. Nothing is awaited under it.
    pub(crate) fn sequencer(&self) -> MutexGuard<'_, Sequencer> {
        self.sequencer.lock()
    }
}
