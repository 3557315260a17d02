//! What one receiver has heard of what each node has published, where nothing is retained.

use super::truth::Truth;

/// Of each node: how far, and whether what is missing has been told.
pub(super) struct Hearing {
    name: &'static str,
    of_nodes: Vec<Heard>,
}

struct Heard {
    owed_from: usize,
    next: usize,
    told: bool,
    /// Messages were passed over, and no gap has been told since.
    untold: bool,
}

impl Hearing {
    /// From now on.
    pub(super) fn new(name: &'static str, nodes: usize, truth: &Truth) -> Self {
        let of_nodes = (0..nodes).map(|node| {
            let owed_from = truth.sent(node, name).len();
            Heard { owed_from, next: 0, told: false, untold: false }
        });
        Self { name, of_nodes: of_nodes.collect() }
    }

    pub(super) fn message(&mut self, truth: &Truth, id: u64) {
        let mut nodes = self.of_nodes.iter_mut().enumerate();
        let found = nodes.find_map(|(node, heard)| {
            let at = truth.sent(node, self.name).iter().position(|held| *held == id)?;
            Some((node, at, heard))
        });
        let (node, at, heard) = found.unwrap_or_else(|| panic!("{id} was never published"));
        assert!(at >= heard.next, "{}: {at} of node {node} comes after {}", self.name, heard.next);
        // Who has not heard a node before learns from its control frame, which may come later, what it missed.
        heard.untold |= at > heard.next.max(heard.owed_from) && !heard.told;
        (heard.next, heard.told) = (at + 1, false);
    }

    pub(super) fn gap(&mut self) {
        for heard in &mut self.of_nodes {
            (heard.told, heard.untold) = (true, false);
        }
    }

    pub(super) fn end(&self, truth: &Truth) {
        for (node, heard) in self.of_nodes.iter().enumerate() {
            let sent = truth.sent(node, self.name).len();
            let silent = heard.untold || sent > heard.next.max(heard.owed_from) && !heard.told;
            assert!(!silent, "{}: {sent} of node {node}, {} came", self.name, heard.next);
        }
    }
}
