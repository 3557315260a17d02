//! What all connections of one node share.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use fanfare_core::backend::{NodeId, blocks::Inbox};
use parking_lot::Mutex;
use tokio::time::timeout;

use super::Health;
use crate::{
    error::Trouble,
    log::Scripts,
    names::Names,
    receive::{Interests, Pushed},
    settings::{Settings, Topology},
    wire::Lost,
};

/// What all connections of one node share.
pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) settings: Arc<Settings>,
    pub(crate) names: Arc<Names>,
    pub(crate) scripts: Arc<Scripts>,
    pub(crate) health: Health,
    pub(crate) interests: Arc<Interests>,
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) pushed: Pushed,
    pub(crate) probes: AtomicU64,
    /// The runs of the servers that are up, by server, on a Cluster.
    pub(crate) runs: Mutex<HashMap<u32, String>>,
}

impl Node {
    pub(crate) fn is_cluster(&self) -> bool {
        matches!(self.settings.topology, Topology::Cluster(_))
    }

    /// The number of the next probe.
    pub(crate) fn next_probe(&self) -> u64 {
        self.probes.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// The run of a server of a Cluster, and those of all that are up, with commas: two arguments as they are sent. Elsewhere both
    /// are empty: the mark of the server's life is on the server.
    pub(crate) fn runs(&self, peer: u32) -> Bytes {
        let runs = self.runs.lock();
        let this = runs.get(&peer).map_or("", String::as_str);
        let all: String = runs.values().flat_map(|run| [run, ","]).collect();
        [this, &all].map(|text| format!("${}\r\n{text}\r\n", text.len())).concat().into()
    }
}

/// What an unanswered command means where nothing was stored by it.
pub(crate) fn lost(lost: Lost) -> Trouble {
    match lost {
        Lost::Full => Trouble::unavailable("too much waits for Redis already: publish less, or later"),
        Lost::Unsent => Trouble::unavailable("Redis is away; the backend is trying to reach it"),
        Lost::Unanswered => Trouble::unavailable("the connection to Redis broke before the answer came"),
    }
}

/// A time within which something has to have happened.
pub(crate) async fn within<T>(
    limit: Duration,
    asked: impl Future<Output = Result<T, Trouble>>,
) -> Result<T, Trouble> {
    let late = || Trouble::unavailable(format!("Redis did not answer within {limit:?}"));
    timeout(limit, asked).await.unwrap_or_else(|_| Err(late()))
}
