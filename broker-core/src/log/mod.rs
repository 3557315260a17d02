//! The retained messages of one topic: a backend's log in memory, and a node's tail of it.

mod begin;
mod latest;
#[cfg(test)]
mod model;

use std::{collections::VecDeque, sync::Arc, time::Duration};

pub(crate) use begin::Begin;
use latest::Latest;
use tokio::time::Instant;

use crate::{
    backend::{Page, Retention},
    message::{Epoch, LogPlace, Message, Position, counted, now_ms},
};

/// The retained messages of one topic, in order, bounded by messages, bytes and time.
///
/// `floor` and `last` frame what is held: everything after `floor` up to `last` is here, but for the holes, where something was that is
/// lost.
pub(crate) struct TopicLog {
    epoch: Epoch,
    /// Offsets are consecutive, so that a hole can be counted.
    dense: bool,
    retention: Retention,
    floor: u64,
    last: u64,
    /// Those that something held is before, in order.
    holes: VecDeque<Hole>,
    entries: VecDeque<Entry>,
    bytes: usize,
    latest: Latest,
}

struct Entry {
    message: Arc<Message>,
    offset: u64,
    expires: Instant,
}

/// Nothing after one offset, up to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Hole {
    after: u64,
    through: u64,
}

/// What [`TopicLog::page`] found after an offset.
pub(crate) struct LogPage {
    /// In front of a hole a page ends; none where a hole comes next.
    pub(crate) messages: Vec<Arc<Message>>,
    /// The offset up to which everything has been read, or is a hole.
    pub(crate) through: u64,
    /// What comes next is a hole: it ends at `through`.
    pub(crate) is_hole: bool,
}

impl TopicLog {
    pub(crate) fn new(epoch: Epoch, dense: bool, retention: Retention) -> Self {
        Self {
            epoch,
            dense,
            retention,
            floor: 0,
            last: 0,
            holes: VecDeque::new(),
            entries: VecDeque::new(),
            bytes: 0,
            latest: Latest::new(retention.latest_keys),
        }
    }

    /// A log that begins where a page's log begins, and holds the page.
    pub(crate) fn from_page(page: &Page, dense: bool, retention: Retention, now: Instant) -> Self {
        let mut log = Self::new(page.epoch, dense, retention);
        log.floor = page.messages.first().and_then(|m| m.place()).map_or(page.last, |place| place.prev);
        log.last = log.floor;
        let wall_clock = now_ms();
        for message in &page.messages {
            // It is retained for as long as the backend retains it.
            let age = Duration::from_millis(wall_clock.saturating_sub(message.time_ms()));
            log.append_aged(message.clone(), now, age);
        }
        log
    }

    pub(crate) fn epoch(&self) -> Epoch {
        self.epoch
    }

    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    pub(crate) fn floor(&self) -> u64 {
        self.floor
    }

    /// The position of the last message, held or not.
    pub(crate) fn top(&self) -> Position {
        Position::new(self.epoch, self.last)
    }

    /// Where the next message of a log that assigns its own offsets stands.
    pub(crate) fn next_place(&self) -> LogPlace {
        LogPlace { position: Position::new(self.epoch, self.last + 1), prev: self.last }
    }

    /// How long messages are retained.
    pub(crate) fn ttl(&self) -> Duration {
        self.retention.history.ttl
    }

