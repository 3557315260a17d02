//! What all parts of a soak share.

use std::{sync::Arc, time::Duration};

use fastrand::Rng;

use super::{
    counts::Counts, gate::Gate, ledger::Ledger, nodes::Nodes, roster::Roster, site::Site, verdict::Verdict,
};

/// What all parts of a soak share.
pub(super) struct World {
    pub(super) site: Arc<Site>,
    pub(super) nodes: Nodes,
    pub(super) gate: Arc<Gate>,
    pub(super) ledger: Ledger,
    pub(super) roster: Roster,
    pub(super) verdict: Verdict,
    pub(super) counts: Counts,
}

/// A random time between two, both in milliseconds.
pub(super) fn between(rng: &mut Rng, from: u64, to: u64) -> Duration {
    Duration::from_millis(rng.u64(from..=to))
}
