//! Where the last message of each key stands in a queue.

use std::{collections::HashMap, sync::Arc};

use super::Entry;
use crate::{message::Message, topic::TopicName};

/// The places of keys. A place stays the same while entries come and go on both sides of it.
pub(super) struct Keys {
    places: HashMap<(TopicName, Arc<str>), u64>,
    /// The place of the front entry.
    base: u64,
    /// Conflated places in the queue.
    holes: usize,
}

impl Keys {
    pub(super) fn new() -> Self {
        // Places go down as well as up.
        Self { places: HashMap::new(), base: 1 << 62, holes: 0 }
    }

    pub(super) fn holes(&self) -> usize {
        self.holes
    }

    #[cfg(all(test, not(loom)))]
    pub(super) fn capacity(&self) -> usize {
        self.places.capacity()
    }

    /// A message is put behind so many entries.
    pub(super) fn pushed(&mut self, message: &Message, entries: usize) {
        if let Some(key) = key_of(message) {
            self.places.insert(key, self.base + entries as u64);
        }
    }

    /// An entry is put before all others.
    pub(super) fn pushed_front(&mut self, entry: &Entry) {
        self.base -= 1;
        if let Entry::Message(message) = entry
            && let Some(key) = key_of(message)
        {
            // A newer value of the key may stand behind; then that is the one to replace.
            self.places.entry(key).or_insert(self.base);
        }
    }

    /// The front entry is taken.
    pub(super) fn popped(&mut self, entry: &Entry) {
        let place = self.base;
        self.base += 1;
        match entry {
            Entry::Conflated => self.holes -= 1,
            Entry::Message(message) => {
                if let Some(key) = key_of(message)
                    && self.places.get(&key) == Some(&place)
                {
                    self.places.remove(&key);
                }
            }
            Entry::Gap(_) | Entry::Live(_) | Entry::Cursor(_) => {}
        }
    }

    /// Takes out of the entries the message that a new one of the same key replaces.
    pub(super) fn conflate<'a>(
        &mut self,
        newer: &Message,
        entry_at: impl FnOnce(usize) -> Option<&'a mut Entry>,
    ) -> Option<Arc<Message>> {
        let place = self.places.remove(&key_of(newer)?)?;
        let entry = entry_at(usize::try_from(place.checked_sub(self.base)?).ok()?)?;
        let Entry::Message(_) = entry else { return None };
        let Entry::Message(older) = std::mem::replace(entry, Entry::Conflated) else { return None };
        self.holes += 1;
        Some(older)
    }

    /// All entries are put in anew.
    pub(super) fn begin_anew(&mut self) {
        self.holes = 0;
        self.places.clear();
    }

    /// The queue is empty: no memory is held.
    pub(super) fn release(&mut self) {
        self.places = HashMap::new();
    }
}

fn key_of(message: &Message) -> Option<(TopicName, Arc<str>)> {
    Some((message.topic().clone(), message.parts().key.clone()?))
}
