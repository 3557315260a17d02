//! What lives from start to shutdown.

use std::sync::Arc;

use fanfare_core::backend::{
    Ingress,
    blocks::{Health, Inbox},
};
use parking_lot::Mutex;
use tokio::time::{Instant, timeout_at};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

use super::{NatsBackend, wanting::ask_again};
use crate::{
    keep::{Node, keep},
    log::Logs,
    receive::{Interests, Pushed, Teller},
    wire::Queue,
};

/// What lives from start to shutdown.
pub(super) struct Running {
    pub(super) node: Arc<Node>,
    tasks: TaskTracker,
    stop: CancellationToken,
    _guard: DropGuard,
}

impl Running {
    pub(super) fn launch(backend: &NatsBackend, ingress: Ingress) -> Arc<Self> {
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let (settings, names) = (backend.settings.clone(), backend.names.clone());
        let inbox = Arc::new(Inbox::new(ingress));
        let interests = Arc::new(Interests::new(names.clone()));
        let queue = Arc::new(Queue::new(settings.buffer));
        let logs = Arc::new(Logs::new(queue.clone(), names.clone(), settings.clone()));
        let node = Arc::new(Node {
            id: inbox.node(),
            health: Health::new(inbox.clone(), backend.state.clone()),
            pushed: Pushed::new(names.clone(), interests.clone(), logs.clone(), inbox.clone()),
            teller: Mutex::new(Teller::new(inbox.node())),
            settings,
            names,
            queue,
            logs,
            interests,
            inbox,
            subscribing: Mutex::new(()),
        });
        let running = Self { node, tasks, _guard: stop.clone().drop_guard(), stop };
        let node = running.node.clone();
        running.spawn(keep(node.clone()));
        let logs = node.logs.clone();
        running.spawn(async move { logs.serve().await });
        let logs = node.logs.clone();
        running.spawn(async move { logs.watch().await });
        let pushing = node.clone();
        running.spawn(async move { pushing.pushed.serve().await });
        let refused = node.clone();
        running.spawn(async move { ask_again(&refused).await });
        let doubting = node.clone();
        running.spawn(async move { doubting.pushed.settle_doubts().await });
        running.spawn(async move { node.logs.keep_marks(&node.interests).await });
        Arc::new(running)
    }

    /// Does something until it is done, or the backend ends.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            stop.run_until_cancelled_owned(task).await;
        });
    }

    /// Ends all tasks and with them the connection.
    pub(super) async fn end(&self) {
        self.node.health.end();
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.node.inbox.end().await;
        self.node.queue.close();
        self.node.queue.down();
    }

    /// The same in good order: what was handed over is acknowledged, as far as time allows.
    pub(super) async fn shutdown(&self, by: Instant) {
        self.node.health.end();
        self.node.queue.drain();
        let _ = timeout_at(by, self.node.queue.until_idle()).await;
        self.end().await;
    }
}
