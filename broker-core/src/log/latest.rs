//! The last value of each key.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use crate::message::Message;

/// The last message of each key, bounded by keys: the one written longest ago goes first.
pub(super) struct Latest {
    max_keys: usize,
    /// Keys come from clients, so the hasher is a keyed one.
    offsets: HashMap<Arc<str>, u64>,
    by_offset: BTreeMap<u64, Arc<Message>>,
}

impl Latest {
    pub(super) fn new(max_keys: usize) -> Self {
        Self { max_keys, offsets: HashMap::new(), by_offset: BTreeMap::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_offset.is_empty()
    }

    /// In the log's order.
    pub(super) fn values(&self) -> impl Iterator<Item = &Arc<Message>> {
        self.by_offset.values()
    }

    pub(super) fn put(&mut self, message: &Arc<Message>, offset: u64) {
        let Some(key) = message.parts().key.as_ref().filter(|_| self.max_keys > 0) else { return };
        match self.offsets.get_mut(key) {
            // Values can be restored after newer ones have come.
            Some(held) if *held >= offset => return,
            Some(held) => {
                self.by_offset.remove(held);
                *held = offset;
            }
            None => {
                self.offsets.insert(key.clone(), offset);
            }
        }
        self.by_offset.insert(offset, message.clone());
        while self.by_offset.len() > self.max_keys {
            if let Some((_, oldest)) = self.by_offset.pop_first()
                && let Some(key) = oldest.parts().key.as_ref()
            {
                self.offsets.remove(key);
            }
        }
    }
}
