//! Which nodes there are, and how they talk to each other beside messages.
//!
//! Everything here travels as control frames of the backend (clause *control* of its contract): at most once, in order per
//! node. From the bottom up:
//!
//! - *Membership.* Each node sends a [heartbeat](heartbeat) every 2 s, at once when it hears of a node that it did not know, and a goodbye when
//!   it stops. A node that is unheard for three of *its* heartbeats and a second is away ([`peers`]). A node that does not speak of itself at
//!   all, because it is of an older version, is nobody that is waited for. A [`NodeId`] is one run of one process: a
//!   node that comes back after a restart is another one.
//! - *Parcels.* Content of any length up to [`MAX_PARCEL`], split into frames and joined again ([`parcel`], [`outgoing`]). One that lacks a part is
//!   dropped. Parcels of one node arrive in the order in which they were posted, and never twice.
//! - *Questions.* [`Cluster::ask`] collects the answers of the nodes that are known, and ends when each has answered or is away, or at its
//!   deadline ([`ask`]): "answered n of m".
//! - *Clients.* [`clients`]: what an app does to the clients of all nodes.
//!
//! Who wants to hear of any of it registers a function. It is called in the order of arrival, node by node: a node is up
//! before anything of it is heard, and nothing of it is heard after it is away, until it is up again. It runs in the
//! backend's task, and must not wait.
//!
//! A backend that serves one node alone ([inline](crate::backend::Capabilities::inline)) has none of this: no task, no timer, no frame.

mod ask;
mod beat;
pub mod clients;
mod heartbeat;
mod outgoing;
mod parcel;
mod peers;
mod receive;
#[cfg(all(test, not(loom)))]
mod tests;

use std::{fmt, sync::Arc, time::Duration};

pub(crate) use ask::Whom;
use bytes::Bytes;
use futures_util::future::BoxFuture;
pub(crate) use outgoing::NotSent;
pub(crate) use parcel::MAX_PARCEL;
use parking_lot::{Mutex, RwLock};
use rustc_hash::FxHashMap;

use self::{ask::Asks, outgoing::Outgoing, peers::Peers};
use crate::{
    backend::{Backend, NodeId},
    broker::Inner,
};

/// How often a node says that it is there, unless it is told otherwise.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(2);

/// What a parcel is about: who registers for it gets it.
pub(crate) mod parcels {
    pub(super) const QUESTION: u8 = 1;
    pub(super) const ANSWER: u8 = 2;
    pub(crate) const PRESENCE: u8 = 3;
    /// What has become of sessions.
    pub(crate) const SESSIONS: u8 = 4;
}

/// What a question is about: who registers for it answers.
pub(crate) mod questions {
    /// Something is to be done with clients.
    pub(crate) const CLIENTS: u8 = 1;
    /// Who holds the session of a secret?
    pub(crate) const RESUME: u8 = 2;
    /// Clients are to be called.
    pub(crate) const CALL: u8 = 3;
    /// What is known of the presence of topics?
    pub(crate) const PRESENCE: u8 = 4;
    /// Sessions of a node that stops are to be kept.
    pub(crate) const KEEP: u8 = 5;
}

/// What heartbeats carry for others.
pub(crate) mod attachments {
    pub(crate) const PRESENCE: u8 = 1;
}

/// Another node is there, or no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NodeEvent {
    /// It has been heard for the first time, or again after it was away.
    Up(NodeId),
    /// It has said goodbye, or has not been heard for too long.
    Away(NodeId),
}

type OnParcel = dyn Fn(&Arc<Inner>, NodeId, Bytes) + Send + Sync;
type OnNode = dyn Fn(&Arc<Inner>, NodeEvent) + Send + Sync;
type OnQuestion = dyn Fn(Arc<Inner>, NodeId, Bytes) -> BoxFuture<'static, Option<Bytes>> + Send + Sync;
type Say = dyn Fn(&Arc<Inner>) -> Option<Bytes> + Send + Sync;

/// Who wants to hear what.
#[derive(Default)]
struct Handlers {
    parcels: FxHashMap<u8, Arc<OnParcel>>,
    questions: FxHashMap<u8, Arc<OnQuestion>>,
    nodes: Vec<Arc<OnNode>>,
    attachments: Vec<(u8, Arc<Say>, Arc<OnParcel>)>,
}

