//! What lives from start to shutdown.

use std::sync::{Arc, atomic::AtomicU64};

use fanfare_core::backend::{BackendErrorKind, Ingress, blocks::Inbox};
use parking_lot::Mutex;
use redis::Value;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

use super::RedisBackend;
use crate::{
    error::{Trouble, answered},
    keep::{Health, Node, Servers, lost, within},
    log,
    receive::{Interests, Pushed},
    settings::Topology,
    wire::{Expect, Packed, Retry, value},
};

/// What lives from start to shutdown.
pub(super) struct Running {
    pub(super) node: Arc<Node>,
    pub(super) servers: Arc<Servers>,
    /// By which policy the server drops keys, as it was told last.
    pub(super) told_policy: Mutex<Option<String>>,
    tasks: TaskTracker,
    stop: CancellationToken,
    _guard: DropGuard,
}

impl Running {
    pub(super) fn launch(backend: &RedisBackend, ingress: Ingress) -> Arc<Self> {
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let interests = Arc::new(Interests::new(backend.names.clone()));
        let inbox = Arc::new(Inbox::new(ingress));
        let node = Arc::new(Node {
            id: inbox.node(),
            settings: backend.settings.clone(),
            names: backend.names.clone(),
            scripts: backend.scripts.clone(),
            health: Health::new(inbox.clone(), backend.state.clone()),
            pushed: Pushed::new(
                matches!(backend.settings.topology, Topology::Cluster(_)),
                backend.names.clone(),
                interests.clone(),
                inbox.clone(),
            ),
            interests,
            inbox,
            probes: AtomicU64::new(0),
            runs: Mutex::default(),
        });
        let servers = Servers::start(node.clone(), tasks.clone(), stop.clone());
        let (ended, reopen) = (stop.clone(), reopen(node.clone(), servers.clone()));
        tasks.spawn(async move { ended.run_until_cancelled_owned(reopen).await });
        let told_policy = Mutex::default();
        Arc::new(Self { node, servers, told_policy, tasks, _guard: stop.clone().drop_guard(), stop })
    }

    /// Ends all tasks and with them all connections.
    pub(super) async fn end(&self) {
        self.node.health.end();
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.node.inbox.end().await;
        for peer in self.servers.peers() {
            for queue in [&peer.commands, &peer.pushes] {
                queue.close();
                queue.down();
            }
        }
    }

    /// The same in good order: what was handed over is acknowledged, as far as time allows.
    pub(super) async fn shutdown(&self, by: Instant) {
        self.node.health.end();
        let peers = self.servers.peers();
        peers.iter().for_each(|peer| peer.commands.close());
        for peer in peers {
            let _ = timeout_at(by, peer.commands.until_idle()).await;
        }
        self.end().await;
    }

    /// Calls a script that stores nothing of a message, where this key or channel is.
    pub(super) async fn call(&self, key: &str, packed: Packed) -> Result<Value, Trouble> {
        let asked = self.servers.hand_over(key, packed, Expect::One, Retry::Again);
        let answer = async { checked(asked.answer().await.map_err(lost)?) };
        within(self.node.settings.publish_within, answer).await
    }
}

/// Keeps logs remembered that are listened to, and not written to.
async fn reopen(node: Arc<Node>, servers: Arc<Servers>) {
    loop {
        sleep(log::REOPENED_EVERY).await;
        for (name, retention) in node.interests.wanted.topics() {
            let Some(retention) = retention else { continue };
            let open = log::open(&node.scripts, &node.names, &name, &retention, node.is_cluster());
            // Another time, if not now: a log is remembered for longer than this.
            let _ =
                servers.hand_over(&node.names.topic(&name), open, Expect::One, Retry::Again).answer().await;
        }
    }
}

pub(super) fn unexpected(_: value::Unexpected) -> Trouble {
    Trouble::new(
        BackendErrorKind::Corrupt,
        "the log holds something that is none of ours, or of a newer version: does another program use the prefix?",
    )
}

pub(super) fn checked(answer: Value) -> Result<Value, Trouble> {
    match answer {
        Value::ServerError(error) => Err(answered(&error)),
        answer => Ok(answer),
    }
}
