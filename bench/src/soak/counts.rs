//! What happened, by kind.

use std::{collections::BTreeMap, fmt};

use parking_lot::Mutex;

/// Counters by name.
#[derive(Debug, Default)]
pub(super) struct Counts(Mutex<BTreeMap<String, u64>>);

impl Counts {
    pub(super) fn add(&self, kind: &str) {
        let mut counts = self.0.lock();
        match counts.get_mut(kind) {
            Some(count) => *count += 1,
            None => drop(counts.insert(kind.to_owned(), 1)),
        }
    }

    /// All of them.
    pub(super) fn all(&self) -> BTreeMap<String, u64> {
        self.0.lock().clone()
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (kind, count)) in self.0.lock().iter().enumerate() {
            let blank = if index == 0 { "" } else { ", " };
            write!(f, "{blank}{kind} {count}")?;
        }
        Ok(())
    }
}
