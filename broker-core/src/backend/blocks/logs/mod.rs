//! The logs of all topics, in memory.

mod ids;
mod stored;
#[cfg(test)]
mod tests;

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
use stored::Stored;
use tokio::time::Instant;

use crate::{
    backend::{
        Accepted, BackendError, BackendErrorKind, HistoryQuery, Incoming, Interest, Outgoing, Page, Retention,
    },
    message::{Epoch, LogPlace, Message, Position},
    topic::TopicName,
};

/// How many logs are kept: as many as a broker holds topics by default.
const MAX_LOGS: usize = 1_000_000;

/// How many logs there are before the first search for idle ones.
const FIRST_SWEEP: usize = 1024;

/// The logs of logged topics in memory: order, retention, last values, and the `message_id`s that were seen.
///
/// Offsets are [dense](crate::backend::Capabilities::dense_offsets). There are two ways to use it:
///
/// - *One holds them.* [`append`](Self::append) stores a message and says where. Each log has an epoch of its own; one that has been
///   empty for twice the time that it retains messages, and is not [open](Self::open), is given up with its epoch.
/// - *Each node holds all of them,* and something that all nodes see in one order says what is in them: a file, a database, a
///   consensus. There one epoch is that of all logs, which are never given up but together: [`of_epoch`](Self::of_epoch). Who
///   writes next asks where with [`place`](Self::place), and everybody [`put`](Self::put)s what was written, the writer included.
pub struct Logs {
    /// Names come from clients, so the hasher is a keyed one.
    logs: DashMap<TopicName, Arc<Mutex<Stored>>, RandomState>,
    /// That of all logs, where it is one.
    epoch: Option<Epoch>,
    sweep_at: AtomicUsize,
}

impl Logs {
    /// Logs that have an epoch of their own each.
    #[must_use]
    pub fn new() -> Self {
        Self { logs: DashMap::default(), epoch: None, sweep_at: AtomicUsize::new(FIRST_SWEEP) }
    }

    /// Logs that have one epoch.
    #[must_use]
    pub fn of_epoch(epoch: Epoch) -> Self {
        Self { epoch: Some(epoch), ..Self::new() }
    }

    /// Stores a message at the end of its topic's log: [`Accepted::stored`]. A repeat of a `message_id` is
    /// [`Accepted::duplicate_of`] the first one, and an ephemeral message [`Accepted::ephemeral`]: neither is stored.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](BackendErrorKind::Unavailable) where it would be one more log than there may be.
    pub fn append(&self, outgoing: Outgoing) -> Result<Accepted, BackendError> {
        let Some(retention) = outgoing.retention else { return Ok(Accepted::ephemeral()) };
        let stored = self.log(&outgoing.message.topic, retention)?;
        let mut stored = stored.lock();
        let now = Instant::now();
        if let Some(first) = stored.first(&outgoing.message, now) {
            return Ok(Accepted::duplicate_of(first));
        }
        let message = Arc::new(Message::logged(outgoing.message, stored.log.next_place()));
        stored.put(message.clone(), retention, now);
        Ok(Accepted::stored(message))
    }

    /// What is to be answered of a message, as by [`append`](Self::append), and the place that it is to be written at: `None` for an
    /// ephemeral one, and for a repeat, which is not to be written.
    ///
    /// # Errors
    ///
    /// As for [`append`](Self::append).
    pub fn place(&self, outgoing: &Outgoing) -> Result<(Accepted, Option<LogPlace>), BackendError> {
        let Some(retention) = outgoing.retention else { return Ok((Accepted::ephemeral(), None)) };
        let stored = self.log(&outgoing.message.topic, retention)?;
        let mut stored = stored.lock();
        if let Some(first) = stored.first(&outgoing.message, Instant::now()) {
            return Ok((Accepted::duplicate_of(first), None));
        }
        let place = stored.log.next_place();
        Ok((Accepted::at(place.position), Some(place)))
    }

