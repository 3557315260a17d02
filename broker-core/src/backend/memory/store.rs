//! The logs of all topics.

use std::{
    fmt,
    hash::RandomState,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use dashmap::DashMap;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::ids::SeenIds;
use crate::{
    backend::{Accepted, BackendError, BackendErrorKind, HistoryQuery, Interest, Page, Retention},
    log::TopicLog,
    message::{Epoch, Message, MessageParts, Position},
    topic::TopicName,
};

/// How many logs are kept: as many as a broker holds topics by default.
const MAX_LOGS: usize = 1_000_000;

/// How many logs there are before the first search for idle ones.
const FIRST_SWEEP: usize = 1024;

/// The logs of all topics. A log that has been empty for as long as it retains
/// messages is given up, and its epoch with it. Names come from clients, so the hasher is a keyed one.
pub(super) struct Store {
    logs: DashMap<TopicName, Arc<Mutex<StoredLog>>, RandomState>,
    sweep_at: AtomicUsize,
}

struct StoredLog {
    log: TopicLog,
    ids: SeenIds,
    written: Instant,
    /// How many nodes are subscribed.
    wanted: usize,
}

impl Store {
    pub(super) fn append(&self, parts: MessageParts, retention: Retention) -> Result<Accepted, BackendError> {
        let stored = self.log(&parts.topic, retention)?;
        let mut stored = stored.lock();
        let now = Instant::now();
        let scope = parts.id_scope();
        let window = retention.history.idempotency_window;
        if let Some(id) = &parts.message_id
            && let Some(first) = stored.ids.find(&scope, id, now)
        {
            return Ok(Accepted::duplicate_of(first));
        }
        let message = Arc::new(Message::logged(parts, stored.log.next_place()));
        stored.log.append(message.clone(), now);
        stored.written = now;
        if let (Some(id), Some(position)) = (&message.parts().message_id, message.position()) {
            stored.ids.remember(scope, id.clone(), position, now + window, now);
        }
        Ok(Accepted::stored(message))
    }

    pub(super) fn read(&self, topic: &TopicName, query: HistoryQuery) -> Page {
        let Some(stored) = self.logs.get(topic).map(|log| log.clone()) else {
            // A log begins when it is first written to: until then there is none to name.
            return Page::new(Epoch::new(0), 0, 0, Vec::new(), false);
        };
        let mut stored = stored.lock();
        stored.log.expire(Instant::now());
        match query {
            HistoryQuery::After { offset, limit } => stored.log.read_after(offset, limit),
            HistoryQuery::Before { offset, limit } => stored.log.read_before(offset, limit),
            HistoryQuery::Latest => stored.log.read_latest(),
        }
    }

    /// Wants a topic: its log is kept, also while it is empty, so that its positions stay valid.
    /// Says the last position of a logged one.
    pub(super) fn subscribe(&self, interest: &Interest) -> Result<Option<Position>, BackendError> {
        let Interest::Topic { name, retention: Some(retention) } = interest else { return Ok(None) };
        let stored = self.log(name, *retention)?;
        let mut stored = stored.lock();
        stored.wanted += 1;
        Ok(Some(stored.log.top()))
    }

    pub(super) fn unsubscribe(&self, interest: &Interest) {
        if let Interest::Topic { name, retention: Some(_) } = interest
            && let Some(stored) = self.logs.get(name)
        {
            let mut stored = stored.lock();
            stored.wanted = stored.wanted.saturating_sub(1);
        }
    }

    pub(super) fn forget(&self, topic: &TopicName) {
        self.logs.remove(topic);
    }

    fn log(&self, topic: &TopicName, retention: Retention) -> Result<Arc<Mutex<StoredLog>>, BackendError> {
        if let Some(log) = self.logs.get(topic) {
            return Ok(log.clone());
        }
        if self.logs.len() >= self.sweep_at.load(Ordering::Relaxed) {
            self.sweep();
        }
        if self.logs.len() >= MAX_LOGS {
            let message = "the memory backend holds as many logs as it can";
            return Err(BackendError::new(BackendErrorKind::Unavailable, "publish", message));
        }
        let new = || StoredLog {
            log: TopicLog::new(Epoch::random(), true, retention),
            ids: SeenIds::default(),
            written: Instant::now(),
            wanted: 0,
        };
        Ok(self.logs.entry(topic.clone()).or_insert_with(|| Arc::new(Mutex::new(new()))).clone())
    }

    fn sweep(&self) {
        let now = Instant::now();
        self.logs.retain(|_, stored| {
            // Somebody is about to write.
            let Some(mut log) = (Arc::strong_count(stored) == 1).then(|| stored.lock()) else { return true };
            log.log.expire(now);
            log.ids.expire(now);
            let idle = now.duration_since(log.written);
            !(log.wanted == 0 && log.log.is_empty() && log.ids.is_empty() && idle > 2 * log.log.ttl())
        });
        self.sweep_at.store((self.logs.len() * 2).max(FIRST_SWEEP), Ordering::Relaxed);
    }
}

impl Default for Store {
    fn default() -> Self {
        Self { logs: DashMap::default(), sweep_at: AtomicUsize::new(FIRST_SWEEP) }
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("logs", &self.logs.len()).finish()
    }
}
