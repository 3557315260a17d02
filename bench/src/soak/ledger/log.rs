//! Where the messages of one topic are stored.

use std::collections::BTreeMap;

use fanfare::message::{Epoch, Position};

use super::Wrong;
use crate::soak::{topics::TOPICS, uid::Uid};

/// The log of one topic, as far as anybody has seen it.
#[derive(Debug, Default)]
pub(super) struct Log {
    epoch: Option<Epoch>,
    /// By offset.
    entries: BTreeMap<u64, Entry>,
    /// What stood up to here is forgotten.
    forgotten: u64,
    /// How often another log took its place.
    pub(super) renewed: u64,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    uid: Uid,
    prev: Option<u64>,
}

impl Log {
    /// A message stands here.
    pub(super) fn put(
        &mut self,
        topic: usize,
        uid: Uid,
        position: Position,
        prev: Option<u64>,
    ) -> Result<(), Wrong> {
        if self.epoch.is_some_and(|epoch| epoch != position.epoch) {
            let name = TOPICS[topic].name;
            if !TOPICS[topic].lapses {
                let epoch = self.epoch;
                return Err(format!(
                    "{name}: {uid} at {position}, although the log {epoch:?} was never lost"
                ));
            }
            // All that was retained had its time.
            self.entries.clear();
            self.forgotten = 0;
            self.renewed += 1;
        }
        self.epoch = Some(position.epoch);
        if position.offset <= self.forgotten {
            return Ok(());
        }
        let entry = self.entries.entry(position.offset).or_insert(Entry { uid, prev });
        if entry.uid != uid {
            return Err(format!("{position} is {} for one and {uid} for another", entry.uid));
        }
        if prev.is_some() {
            // A reader of the history may know less well.
            entry.prev = entry.prev.min(prev).or(prev);
        }
        Ok(())
    }

    pub(super) fn top(&self) -> Option<Position> {
        let (offset, _) = self.entries.last_key_value()?;
        Some(Position::new(self.epoch?, *offset))
    }

    /// What stands between two offsets; `None` where that is forgotten, or is of another log.
    pub(super) fn between(&self, epoch: Epoch, after: u64, before: u64) -> Option<Vec<(u64, Uid)>> {
        if self.epoch != Some(epoch) || after < self.forgotten || before <= after {
            return None;
        }
        Some(self.entries.range(after + 1..before).map(|(offset, entry)| (*offset, entry.uid)).collect())
    }

    /// No message stands between one and the one that it names as its predecessor.
    pub(super) fn check(&self, topic: usize) -> Result<(), Wrong> {
        let mut before: Option<(u64, Uid)> = None;
        for (offset, entry) in &self.entries {
            if let (Some((last, uid)), Some(prev)) = (before, entry.prev)
                && prev < last
            {
                let name = TOPICS[topic].name;
                return Err(format!(
                    "{name}: {} at {offset} follows {prev}, it says, and {uid} stands at {last}",
                    entry.uid
                ));
            }
            before = Some((*offset, entry.uid));
        }
        Ok(())
    }

    pub(super) fn forget(&mut self, through: u64) {
        self.entries = self.entries.split_off(&(through + 1));
        self.forgotten = self.forgotten.max(through);
    }
}
