//! What has been published, on whichever node.

use std::collections::HashMap;

use crate::message::Position;

/// What has been published.
#[derive(Default)]
pub(super) struct Truth {
    /// Of each ephemeral topic, the messages of each node in its order.
    pub(super) ephemeral: HashMap<(usize, &'static str), Vec<u64>>,
    /// The last position of each logged topic that a publisher was told.
    pub(super) tops: HashMap<&'static str, Position>,
    pub(super) stored: HashMap<u64, Position>,
    /// What was lost of each log: it ends in front of this offset, and began behind that position.
    pub(super) holes: HashMap<&'static str, Vec<(u64, Position)>>,
}

impl Truth {
    /// What a node has published on an ephemeral topic, or to everybody.
    pub(super) fn sent(&self, node: usize, name: &'static str) -> &[u64] {
        self.ephemeral.get(&(node, name)).map_or(&[], Vec::as_slice)
    }
}