/// This node among the others.
pub(crate) struct Cluster {
    node: NodeId,
    /// Tells two runs apart that have drawn the same name.
    stamp: u64,
    every: Duration,
    /// Held while somebody is told what has arrived: that is what keeps the order.
    peers: Mutex<Peers>,
    /// The names of those that are up, for who must not wait for the lock.
    up: RwLock<Arc<[NodeId]>>,
    handlers: RwLock<Handlers>,
    outgoing: Arc<Outgoing>,
    asks: Asks,
    /// There is a node that was not known, or a heartbeat is wanted for another reason.
    wake: Arc<tokio::sync::Notify>,
}

impl Cluster {
    /// A node that is alone so far. `is_alone`: it stays so, its backend serves nobody else.
    pub(crate) fn new(node: NodeId, every: Duration, is_alone: bool) -> Self {
        Self {
            node,
            stamp: crate::random::name(),
            every: every.clamp(Duration::from_millis(10), Duration::from_secs(600)),
            peers: Mutex::default(),
            up: RwLock::new(Arc::new([])),
            handlers: RwLock::default(),
            outgoing: Arc::new(Outgoing::new(is_alone)),
            asks: Asks::default(),
            wake: Arc::default(),
        }
    }

    /// What keeps the node among the others, until it is dropped. Nothing for one that is alone.
    pub(crate) fn tasks(broker: &Arc<Inner>, backend: &Arc<dyn Backend>) -> Vec<tokio::task::JoinHandle<()>> {
        if broker.cluster.outgoing.is_alone() {
            return Vec::new();
        }
        let sender = broker.cluster.outgoing.clone().run(backend.clone(), broker.limits.backend_timeout);
        vec![tokio::spawn(sender), tokio::spawn(beat::run(Arc::downgrade(broker)))]
    }

    /// Answers what the core itself asks.
    pub(crate) fn serve(&self) {
        clients::register(self);
    }

    /// The other nodes that are up, in no order.
    pub(crate) fn nodes(&self) -> Arc<[NodeId]> {
        self.up.read().clone()
    }

    /// Hears of nodes that come and go. To be registered before the backend starts, like all that follows.
    pub(crate) fn on_node(&self, hear: impl Fn(&Arc<Inner>, NodeEvent) + Send + Sync + 'static) {
        self.handlers.write().nodes.push(Arc::new(hear));
    }

    /// Hears the parcels of a [kind](parcels).
    pub(crate) fn on_parcel(
        &self,
        kind: u8,
        hear: impl Fn(&Arc<Inner>, NodeId, Bytes) + Send + Sync + 'static,
    ) {
        self.handlers.write().parcels.insert(kind, Arc::new(hear));
    }

    /// Answers the questions of a [kind](questions), those of this node included. `None` is no answer. A future that takes longer
    /// than the one who asks waits is dropped, and one that panics answers nothing.
    pub(crate) fn on_question<F>(
        &self,
        kind: u8,
        answer: impl Fn(Arc<Inner>, NodeId, Bytes) -> F + Send + Sync + 'static,
    ) where
        F: Future<Output = Option<Bytes>> + Send + 'static,
    {
        use futures_util::FutureExt;
        let answer = move |broker, from, question| answer(broker, from, question).boxed();
        self.handlers.write().questions.insert(kind, Arc::new(answer));
    }

    /// Gives something along with each heartbeat, a few KiB at most, and hears what other nodes give along. It is in order with
    /// the parcels: what was posted before `say` was called arrives before what it said.
    pub(crate) fn on_heartbeat(
        &self,
        kind: u8,
        say: impl Fn(&Arc<Inner>) -> Option<Bytes> + Send + Sync + 'static,
        hear: impl Fn(&Arc<Inner>, NodeId, Bytes) + Send + Sync + 'static,
    ) {
        self.handlers.write().attachments.push((kind, Arc::new(say), Arc::new(hear)));
    }

    /// Sends a parcel to one node, or to all others, in the order of the calls. It may be lost like anything that travels: nobody is told.
    ///
    /// # Errors
    ///
    /// When it is certain by now that it is not sent.
    pub(crate) fn post(&self, to: Option<NodeId>, kind: u8, content: Bytes) -> Result<(), NotSent> {
        self.outgoing.post(to, kind, content)
    }

    /// Says goodbye after all that has been posted, and posts nothing more.
    pub(crate) async fn leave(&self, by: tokio::time::Instant) {
        let posted = self.outgoing.goodbye();
        if let Some(posted) = posted {
            let _ = tokio::time::timeout_at(by, posted).await;
        }
        self.asks.stop();
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("node", &self.node).field("up", &self.nodes()).finish_non_exhaustive()
    }
}
