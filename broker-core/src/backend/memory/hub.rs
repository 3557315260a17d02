//! Several brokers in one process, connected by memory.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;
use bytes::Bytes;
use dashmap::DashMap;
use futures_util::{FutureExt, future::BoxFuture};
use parking_lot::Mutex;
use rustc_hash::{FxBuildHasher, FxHashSet};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::Instant,
};

use super::store::Store;
use crate::{
    backend::{
        Accepted, Backend, BackendError, BackendErrorKind, BackendState, Capabilities, HistoryQuery,
        Incoming, Ingress, Interest, NodeId, Outgoing, Page,
    },
    message::Position,
    topic::{PatternTrie, TopicName, TopicPattern},
};

/// How many messages wait for a node; a node that is further behind loses messages, and is told.
const MAIL: usize = 1024;

/// Connects several brokers of one process, as Redis or NATS connects processes:
/// for tests of what spans nodes. Each broker gets a [`HubNode`] as its backend.
#[derive(Clone, Debug, Default)]
pub struct MemoryHub {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    store: Store,
    nodes: DashMap<u64, Arc<Node>, FxBuildHasher>,
    /// Orders appending to the logs with mailing what was appended.
    order: Mutex<()>,
}

struct Node {
    mail: mpsc::Sender<(u64, Mail)>,
    id: NodeId,
    topics: Mutex<FxHashSet<TopicName>>,
    patterns: Mutex<PatternTrie<()>>,
    /// Mail was lost since the last that arrived.
    lost: AtomicBool,
    /// The node is cut off from the hub.
    cut: AtomicBool,
    /// How often it was: what was on its way then does not arrive any more, not even if its delivery has begun.
    cuts: watch::Sender<u64>,
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("id", &self.id).finish_non_exhaustive()
    }
}

enum Mail {
    Message(Box<Incoming>),
    Control(NodeId, Bytes),
}

impl MemoryHub {
    /// A hub without nodes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The backend of one more node.
    #[must_use]
    pub fn node(&self) -> HubNode {
        HubNode { shared: self.shared.clone(), state: Mutex::default() }
    }

    /// Loses the log of a topic, as a wiped server would.
    pub fn forget(&self, topic: &TopicName) {
        self.shared.store.forget(topic);
    }
}

/// The backend of one node of a [`MemoryHub`].
#[derive(Debug)]
pub struct HubNode {
    shared: Arc<Shared>,
    state: Mutex<Option<Running>>,
}

#[derive(Debug)]
struct Running {
    node: Arc<Node>,
    ingress: Ingress,
    task: JoinHandle<()>,
}

impl HubNode {
    /// Cuts the node off, or connects it again: what is published elsewhere meanwhile does not
    /// arrive, and what it publishes itself is refused.
    pub fn set_connected(&self, connected: bool) {
        if let Some(running) = &*self.state.lock() {
            if connected {
                // The broker finds out on its own what it missed meanwhile.
                running.node.lost.store(false, Ordering::SeqCst);
            }
            if !running.node.cut.swap(!connected, Ordering::SeqCst) && !connected {
                running.node.cuts.send_modify(|cuts| *cuts += 1);
            }
            running.ingress.state(if connected { BackendState::Up } else { BackendState::Down });
        }
    }

    fn node(&self, operation: &'static str) -> Result<Arc<Node>, BackendError> {
        match &*self.state.lock() {
            Some(running) if !running.node.cut.load(Ordering::SeqCst) => Ok(running.node.clone()),
            _ => Err(BackendError::new(
                BackendErrorKind::Unavailable,
                operation,
                "the node is cut off from its hub",
            )),
        }
    }
}

impl Shared {
    fn mail(&self, incoming: &Incoming) {
        for node in &self.nodes {
            if node.wants(incoming) {
                node.post(Mail::Message(Box::new(incoming.clone())));
            }
        }
    }
}

impl Node {
    fn wants(&self, incoming: &Incoming) -> bool {
        let topics = self.topics.lock();
        let patterns = self.patterns.lock();
        let wanted = |name: &TopicName| topics.contains(name) || patterns.best(name).is_some();
        wanted(&incoming.message.topic) || incoming.also.iter().any(|(name, _)| wanted(name))
    }

    fn post(&self, mail: Mail) {
        let cuts = *self.cuts.borrow();
        if self.cut.load(Ordering::SeqCst) || self.mail.try_send((cuts, mail)).is_err() {
            self.lost.store(true, Ordering::SeqCst);
        }
    }
}