    /// Whether nothing is held, not even a key's last value.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.latest.is_empty()
    }

    /// Appends a message. Where its predecessor is not the last one held there is a hole between them.
    pub(crate) fn append(&mut self, message: Arc<Message>, now: Instant) {
        self.append_aged(message, now, Duration::ZERO);
    }

    /// Appends a message that was written a while ago.
    pub(crate) fn append_aged(&mut self, message: Arc<Message>, now: Instant, age: Duration) {
        let Some(place) = message.place() else { return };
        let offset = place.position.offset;
        if offset <= self.last && self.last != 0 {
            return;
        }
        self.leave_out(place.prev);
        self.last = offset;
        self.latest.put(&message, offset);
        self.bytes += message.weight();
        let history = self.retention.history;
        self.entries.push_back(Entry { message, offset, expires: now + history.ttl.saturating_sub(age) });
        while self.entries.len() > history.messages || (self.bytes > history.bytes && self.entries.len() > 1)
        {
            self.evict_first();
        }
        self.expire(now);
    }

    /// Nothing up to one offset is retained, and nothing behind what is held up to another one.
    pub(crate) fn skip_to(&mut self, floor: u64, last: u64) {
        while self.entries.front().is_some_and(|entry| entry.offset <= floor) {
            self.evict_first();
        }
        self.leave_out(last);
    }

    /// Nothing comes behind what is held, up to an offset.
    fn leave_out(&mut self, through: u64) {
        if through <= self.last {
            return;
        }
        let after = std::mem::replace(&mut self.last, through);
        if self.entries.is_empty() {
            self.floor = through;
        } else if let Some(hole) = self.holes.back_mut().filter(|hole| hole.through == after) {
            hole.through = through;
        } else {
            self.holes.push_back(Hole { after, through });
        }
    }

    /// Gives up what is past its time.
    pub(crate) fn expire(&mut self, now: Instant) {
        while self.entries.front().is_some_and(|entry| entry.expires <= now) {
            self.evict_first();
        }
    }

    fn evict_first(&mut self) {
        if let Some(entry) = self.entries.pop_front() {
            self.bytes -= entry.message.weight();
            self.floor = entry.offset;
            if let Some(hole) = self.holes.front().filter(|hole| hole.after == entry.offset) {
                self.floor = hole.through;
                self.holes.pop_front();
            }
        }
    }

    /// Whether something is missing after an offset.
    pub(crate) fn has_hole_after(&self, offset: u64) -> bool {
        self.holes.back().is_some_and(|hole| hole.through > offset)
    }

    /// Where the hole ends that begins at an offset; without one, the offset.
    fn behind_hole(&self, offset: u64) -> u64 {
        self.holes.iter().find(|hole| hole.after == offset).map_or(offset, |hole| hole.through)
    }

    /// The first message after an offset.
    pub(crate) fn next_after(&self, offset: u64) -> Option<Position> {
        self.entries.get(self.index_after(offset)).map(|entry| Position::new(self.epoch, entry.offset))
    }

    /// How many messages lie between two offsets, when that can be known.
    pub(crate) fn count_between(&self, after: u64, through: u64) -> Option<u64> {
        counted(self.dense, after, through)
    }

    /// The first messages after an offset, at most so many messages and bytes, but at least one
    /// where there is one, or the hole that comes next. `after` must not lie below the floor.
    pub(crate) fn page(&self, after: u64, max_messages: usize, max_bytes: usize) -> LogPage {
        let mut page = LogPage { messages: Vec::new(), through: after, is_hole: false };
        let hole = self.holes.iter().find(|hole| hole.through > after);
        if let Some(hole) = hole.filter(|hole| hole.after <= after) {
            return LogPage { through: hole.through, is_hole: true, ..page };
        }
        let end = hole.map_or(self.entries.len(), |hole| self.index_after(hole.after));
        let mut bytes = 0;
        for entry in self.entries.range(self.index_after(after)..end).take(max_messages) {
            bytes += entry.message.weight();
            if bytes > max_bytes && !page.messages.is_empty() {
                return page;
            }
            page.messages.push(entry.message.clone());
            page.through = entry.offset;
        }
        page
    }

    /// The first messages after an offset, as a backend's answer.
    pub(crate) fn read_after(&self, after: u64, limit: usize) -> Page {
        let from = self.index_after(after);
        let messages: Vec<_> = self.entries.range(from..).take(limit).map(|e| e.message.clone()).collect();
        let more = from + messages.len() < self.entries.len();
        Page::new(self.epoch, self.floor, self.last, messages, more)
    }

    /// The last messages before an offset, as a backend's answer.
    pub(crate) fn read_before(&self, before: Option<u64>, limit: usize) -> Page {
        let to = before.map_or(self.entries.len(), |b| self.entries.partition_point(|e| e.offset < b));
        let from = to.saturating_sub(limit);
        let messages = self.entries.range(from..to).map(|e| e.message.clone()).collect();
        Page::new(self.epoch, self.floor, self.last, messages, from > 0)
    }

    /// The last value of each key, in the log's order, as a backend's answer.
    pub(crate) fn read_latest(&self) -> Page {
        Page::new(self.epoch, self.floor, self.last, self.latest.values().cloned().collect(), false)
    }

    /// Takes in the last values that a backend retained from before what is held.
    pub(crate) fn restore_latest(&mut self, values: &[Arc<Message>]) {
        for message in values {
            if let Some(place) = message.place() {
                self.latest.put(message, place.position.offset);
            }
        }
    }

    fn index_after(&self, after: u64) -> usize {
        self.entries.partition_point(|entry| entry.offset <= after)
    }
}
