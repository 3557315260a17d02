//! Copies of one message.

use std::collections::{HashSet, VecDeque};

use crate::backend::Origin;

/// How many messages to several topics are remembered.
const REMEMBERED: usize = 4096;

/// Knows copies of a message to several topics. Where it is sent once for each of them, a node that wants several gets it as often, and the
/// first copy counts: clause *also*. The last 4,096 are remembered.
#[derive(Debug, Default)]
pub struct Copies {
    seen: HashSet<(u64, u64, u64)>,
    by_age: VecDeque<(u64, u64, u64)>,
}

impl Copies {
    /// Nothing has come.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes a copy of the message with this origin. False where there was one before.
    pub fn is_first(&mut self, origin: Origin) -> bool {
        let copy = (origin.node.value(), origin.stream, origin.seq);
        if !self.seen.insert(copy) {
            return false;
        }
        self.by_age.push_back(copy);
        if self.by_age.len() > REMEMBERED
            && let Some(oldest) = self.by_age.pop_front()
        {
            self.seen.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::NodeId;

    #[test]
    fn the_first_copy_counts_for_as_long_as_it_is_remembered() {
        let mut copies = Copies::new();
        let origin = |node, seq| Origin { node: NodeId::new(node), stream: 1, seq };
        assert!(copies.is_first(origin(1, 1)) && !copies.is_first(origin(1, 1)));
        assert!(copies.is_first(origin(2, 1)), "of another node");
        for seq in 2..=REMEMBERED as u64 {
            assert!(copies.is_first(origin(1, seq)));
        }
        assert!(!copies.is_first(origin(2, 1)) && copies.is_first(origin(1, 1)), "the oldest is forgotten");
        assert_eq!((copies.seen.len(), copies.by_age.len()), (REMEMBERED, REMEMBERED));
    }
}
