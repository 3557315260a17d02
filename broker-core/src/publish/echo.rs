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
}

impl Drop for Expected {
    fn drop(&mut self) {
        self.echoes.0.lock().remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::NodeId;

    #[test]
    fn nothing_is_kept_of_what_nobody_waits_for() {
        let echoes = Arc::new(Echoes::default());
        let origin = |seq| Origin { node: NodeId::new(1), stream: 2, seq };
        let (first, second) =
            (echoes.expect(origin(1), Arc::default()), echoes.expect(origin(2), Arc::default()));
        assert!(echoes.take(origin(1)).is_some());
        assert!(echoes.take(origin(1)).is_none());
        drop(first);
        assert_eq!(echoes.0.lock().len(), 1);
        drop(second);
        assert!(echoes.0.lock().is_empty());
    }
}
