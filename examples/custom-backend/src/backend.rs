//! A node: what the core asks of the folder, and what it is given from there.

use std::collections::{HashMap, HashSet};
use std::{io, path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use base64::{Engine as _, prelude::BASE64_STANDARD as BASE64};
use bytes::Bytes;
use fanfare_core::{
    backend::{envelope::Envelope, *},
    message::{Epoch, LogPlace, Message, Position},
    topic::{TopicName, TopicPattern},
};
use futures_util::future::{BoxFuture, FutureExt, ready};
use parking_lot::Mutex;
use tokio::{sync::mpsc, task::JoinSet, time::Instant};

use crate::journal::{Journal, Record};
use crate::log::{Keep, Log};

/// How often a node looks for what others have written.
const LOOK: Duration = Duration::from_millis(5);

/// How many messages wait for a node at most.
const INBOX: usize = 1024;

/// A node of a cluster whose nodes share a folder. Its calls work on the file at once: that takes as long as writing a few
/// lines to the system's memory, and waits for nobody but those who are doing the same.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    node: Arc<Mutex<Option<Node>>>,
    tasks: Mutex<JoinSet<()>>,
}

#[derive(Debug)]
struct Node {
    journal: Journal,
    epoch: Epoch,
    logs: HashMap<TopicName, Log>,
    topics: HashSet<TopicName>,
    patterns: HashSet<TopicPattern>,
    ingress: Ingress,
    /// `None` is a loss.
    inbox: mpsc::Sender<Option<Incoming>>,
    is_behind: bool,
    is_started: bool,
}

impl Folder {
    /// A node of the cluster whose folder this is; the folder has to be there.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), node: Arc::default(), tasks: Mutex::default() }
    }

    fn with<T>(&self, call: impl FnOnce(&mut Node) -> io::Result<T>) -> Result<T, BackendError> {
        with(&self.node, call)
    }
}

/// Reads what is new, and does something before anybody else writes.
fn with<T>(
    node: &Mutex<Option<Node>>,
    call: impl FnOnce(&mut Node) -> io::Result<T>,
) -> Result<T, BackendError> {
    let done = match &mut *node.lock() {
        Some(node) => node.catch_up().and_then(|_lock| call(node)),
        None => Err(io::ErrorKind::NotConnected.into()),
    };
    done.map_err(|error| {
        let kind = match error.kind() {
            io::ErrorKind::NotADirectory | io::ErrorKind::PermissionDenied => BackendErrorKind::Configuration,
            io::ErrorKind::Unsupported => BackendErrorKind::Refused,
            _ => BackendErrorKind::Unavailable,
        };
        BackendError::new(kind, "folder", "it has to be a folder that can be written").caused_by(error)
    })
}

impl Node {
    fn catch_up(&mut self) -> io::Result<std::fs::File> {
        let (records, lock) = self.journal.read()?;
        for record in records {
            if self.apply(record).is_none() {
                self.give(None);
            }
        }
        if self.is_behind {
            self.is_behind = self.inbox.try_send(None).is_err();
        }
        Ok(lock)
    }

    /// `None`: it is of no kind that this node knows.
    fn apply(&mut self, record: Option<Record>) -> Option<()> {
        match record? {
            Record::Begin(epoch) => {
                self.epoch = Epoch::new(epoch);
                self.logs.clear();
            }
            Record::Control { from, to, frame } => {
                let (node, frame) = (self.ingress.node().value(), BASE64.decode(frame).ok()?);
                if self.is_started && from != node && to.is_none_or(|to| to == node) {
                    self.ingress.control(NodeId::new(from), frame.into());
                }
            }
            Record::Message(keep, envelope) => {
                let incoming = Envelope::decode(BASE64.decode(envelope).ok()?.into()).ok()?.into_incoming();
                if let (Some(keep), Some(place)) = (keep, incoming.log) {
                    let log = self.logs.entry(incoming.message.topic.clone()).or_default();
                    log.messages.push(Arc::new(Message::logged(incoming.message.clone(), place)));
                    log.keep = keep;
                }
                if self.wants(&incoming) {
                    self.give(Some(incoming));
                }
            }
        }
        Some(())
    }

    fn wants(&self, incoming: &Incoming) -> bool {
        let mut names = incoming.also.iter().map(|(name, _)| name).chain([&incoming.message.topic]);
        names.any(|name| self.topics.contains(name) || self.patterns.iter().any(|p| p.matches(name)))
    }

