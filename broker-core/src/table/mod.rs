//! The topics that this node knows, and which shards hold them.

mod arrival;
mod flight;
mod index;
mod sequencer;
mod state;

use std::{
    hash::RandomState,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

pub(crate) use arrival::{Arrival, PatternArrival};
use dashmap::DashMap;
pub(crate) use flight::Flight;
pub(crate) use index::PatternIndex;
pub(crate) use sequencer::{Before, Sequencer, Tail};
pub(crate) use state::{TopicId, TopicState};

use crate::{
    backend::Retention,
    topic::{PatternTrie, TopicConfig, TopicName, TopicPattern},
};

/// How many topics there are before the first search for idle ones.
const FIRST_SWEEP: usize = 1024;

/// The topics that this node holds state for: those with subscribers here, and those that were
/// published to lately. Names come from clients, so the hasher is a keyed one.
pub(crate) struct Table {
    topics: DashMap<TopicName, Arc<TopicState>, RandomState>,
    pub(crate) patterns: PatternIndex,
    /// What is for connections themselves. Nodes carry it for each other under one name.
    pub(crate) direct: Arc<TopicState>,
    configs: PatternTrie<Arc<TopicConfig>>,
    default: Arc<TopicConfig>,
    next_id: AtomicU64,
    sweep_at: AtomicUsize,
    max_topics: usize,
}

/// This node holds as many topics as it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this node holds {limit} topics, and no more")]
pub(crate) struct TooManyTopics {
    pub(crate) limit: usize,
}

impl Table {
    pub(crate) fn new(
        configs: Vec<(TopicPattern, TopicConfig)>,
        default: TopicConfig,
        max_topics: usize,
    ) -> Self {
        let mut trie = PatternTrie::new();
        for (pattern, config) in configs {
            // The last one for a pattern counts.
            trie.remove(&pattern, |_| true);
            trie.insert(pattern, Arc::new(config));
        }
        Self {
            topics: DashMap::default(),
            patterns: PatternIndex::default(),
            direct: Arc::new(TopicState::new(TopicId::DIRECT, TopicName::nodes(), Arc::default())),
            configs: trie,
            default: Arc::new(default),
            next_id: AtomicU64::new(1),
            sweep_at: AtomicUsize::new(FIRST_SWEEP),
            max_topics,
        }
    }

    pub(crate) fn config(&self, topic: &TopicName) -> &Arc<TopicConfig> {
        self.configs.best(topic).unwrap_or(&self.default)
    }

    /// Whether some topic keeps presence.
    pub(crate) fn keeps_presence(&self) -> bool {
        let mut configs = self.configs.iter().map(|(_, config)| config).chain([&self.default]);
        configs.any(|config| config.presence_config().is_some())
    }

    /// What logged topics retain, by this node's configuration: each kind once.
    pub(crate) fn retentions(&self) -> Vec<Retention> {
        let mut retentions = Vec::new();
        for config in self.configs.iter().map(|(_, config)| config).chain([&self.default]) {
            retentions.extend(Retention::of(config).filter(|retention| !retentions.contains(retention)));
        }
        retentions
    }

    /// How this node is configured, to compare it with others.
    pub(crate) fn configs(&self) -> (impl Iterator<Item = (&TopicPattern, &TopicConfig)>, &TopicConfig) {
        (self.configs.iter().map(|(pattern, config)| (pattern, &**config)), &self.default)
    }

    /// How a subscription to a pattern behaves: as the topics of the most specific configured pattern that matches
    /// all that it matches.
    pub(crate) fn config_of_pattern(&self, pattern: &TopicPattern) -> &Arc<TopicConfig> {
        let covering = self.configs.iter().filter(|(configured, _)| configured.covers(pattern));
        covering.max_by(|(a, _), (b, _)| a.cmp_specificity(b)).map_or(&self.default, |(_, config)| config)
    }

    pub(crate) fn find(&self, topic: &TopicName) -> Option<Arc<TopicState>> {
        if topic.is_system() && topic == self.direct.name() {
            return Some(self.direct.clone());
        }
        self.topics.get(topic).map(|state| state.clone())
    }

    pub(crate) fn open(&self, topic: &TopicName) -> Result<Arc<TopicState>, TooManyTopics> {
        if let Some(state) = self.find(topic) {
            return Ok(state);
        }
        if self.topics.len() >= self.sweep_at.load(Ordering::Relaxed) {
            self.sweep();
        }
        if self.topics.len() >= self.max_topics {
            return Err(TooManyTopics { limit: self.max_topics });
        }
        let new = || {
            let id = TopicId::new(self.next_id.fetch_add(1, Ordering::Relaxed));
            Arc::new(TopicState::new(id, topic.clone(), self.config(topic).clone()))
        };
        Ok(self.topics.entry(topic.clone()).or_insert_with(new).clone())
    }

    /// A topic of who asks for it alone: nobody finds it, and the backend does not know of it.
    pub(crate) fn private(&self, name: TopicName) -> Arc<TopicState> {
        let id = TopicId::new(self.next_id.fetch_add(1, Ordering::Relaxed));
        Arc::new(TopicState::new(id, name, Arc::default()))
    }

    /// Gives up a topic that nobody holds and nobody wants. Who is subscribed by a pattern has use for it: it knows what came
    /// last, as long as there is room.
    pub(crate) fn close_if_idle(&self, topic: &TopicName) {
        let is_followed = |name: &TopicName, state: &TopicState| {
            self.patterns.shards(name).0 != 0 && state.sequencer().knows_what_came_last()
        };
        self.topics.remove_if(topic, |name, state| Self::is_idle(state) && !is_followed(name, state));
    }

    /// All topics, and what is for connections themselves.
    pub(crate) fn all(&self) -> Vec<Arc<TopicState>> {
        self.topics.iter().map(|entry| entry.value().clone()).chain([self.direct.clone()]).collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.topics.len()
    }

    fn sweep(&self) {
        self.topics.retain(|_, state| !Self::is_idle(state));
        self.sweep_at.store((self.topics.len() * 2).max(FIRST_SWEEP), Ordering::Relaxed);
    }

    /// Nobody can take a reference meanwhile: the map's lock is held.
    fn is_idle(state: &Arc<TopicState>) -> bool {
        Arc::strong_count(state) == 1 && state.sequencer().is_idle()
    }
}
