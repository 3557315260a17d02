//! A node: what the core asks of the folder, and what it is given from there.

use std::{fs::File, io, path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use base64::{Engine as _, prelude::BASE64_STANDARD as BASE64};
use bytes::Bytes;
use fanfare_core::backend::blocks::{Inbox, Interests, Logs};
use fanfare_core::backend::{envelope::Envelope, *};
use fanfare_core::{message::Position, topic::TopicName};
use futures_util::future::{BoxFuture, FutureExt, ready};
use parking_lot::Mutex;
use tokio::{task::JoinSet, time::Instant};

use crate::journal::{Journal, Record};

/// How often a node looks for what others have written.
const LOOK: Duration = Duration::from_millis(5);

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
    logs: Logs,
    interests: Interests,
    inbox: Arc<Inbox>,
}

impl Folder {
    /// A node of the cluster whose folder this is; the folder has to be there.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), node: Arc::default(), tasks: Mutex::default() }
    }
}

/// Reads what is new, and does something before anybody else writes.
fn with<T>(
    node: &Mutex<Option<Node>>,
    call: impl FnOnce(&mut Node, &File) -> Result<T, BackendError>,
) -> Result<T, BackendError> {
    let mut node = node.lock();
    let node = node.as_mut().ok_or_else(|| failed(io::ErrorKind::NotConnected.into()))?;
    let file = node.catch_up().map_err(failed)?;
    call(node, &file)
}

fn failed(error: io::Error) -> BackendError {
    let kind = match error.kind() {
        io::ErrorKind::NotADirectory | io::ErrorKind::PermissionDenied => BackendErrorKind::Configuration,
        _ => BackendErrorKind::Unavailable,
    };
    BackendError::new(kind, "folder", "it has to be a folder that can be written").caused_by(error)
}

impl Node {
    fn catch_up(&mut self) -> io::Result<File> {
        let epoch = self.journal.epoch;
        let (file, records) = self.journal.read()?;
        let mut is_lost = self.journal.epoch != epoch;
        if is_lost {
            self.logs = Logs::of_epoch(self.journal.epoch);
        }
        for record in records {
            is_lost |= record.and_then(|record| self.take(record)).is_none();
        }
        if is_lost {
            self.inbox.lost(None);
        }
        Ok(file)
    }

    /// `None`: nobody can read it.
    fn take(&self, record: Record) -> Option<()> {
        match record {
            Record::Message(retention, envelope) => {
                let incoming = Envelope::decode(BASE64.decode(envelope).ok()?.into()).ok()?.into_incoming();
                if let Some(retention) = retention {
                    self.logs.put(&incoming, retention);
                }
                if self.interests.matches(&incoming) {
                    self.inbox.deliver(incoming);
                }
            }
            Record::Control(from, to, frame) => {
                let (here, frame) = (self.inbox.node().value(), BASE64.decode(frame).ok()?);
                if from != here && to.is_none_or(|to| to == here) {
                    self.inbox.control(NodeId::new(from), frame.into());
                }
            }
        }
        Some(())
    }
}

#[async_trait]
impl Backend for Folder {
    fn capabilities(&self) -> Capabilities {
        Capabilities::default().dense_offsets(true)
    }

    async fn start(&self, ingress: Ingress) -> Result<(), BackendError> {
        let (journal, inbox) = (Journal::new(&self.path), Arc::new(Inbox::new(ingress)));
        let (logs, interests) = (Logs::new(), Interests::new());
        *self.node.lock() = Some(Node { journal, logs, interests, inbox: inbox.clone() });
        with(&self.node, |_, _| Ok(()))?;
        inbox.begin();
        let node = self.node.clone();
        self.tasks.lock().spawn(async move {
            let mut look = tokio::time::interval(LOOK);
            loop {
                look.tick().await;
                let is_up = with(&node, |_, _| Ok(())).is_ok();
                inbox.state(if is_up { BackendState::Up } else { BackendState::Down });
            }
        });
        Ok(())
    }

    fn publish(&self, message: Outgoing) -> BoxFuture<'static, Result<Accepted, BackendError>> {
        let stored = with(&self.node, |node, file| {
            let (accepted, place) = node.logs.place(&message)?;
            if !accepted.duplicate {
                let envelope = BASE64.encode(Envelope::encode_at(&message, place));
                node.journal.append(file, &Record::Message(message.retention, envelope)).map_err(failed)?;
            }
            Ok(accepted)
        });
        ready(stored).boxed()
    }

    async fn subscribe(&self, interest: &Interest) -> Result<Option<Position>, BackendError> {
        with(&self.node, |node, _| {
            node.interests.add(interest);
            node.logs.open(interest)
        })
    }

    async fn unsubscribe(&self, interest: &Interest) -> Result<(), BackendError> {
        if let Some(node) = &*self.node.lock() {
            node.interests.remove(interest);
        }
        Ok(())
    }

    async fn history(&self, topic: &TopicName, query: HistoryQuery) -> Result<Page, BackendError> {
        with(&self.node, |node, _| Ok(node.logs.read(topic, query)))
    }

    fn control(&self, to: Option<NodeId>, frame: Bytes) -> BoxFuture<'static, Result<(), BackendError>> {
        let sent = with(&self.node, |node, file| {
            let (from, to) = (node.inbox.node().value(), to.map(NodeId::value));
            node.journal.append(file, &Record::Control(from, to, BASE64.encode(frame))).map_err(failed)
        });
        ready(sent).boxed()
    }

    async fn shutdown(&self, _: Instant) {
        let mut tasks = std::mem::take(&mut *self.tasks.lock());
        tasks.shutdown().await;
        let node = self.node.lock().take();
        if let Some(node) = node {
            node.inbox.end().await;
        }
    }
}
