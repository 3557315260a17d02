//! Which shards hold subscriptions to patterns.

use std::{
    collections::HashSet,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
};

use parking_lot::{Mutex, RwLock};

use crate::topic::{PatternTrie, TopicName, TopicPattern};

/// Which shards hold subscriptions to which patterns, with a version by which a
/// topic knows whether what it has looked up still holds.
#[derive(Default)]
pub(crate) struct PatternIndex {
    version: AtomicU64,
    deaf: Deaf,
    trie: RwLock<PatternTrie<Holders>>,
}

/// Patterns of which the backend does not know, although they are wanted.
#[derive(Default)]
struct Deaf {
    /// Patterns come from clients, so the hasher is a keyed one.
    patterns: Mutex<HashSet<TopicPattern>>,
    count: AtomicUsize,
    version: AtomicU64,
}

struct Holders {
    counts: Vec<u32>,
}

impl PatternIndex {
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// The backend does not give this node what a pattern matches, until it is told anew.
    pub(crate) fn become_deaf(&self, pattern: &TopicPattern) {
        let mut patterns = self.deaf.patterns.lock();
        patterns.insert(pattern.clone());
        self.deaf.count.store(patterns.len(), Ordering::Release);
        self.deaf.version.fetch_add(1, Ordering::AcqRel);
    }

    /// The backend knows of the pattern, or nobody wants it any more.
    pub(crate) fn hears(&self, pattern: &TopicPattern) {
        let mut patterns = self.deaf.patterns.lock();
        patterns.remove(pattern);
        self.deaf.count.store(patterns.len(), Ordering::Release);
    }

    /// Something that tells one time when patterns are deaf from others; `None` while none is.
    pub(crate) fn deafness(&self) -> Option<u64> {
        let is_deaf = self.deaf.count.load(Ordering::Acquire) > 0;
        is_deaf.then(|| self.deaf.version.load(Ordering::Acquire))
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