    /// To a node that is behind nothing is given until it can be told so.
    fn give(&mut self, arrived: Option<Incoming>) {
        self.is_behind = self.is_behind || self.inbox.try_send(arrived).is_err();
    }

    fn publish(&mut self, outgoing: &Outgoing) -> io::Result<Accepted> {
        let mut envelope = Envelope::encode(outgoing).to_vec();
        let mut accepted = Accepted::ephemeral();
        if let Some(retention) = outgoing.retention {
            let log = self.logs.entry(outgoing.message.topic.clone()).or_default();
            if let Some(first) = log.find(&outgoing.message, retention.history.idempotency_window) {
                return Ok(Accepted::duplicate_of(first));
            }
            let position = Position::new(self.epoch, log.last() + 1);
            let place = Envelope::place_header(LogPlace { position, prev: log.last() });
            envelope = [place.as_bytes(), &envelope].concat();
            accepted = Accepted::at(position);
        }
        self.journal.append(&Record::Message(outgoing.retention.map(Keep::from), BASE64.encode(envelope)))?;
        Ok(accepted)
    }

    fn subscribe(&mut self, interest: &Interest) -> Option<Position> {
        match interest {
            Interest::Topic { name, retention } => {
                self.topics.insert(name.clone());
                let last = self.logs.get(name).map_or(0, Log::last);
                retention.map(|_| Position::new(self.epoch, last))
            }
            Interest::Pattern(pattern) => {
                self.patterns.insert(pattern.clone());
                None
            }
            _ => None,
        }
    }
}

#[async_trait]
impl Backend for Folder {
    fn capabilities(&self) -> Capabilities {
        Capabilities::default().dense_offsets(true)
    }

    async fn start(&self, ingress: Ingress) -> Result<(), BackendError> {
        let (inbox, mut arrived) = mpsc::channel(INBOX);
        let journal = Journal::new(self.path.clone());
        let node = Mutex::new(Some(Node {
            journal,
            inbox,
            ingress: ingress.clone(),
            epoch: Epoch::new(0),
            logs: HashMap::new(),
            topics: HashSet::new(),
            patterns: HashSet::new(),
            is_behind: false,
            is_started: false,
        }));
        with(&node, |node| {
            node.is_started = true;
            Ok(())
        })?;
        *self.node.lock() = node.into_inner();
        let (node, teller) = (self.node.clone(), ingress.clone());
        let mut tasks = self.tasks.lock();
        tasks.spawn(async move {
            let (mut look, mut is_up) = (tokio::time::interval(LOOK), true);
            loop {
                look.tick().await;
                if with(&node, |_| Ok(())).is_ok() != is_up {
                    is_up = !is_up;
                    teller.state(if is_up { BackendState::Up } else { BackendState::Down });
                }
            }
        });
        tasks.spawn(async move {
            while let Some(arrived) = arrived.recv().await {
                match arrived {
                    Some(incoming) => ingress.deliver(incoming).await,
                    None => ingress.lost(None),
                }
            }
        });
        Ok(())
    }

    fn publish(&self, message: Outgoing) -> BoxFuture<'static, Result<Accepted, BackendError>> {
        ready(self.with(|node| node.publish(&message))).boxed()
    }

    async fn subscribe(&self, interest: &Interest) -> Result<Option<Position>, BackendError> {
        self.with(|node| Ok(node.subscribe(interest)))
    }

    async fn unsubscribe(&self, interest: &Interest) -> Result<(), BackendError> {
        if let Some(node) = &mut *self.node.lock() {
            match interest {
                Interest::Topic { name, .. } => drop(node.topics.remove(name)),
                Interest::Pattern(pattern) => drop(node.patterns.remove(pattern)),
                _ => {}
            }
        }
        Ok(())
    }

    async fn history(&self, topic: &TopicName, query: HistoryQuery) -> Result<Page, BackendError> {
        self.with(|node| node.logs.entry(topic.clone()).or_default().page(node.epoch, query))
    }

    fn control(&self, to: Option<NodeId>, frame: Bytes) -> BoxFuture<'static, Result<(), BackendError>> {
        let sent = self.with(|node| {
            let (from, to) = (node.ingress.node().value(), to.map(NodeId::value));
            node.journal.append(&Record::Control { from, to, frame: BASE64.encode(frame) })
        });
        ready(sent).boxed()
    }

    async fn shutdown(&self, _: Instant) {
        let mut tasks = std::mem::take(&mut *self.tasks.lock());
        tasks.shutdown().await;
        *self.node.lock() = None;
    }
}
