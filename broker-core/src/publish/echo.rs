//! Reports of logged messages, which are fanned out when they come back from the backend.

use std::sync::Arc;

use parking_lot::Mutex;
use rustc_hash::FxHashMap;

use crate::{backend::Origin, fanout::Special};

/// Messages of this node that somebody wants to know the fan-out of, until they come back. There are as many as are waited
/// for.
#[derive(Default)]
pub(crate) struct Echoes(Mutex<FxHashMap<(u64, u64), Arc<Special>>>);

/// A message that is to come back; dropped, nobody waits for it any more.
pub(crate) struct Expected {
    echoes: Arc<Echoes>,
    key: (u64, u64),
}

impl Echoes {
    pub(super) fn expect(self: &Arc<Self>, origin: Origin, special: Arc<Special>) -> Expected {
        let key = (origin.stream, origin.seq);
        self.0.lock().insert(key, special);
        Expected { echoes: self.clone(), key }
    }

    /// Takes what is to be fanned out with a message of this node.
    pub(crate) fn take(&self, origin: Origin) -> Option<Arc<Special>> {
        self.0.lock().remove(&(origin.stream, origin.seq))
    }

    #[cfg(all(test, not(loom)))]
    pub(crate) fn len(&self) -> usize {
        self.0.lock().len()
    }
}

impl Drop for Expected {
    fn drop(&mut self) {
        self.echoes.0.lock().remove(&self.key);
    }
}