#[async_trait]
impl Backend for HubNode {
    fn capabilities(&self) -> Capabilities {
        Capabilities::default().dense_offsets(true)
    }

    async fn start(&self, ingress: Ingress) -> Result<(), BackendError> {
        let (mail, mut inbox) = mpsc::channel(MAIL);
        let node = Arc::new(Node {
            mail,
            id: ingress.node(),
            topics: Mutex::default(),
            patterns: Mutex::default(),
            lost: AtomicBool::new(false),
            cut: AtomicBool::new(false),
            cuts: watch::Sender::new(0),
        });
        self.shared.nodes.insert(node.id.value(), node.clone());
        let task = tokio::spawn({
            let (node, ingress) = (node.clone(), ingress.clone());
            async move {
                let mut now = node.cuts.subscribe();
                while let Some((cuts, mail)) = inbox.recv().await {
                    match mail {
                        _ if cuts != *now.borrow() => {}
                        Mail::Message(incoming) => tokio::select! {
                            biased;
                            _ = now.wait_for(|now| *now != cuts) => {}
                            () = ingress.deliver(*incoming) => {}
                        },
                        Mail::Control(from, frame) => ingress.control(from, frame),
                    }
                    if inbox.is_empty() && node.lost.swap(false, Ordering::SeqCst) {
                        ingress.lost(None);
                    }
                }
            }
        });
        *self.state.lock() = Some(Running { node, ingress, task });
        Ok(())
    }

    fn publish(&self, message: Outgoing) -> BoxFuture<'static, Result<Accepted, BackendError>> {
        let publish = || {
            self.node("publish")?;
            let _order = self.shared.order.lock();
            match message.retention {
                None => {
                    let incoming =
                        Incoming::ephemeral(message.message, message.origin).with_also(message.also);
                    self.shared.mail(&incoming);
                    Ok(Accepted::ephemeral())
                }
                Some(retention) => {
                    let mut accepted = self.shared.store.append(message.message, retention)?;
                    if let Some(stored) = accepted.stored.take()
                        && let Some(place) = stored.place()
                    {
                        let incoming = Incoming::logged(stored.parts().clone(), place);
                        self.shared.mail(&incoming.from_origin(message.origin));
                    }
                    Ok(accepted)
                }
            }
        };
        std::future::ready(publish()).boxed()
    }

    async fn subscribe(&self, interest: &Interest) -> Result<Option<Position>, BackendError> {
        let node = self.node("subscribe")?;
        let new = match interest {
            Interest::Topic { name, .. } => node.topics.lock().insert(name.clone()),
            Interest::Pattern(pattern) => node.add(pattern),
        };
        let top = self.shared.store.subscribe(interest)?;
        if !new {
            self.shared.store.unsubscribe(interest);
        }
        Ok(top)
    }

    async fn unsubscribe(&self, interest: &Interest) -> Result<(), BackendError> {
        // Also while it is cut off: what it wants is renewed on return.
        let Some(node) = self.state.lock().as_ref().map(|running| running.node.clone()) else {
            return Ok(());
        };
        match interest {
            Interest::Topic { name, .. } => {
                if node.topics.lock().remove(name) {
                    self.shared.store.unsubscribe(interest);
                }
            }
            Interest::Pattern(pattern) => {
                node.patterns.lock().remove(pattern, |()| true);
            }
        }
        Ok(())
    }

    async fn history(&self, topic: &TopicName, query: HistoryQuery) -> Result<Page, BackendError> {
        self.node("history")?;
        Ok(self.shared.store.read(topic, query))
    }

    fn control(&self, to: Option<NodeId>, frame: Bytes) -> BoxFuture<'static, Result<(), BackendError>> {
        let send = || {
            let from = self.node("control")?.id;
            for node in &self.shared.nodes {
                if node.id != from && to.is_none_or(|to| to == node.id) {
                    node.post(Mail::Control(from, frame.clone()));
                }
            }
            Ok(())
        };
        std::future::ready(send()).boxed()
    }

    async fn shutdown(&self, _: Instant) {
        let running = self.state.lock().take();
        if let Some(running) = running {
            self.shared.nodes.remove(&running.node.id.value());
            running.task.abort();
            let _ = running.task.await;
        }
    }
}

impl Node {
    fn add(&self, pattern: &TopicPattern) -> bool {
        let mut patterns = self.patterns.lock();
        let new = patterns.get(pattern).is_empty();
        if new {
            patterns.insert(pattern.clone(), ());
        }
        new
    }
}
