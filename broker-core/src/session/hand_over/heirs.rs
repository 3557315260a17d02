//! Who keeps the sessions of nodes that have stopped.

use std::collections::VecDeque;

use parking_lot::Mutex;

use crate::backend::NodeId;

/// How many are remembered.
const REMEMBERED: usize = 256;

/// Nodes that have stopped, and who keeps sessions that they had.
#[derive(Default)]
pub(crate) struct Heirs(Mutex<VecDeque<(NodeId, NodeId)>>);

impl Heirs {
    pub(super) fn add(&self, node: NodeId, heir: NodeId) {
        let mut heirs = self.0.lock();
        if node == heir || heirs.contains(&(node, heir)) {
            return;
        }
        if heirs.len() >= REMEMBERED {
            heirs.pop_front();
        }
        heirs.push_back((node, heir));
    }

    /// A node, those who keep its sessions where it has stopped, and those who keep theirs; each once.
    pub(super) fn line_of(&self, node: NodeId) -> Vec<NodeId> {
        let heirs = self.0.lock();
        let mut line = vec![node];
        let mut at = 0;
        while let Some(node) = line.get(at).copied() {
            for (_, heir) in heirs.iter().filter(|(of, _)| *of == node) {
                if !line.contains(heir) {
                    line.push(*heir);
                }
            }
            at += 1;
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heirs_have_heirs() {
        let heirs = Heirs::default();
        let node = NodeId::new;
        for (of, heir) in [(1, 2), (1, 3), (1, 2), (2, 4), (4, 1), (9, 9), (7, 8)] {
            heirs.add(node(of), node(heir));
        }
        assert_eq!(heirs.line_of(node(1)), [1, 2, 3, 4].map(node), "each once, although it is a circle");
        assert_eq!(heirs.line_of(node(9)), [node(9)]);
        for of in 100..100 + REMEMBERED as u64 {
            heirs.add(node(of), node(1));
        }
        assert_eq!(heirs.line_of(node(1)), [node(1)], "the oldest are forgotten");
        assert_eq!(heirs.0.lock().len(), REMEMBERED);
    }
}