    /// Stores a message that has its place: what follows the end of its log. One that does not leaves a hole before it, one
    /// that was stored before changes nothing, and one of another epoch begins the log anew. An ephemeral one has no place.
    pub fn put(&self, incoming: &Incoming, retention: Retention) {
        let Some(place) = incoming.log else { return };
        let new = || Arc::new(Mutex::new(Stored::new(place.position.epoch, retention)));
        let stored = self.logs.entry(incoming.message.topic.clone()).or_insert_with(new).clone();
        let message = Arc::new(Message::logged(incoming.message.clone(), place));
        stored.lock().put(message, retention, Instant::now());
    }

    /// Reads a part of a topic's log. One that was never written to is empty.
    #[must_use]
    pub fn read(&self, topic: &TopicName, query: HistoryQuery) -> Page {
        match self.logs.get(topic).map(|log| log.clone()) {
            Some(stored) => stored.lock().read(query, Instant::now()),
            // A log begins when it is first written to: until then there is none to name.
            None => Page::new(self.epoch.unwrap_or(Epoch::new(0)), 0, 0, Vec::new(), false),
        }
    }

    /// Where the log ends of a topic that is wanted; `None` where it is ephemeral, and of a pattern. Until it is
    /// [closed](Self::close) as often as it was opened a log is not given up, also while it is empty: its positions stay valid.
    ///
    /// # Errors
    ///
    /// As for [`append`](Self::append).
    pub fn open(&self, interest: &Interest) -> Result<Option<Position>, BackendError> {
        let Interest::Topic { name, retention: Some(retention) } = interest else { return Ok(None) };
        if let (Some(epoch), None) = (self.epoch, self.logs.get(name)) {
            return Ok(Some(Position::new(epoch, 0)));
        }
        let stored = self.log(name, *retention)?;
        let mut stored = stored.lock();
        stored.opened += 1;
        Ok(Some(stored.log.top()))
    }

    /// Whoever has opened a topic's log has no use for it any more.
    pub fn close(&self, interest: &Interest) {
        if let Interest::Topic { name, retention: Some(_) } = interest
            && let Some(stored) = self.logs.get(name)
        {
            let mut stored = stored.lock();
            stored.opened = stored.opened.saturating_sub(1);
        }
    }

    /// Leaves out so many offsets behind the end of a topic's log: messages that were there, and are not any more, nobody knows of
    /// how many where it is [`UNCOUNTABLE`](crate::backend::Capabilities::UNCOUNTABLE) or more. What was retained before stays.
    pub fn skip(&self, topic: &TopicName, offsets: u64) {
        if let Some(stored) = self.logs.get(topic) {
            let log = &mut stored.lock().log;
            let last = log.last().saturating_add(offsets);
            log.skip_to(0, last);
        }
    }

    /// Loses a topic's log.
    pub fn forget(&self, topic: &TopicName) {
        self.logs.remove(topic);
    }

    fn log(&self, topic: &TopicName, retention: Retention) -> Result<Arc<Mutex<Stored>>, BackendError> {
        if let Some(log) = self.logs.get(topic) {
            return Ok(log.clone());
        }
        if self.epoch.is_none() && self.logs.len() >= self.sweep_at.load(Ordering::Relaxed) {
            self.sweep();
        }
        if self.logs.len() >= MAX_LOGS {
            let message = "there are as many logs in memory as there may be";
            return Err(BackendError::new(BackendErrorKind::Unavailable, "publish", message));
        }
        let new = || Arc::new(Mutex::new(Stored::new(self.epoch.unwrap_or_else(Epoch::random), retention)));
        Ok(self.logs.entry(topic.clone()).or_insert_with(new).clone())
    }

    fn sweep(&self) {
        let now = Instant::now();
        self.logs.retain(|_, stored| {
            // Of several, somebody is about to write.
            Arc::strong_count(stored) > 1 || !stored.lock().is_idle(now)
        });
        self.sweep_at.store((self.logs.len() * 2).max(FIRST_SWEEP), Ordering::Relaxed);
    }
}

impl Default for Logs {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Logs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Logs").field("logs", &self.logs.len()).finish()
    }
}
