//! What all parts of a soak share.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use fastrand::Rng;
use parking_lot::Mutex;

use super::{
    counts::Counts, gate::Gate, ledger::Ledger, nodes::Nodes, people::People, roster::Roster, site::Site,
    verdict::Verdict,
};

/// The clients in rooms.
pub(super) type Rooms = BTreeMap<String, BTreeSet<String>>;

/// What all parts of a soak share.
pub(super) struct World {
    pub(super) site: Arc<Site>,
    pub(super) nodes: Nodes,
    pub(super) gate: Arc<Gate>,
    pub(super) ledger: Ledger,
    pub(super) roster: Roster,
    /// How long anything may take to settle, unless it hangs.
    pub(super) patience: Duration,
    pub(super) people: People,
    /// Who is in which room, as each client that watches one was told.
    pub(super) beliefs: Mutex<BTreeMap<String, Rooms>>,
    pub(super) verdict: Verdict,
    pub(super) counts: Counts,
}

/// A random time between two, both in milliseconds.
pub(super) fn between(rng: &mut Rng, from: u64, to: u64) -> Duration {
    Duration::from_millis(rng.u64(from..=to))
}
