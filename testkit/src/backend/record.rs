//! What has arrived at a node.

use std::{
    collections::HashMap,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use bytes::Bytes;
use fanfare_core::{
    backend::{Arrivals, Backend, BackendState, HistoryQuery, Incoming, NodeId},
    topic::TopicName,
};
use parking_lot::Mutex;
use tokio::sync::watch;

/// Takes the place of a broker, and remembers everything.
#[derive(Default)]
pub(crate) struct Record {
    seen: Mutex<Seen>,
    changed: watch::Sender<u64>,
    /// While it is shut, `deliver` waits.
    shut: watch::Sender<bool>,
    /// Calls of `deliver` that wait at the gate.
    waiting: AtomicUsize,
    /// Whether `deliver` reads the topic's history before it returns, and of which backend.
    reads_history: AtomicBool,
    backend: Mutex<Option<Weak<dyn Backend>>>,
}

/// What has arrived.
#[derive(Clone, Default)]
pub(crate) struct Seen {
    pub(crate) messages: Vec<Incoming>,
    pub(crate) lost: Vec<Option<TopicName>>,
    /// How many messages had come at each loss.
    pub(crate) lost_at: Vec<usize>,
    pub(crate) frames: Vec<(NodeId, Bytes)>,
    pub(crate) states: Vec<BackendState>,
    /// How often `deliver` was called for a topic while another call for it was at work.
    pub(crate) overlaps: usize,
    at_work: HashMap<TopicName, usize>,
}

impl Seen {
    /// The messages of a topic, as they came.
    pub(crate) fn of<'a>(&'a self, name: &'a TopicName) -> impl Iterator<Item = &'a Incoming> {
        self.messages.iter().filter(move |incoming| incoming.message.topic == *name)
    }

    /// The same without those that have come before: what the core makes of it.
    pub(crate) fn new_of<'a>(&'a self, name: &'a TopicName) -> Vec<&'a Incoming> {
        let mut new: Vec<&Incoming> = Vec::new();
        for incoming in self.of(name) {
            let is_repeat = |before: &&Incoming| match incoming.log {
                Some(place) => before.log.is_some_and(|log| log.position == place.position),
                None => before.origin == incoming.origin,
            };
            if !new.iter().any(is_repeat) {
                new.push(incoming);
            }
        }
        new
    }

    /// The payloads of [`new_of`](Self::new_of), as text.
    pub(crate) fn texts(&self, name: &TopicName) -> Vec<String> {
        self.new_of(name).iter().map(|incoming| text(incoming)).collect()
    }

    /// How many messages of a topic have come, for cheap conditions.
    pub(crate) fn count(&self, name: &TopicName) -> usize {
        self.of(name).count()
    }

    /// Whether it was told that messages of a topic were lost.
    pub(crate) fn lost_of(&self, name: &TopicName) -> bool {
        self.lost.iter().any(|lost| lost.as_ref().is_none_or(|lost| lost == name))
    }
}

/// A payload as text.
pub(crate) fn text(incoming: &Incoming) -> String {
    incoming.message.payload.as_str().unwrap_or("(binary)").to_owned()
}

impl Record {
    pub(crate) fn watch(&self, backend: &Arc<dyn Backend>) {
        *self.backend.lock() = Some(Arc::downgrade(backend));
    }

    pub(crate) fn seen<R>(&self, look: impl FnOnce(&Seen) -> R) -> R {
        look(&self.seen.lock())
    }

    /// Forgets all, so that what follows is looked at alone.
    pub(crate) fn clear(&self) {
        let mut seen = self.seen.lock();
        let at_work = std::mem::take(&mut seen.at_work);
        *seen = Seen { at_work, ..Seen::default() };
    }

    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    pub(crate) fn shut(&self) {
        self.shut.send_replace(true);
    }

    pub(crate) fn open(&self) {
        self.shut.send_replace(false);
    }

    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::SeqCst)
    }

    pub(crate) fn read_history(&self) {
        self.reads_history.store(true, Ordering::SeqCst);
    }

    fn change(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut self.seen.lock());
        self.tell();
    }

    fn tell(&self) {
        self.changed.send_modify(|count| *count += 1);
    }
}

/// A call of `deliver` at work.
struct AtWork<'a> {
    record: &'a Record,
    name: TopicName,
}

impl<'a> AtWork<'a> {
    fn new(record: &'a Record, name: &TopicName) -> Self {
        record.change(|seen| {
            let at_work = seen.at_work.entry(name.clone()).or_default();
            *at_work += 1;
            if *at_work > 1 {
                seen.overlaps += 1;
            }
        });
        Self { record, name: name.clone() }
    }
}

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        self.record.change(|seen| {
            if let Some(at_work) = seen.at_work.get_mut(&self.name) {
                *at_work -= 1;
            }
        });
    }
}

#[async_trait]
impl Arrivals for Record {
    async fn deliver(&self, incoming: Incoming) {
        let _at_work = AtWork::new(self, &incoming.message.topic);
        // Another call of the same topic, if there is one, gets its chance to begin.
        tokio::task::yield_now().await;
        let mut shut = self.shut.subscribe();
        if *shut.borrow() {
            self.waiting.fetch_add(1, Ordering::SeqCst);
            self.tell();
            let _ = shut.wait_for(|shut| !shut).await;
            self.waiting.fetch_sub(1, Ordering::SeqCst);
        }
        if self.reads_history.load(Ordering::SeqCst) {
            let backend = self.backend.lock().as_ref().and_then(Weak::upgrade);
            if let Some(backend) = backend {
                let query = HistoryQuery::After { offset: 0, limit: 1 };
                let page = backend.history(&incoming.message.topic, query).await;
                assert!(page.is_ok(), "the history cannot be read from within deliver: {page:?}");
            }
        }
        self.change(|seen| seen.messages.push(incoming));
    }

    fn lost(&self, topic: Option<&TopicName>) {
        self.change(|seen| {
            seen.lost.push(topic.cloned());
            seen.lost_at.push(seen.messages.len());
        });
    }

    fn control(&self, from: NodeId, frame: Bytes) {
        self.change(|seen| seen.frames.push((from, frame)));
    }

    fn state(&self, state: BackendState) {
        self.change(|seen| seen.states.push(state));
    }
}
