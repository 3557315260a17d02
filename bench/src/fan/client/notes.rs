//! What the server said or did beside delivering.

/// Counts of it, and the first trouble.
#[derive(Debug, Default)]
pub(in crate::fan) struct Notes {
    /// Gaps that subscribers were told of.
    pub(in crate::fan) gaps: u64,
    /// Messages that those gaps say are missing, as far as they say.
    pub(in crate::fan) missed: u64,
    /// Publishes that were refused.
    pub(in crate::fan) refused: u64,
    /// Deliveries that stalled subscribers read in the end.
    pub(in crate::fan) stalled_received: u64,
    /// Messages that they were told are missing.
    pub(in crate::fan) stalled_missed: u64,
    /// Stalled subscribers that were disconnected.
    pub(in crate::fan) stalled_dead: u64,
    /// Connections that were closed or lost once ready.
    pub(in crate::fan) dead: u64,
    /// Messages without a stamp that say nothing of the above.
    pub(in crate::fan) other: u64,
    /// The first of the troubles, in words.
    pub(in crate::fan) first: Option<String>,
}

impl Notes {
    pub(super) fn trouble(&mut self, what: impl FnOnce() -> String) {
        self.first.get_or_insert_with(what);
    }
}
