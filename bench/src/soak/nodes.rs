//! The nodes: brokers that stop and are started anew.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Context;
use async_trait::async_trait;
use fanfare::{
    Broker,
    backend::BackendState,
    calls::ClientCall,
    message::Format,
    policy::{Action, Admission, Identity, Policy, Verdict},
    session::{Handshake, Refusal},
};
use fastrand::Rng;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::{client::Lines, site::Site, topics};

/// How long a node may take to start.
const START_WITHIN: Duration = Duration::from_secs(120);

/// A node as it runs now.
#[derive(Clone)]
pub(super) struct Node {
    pub(super) slot: usize,
    /// No two runs have the same.
    pub(super) run: u64,
    pub(super) broker: Broker,
    /// What clients read.
    pub(super) format: Format,
    stopping: watch::Receiver<bool>,
}

impl Node {
    /// Waits until it is about to stop.
    pub(super) async fn stopping(&self) {
        let _ = self.stopping.clone().wait_for(|stopping| *stopping).await;
    }

    pub(super) fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }
}

struct Running {
    node: Node,
    stop: watch::Sender<bool>,
}

/// All nodes.
pub(super) struct Nodes {
    site: Arc<Site>,
    slots: Vec<Mutex<Option<Running>>>,
    runs: AtomicU64,
}

impl Nodes {
    pub(super) fn new(site: Arc<Site>, count: usize) -> Self {
        let slots = (0..count).map(|_| Mutex::new(None)).collect();
        Self { site, slots, runs: AtomicU64::new(0) }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Starts a node that does not run.
    pub(super) async fn start(&self, slot: usize) -> anyhow::Result<()> {
        let builder = topics::configure(Broker::builder().policy(Door).shards(2));
        let builder = builder.on_call("echo", |call: ClientCall| async move { Ok(call.payload) });
        // A node that is started while the server is away tries on.
        let broker = builder.backend(self.site.backend(slot)?).start_degraded()?;
        let mut state = broker.backend_state();
        let up = state.wait_for(|state| *state == BackendState::Up);
        tokio::time::timeout(START_WITHIN, up)
            .await
            .context("a node does not start")?
            .context("a node ends")?;
        let format = broker.register(Arc::new(Lines)).context("no room for a format")?;
        let (stop, stopping) = watch::channel(false);
        let run = self.runs.fetch_add(1, Ordering::SeqCst) + 1;
        *self.slots[slot].lock() = Some(Running { node: Node { slot, run, broker, format, stopping }, stop });
        Ok(())
    }

    /// Stops a node: whoever uses it goes elsewhere. False when it did not end in good order in time.
    pub(super) async fn stop(&self, slot: usize, within: Duration) -> bool {
        let Some(running) = self.slots[slot].lock().take() else { return true };
        running.stop.send_replace(true);
        running.node.broker.drain(within).await
    }

    /// A node that runs.
    pub(super) fn pick(&self, rng: &mut Rng) -> Option<Node> {
        let begin = rng.usize(..self.slots.len());
        let slots = (0..self.slots.len()).map(|n| (begin + n) % self.slots.len());
        slots.into_iter().find_map(|slot| self.get(slot))
    }

    /// The node that somebody prefers by its name, if it runs.
    pub(super) fn pick_near(&self, rng: &mut Rng, name: &str) -> Option<Node> {
        let preferred = name.bytes().map(usize::from).sum::<usize>() % self.slots.len();
        self.get(preferred).or_else(|| self.pick(rng))
    }

    /// The node of a slot, if it runs.
    pub(super) fn get(&self, slot: usize) -> Option<Node> {
        self.slots[slot].lock().as_ref().map(|running| running.node.clone())
    }

    /// All that run.
    pub(super) fn all(&self) -> Vec<Node> {
        (0..self.slots.len()).filter_map(|slot| self.get(slot)).collect()
    }
}

/// Lets everybody in as the user that the token of `connect` names, and do everything.
struct Door;

#[async_trait]
impl Policy for Door {
    async fn connect(&self, handshake: &Handshake) -> Result<Admission, Refusal> {
        Ok(match handshake.credential() {
            Some(user) => Admission::Accept(Identity::user(user)),
            // So that nothing reaches a client before it has said what it wants.
            None => Admission::AwaitConnect,
        })
    }

    fn authorize<'a>(&'a self, _: &'a Identity, _: Action<'a>) -> Verdict<'a> {
        Verdict::allow()
    }
}
