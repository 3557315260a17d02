//! Which shards hold subscriptions to patterns.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;

use crate::topic::{PatternTrie, TopicName, TopicPattern};

/// Which shards hold subscriptions to which patterns, with a version by which a
/// topic knows whether what it has looked up still holds.
#[derive(Default)]
pub(crate) struct PatternIndex {
    version: AtomicU64,
    /// Counts when a pattern was given up, or may have lost something.
    continuity: AtomicU64,
    trie: RwLock<PatternTrie<Holders>>,
}

struct Holders {
    counts: Vec<u32>,
}

impl PatternIndex {
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// What was seen of a topic by its patterns still goes on from there as long as this is the same.
    pub(crate) fn continuity(&self) -> u64 {
        self.continuity.load(Ordering::Acquire)
    }

    /// Something that patterns should have brought may be lost, and has been told.
    pub(crate) fn break_off(&self) {
        self.continuity.fetch_add(1, Ordering::AcqRel);
    }

    /// The shards that hold a pattern that matches, with the version that this belongs to.
    pub(crate) fn shards(&self, topic: &TopicName) -> (u64, u64) {
        let trie = self.trie.read();
        let version = self.version();
        let mut mask = 0;
        if !trie.is_empty() {
            trie.for_each_match(topic, &mut |_, holders| mask |= holders.mask());
        }
        (mask, version)
    }

    /// Counts a subscription.
    pub(crate) fn add(&self, pattern: &TopicPattern, shard: usize) {
        let mut trie = self.trie.write();
        if trie.get(pattern).is_empty() {
            trie.insert(pattern.clone(), Holders { counts: Vec::new() });
        }
        if let Some(holders) = trie.get_mut(pattern).first_mut() {
            if holders.counts.len() <= shard {
                holders.counts.resize(shard + 1, 0);
            }
            holders.counts[shard] += 1;
        }
        self.version.fetch_add(1, Ordering::AcqRel);
    }

    /// Counts a subscription less. True when it was the pattern's last on this node.
    pub(crate) fn remove(&self, pattern: &TopicPattern, shard: usize) -> bool {
        let mut trie = self.trie.write();
        if let Some(count) = trie.get_mut(pattern).first_mut().and_then(|h| h.counts.get_mut(shard)) {
            *count = count.saturating_sub(1);
        }
        let last = !trie.remove(pattern, |holders| holders.mask() == 0).is_empty();
        self.version.fetch_add(1, Ordering::AcqRel);
        if last {
            self.break_off();
        }
        last
    }

    pub(crate) fn contains(&self, pattern: &TopicPattern) -> bool {
        !self.trie.read().get(pattern).is_empty()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.trie.read().is_empty()
    }

    pub(crate) fn all(&self) -> Vec<TopicPattern> {
        self.trie.read().iter().map(|(pattern, _)| pattern.clone()).collect()
    }
}

impl Holders {
    fn mask(&self) -> u64 {
        self.counts.iter().enumerate().filter(|(_, n)| **n > 0).fold(0, |mask, (shard, _)| mask | 1 << shard)
    }
}
