//! Reads the log of a topic.
//!
//! A stream holds a few more entries of a topic than it retains. What was dropped of a topic is always what came first, so all that
//! follows the first entry there is, is there; and the last entry that is too many, or too old, tells exactly where
//! what is retained begins.

use std::{sync::Arc, time::Duration};

use fanfare_core::{
    backend::{HistoryQuery, Page, envelope::Envelope},
    message::{LogPlace, Message, Position},
    topic::TopicName,
};

use super::{
    Keep, Logs,
    api::Refusal,
    read::{Entries, Entry},
    stream::Stream,
};
use crate::error::Trouble;

/// A log of so many entries is read whole.
const SMALL: u64 = 512;

/// How often a read is begun again because the stream was replaced, or a server did not have all yet.
const TRIES: usize = 4;

/// How often a page is read that turns out to have no message in it, though there are more: each time of four times as many entries.
const REACHES: usize = 12;

/// What is known of a topic's log.
pub(super) struct Frontier {
    stream: Arc<Stream>,
    subject: String,
    keep: Keep,
    /// The last entry.
    last: Entry,
    /// An offset, and how many entries there are from it on.
    from: u64,
    count: u64,
}

/// A part of a log.
struct Part {
    entries: Vec<Entry>,
    /// The offset that stands before the first of them.
    before: u64,
    /// Where the log begins: before the part, or with it.
    floor: Floor,
    /// How many come after them.
    pending: u64,
}

/// Where a log begins.
#[derive(Clone, Copy)]
enum Floor {
    /// Before the part, which begins where it was asked for.
    First,
    /// With the part: what was before is not retained.
    Part,
    /// After this offset.
    At(u64),
}

/// How soon a server is asked again that did not have all yet.
const AGAIN: Duration = Duration::from_millis(20);

impl Logs {
    /// Reads a part of a topic's log.
    pub(crate) async fn history(&self, topic: &TopicName, query: HistoryQuery) -> Result<Page, Trouble> {
        let mut tries = 0;
        loop {
            let stream = self.stream().await?;
            let read = async {
                let page = match query {
                    HistoryQuery::After { offset, limit } => self.after(&stream, topic, offset, limit).await,
                    HistoryQuery::Before { offset, limit } => {
                        self.before(&stream, topic, offset, limit).await
                    }
                    HistoryQuery::Latest => self.latest(&stream, topic).await,
                    _ => Err(Refusal::Trouble(Trouble::refused("a query of a kind that is not known"))),
                }?;
                // Asked afterwards: then all of it was read of this one.
                if self.is_same(&stream).await? { Ok(page) } else { Err(Refusal::Nobody) }
            };
            match read.await {
                Ok(page) => return Ok(page),
                Err(refusal) if refusal.is_gone() && tries < TRIES => self.forget(),
                Err(refusal) => return Err(refusal.into_trouble()),
            }
            tries += 1;
        }
    }

    async fn after(
        &self,
        stream: &Arc<Stream>,
        topic: &TopicName,
        offset: u64,
        limit: usize,
    ) -> Result<Page, Refusal> {
        let mut reach = limit;
        for _ in 0..REACHES {
            let from = offset.saturating_add(1);
            let Some((log, entries)) = self.frontier(stream, topic, from, reach).await? else {
                return Ok(nothing(stream));
            };
            let is_end = log.last.stands_for() <= offset && offset <= log.last.offset;
            if entries.is_empty() && log.count == 0 && is_end {
                // Where there is nothing, nothing is missing.
                let part = Part { entries, before: offset, floor: Floor::At(offset), pending: 0 };
                return Ok(log.page(&part, offset, limit));
            }
            let part = self.part_after(&log, entries, offset, reach).await?;
            let part = self.whole(&log, part).await?;
            let page = log.page(&part, offset, limit);
            if limit == 0 || !says_nothing(&page) {
                return Ok(page);
            }
            reach = reach.saturating_mul(4);
        }
        Err(too_fast())
    }

    /// What is retained after an offset: all of it is where the first entry there is.
    async fn part_after(
        &self,
        log: &Frontier,
        mut entries: Vec<Entry>,
        offset: u64,
        limit: usize,
    ) -> Result<Part, Refusal> {
        let read = entries.len() as u64;
        let pending = log.count.saturating_sub(read);
        if entries.first().is_none_or(|entry| log.retains(entry, log.count)) {
            return Ok(Part { entries, before: offset, floor: Floor::First, pending });
        }
        if log.count > SMALL {
            let (start, before) = self.seek(log, |entry, count| log.retains(entry, count)).await?;
            let (entries, pending) = self.read(log, start, limit).await?;
            let before = before.map_or(offset, |(entry, _)| entry.stands_for());
            return Ok(Part { entries, before, floor: Floor::Part, pending });
        }
        if let Some(next) = entries.last().filter(|_| pending > 0).map(|last| last.offset + 1) {
            entries.extend(self.read(log, next, usize::MAX).await?.0);
        }
        Ok(Part { entries, before: offset, floor: Floor::First, pending: 0 })
    }

    async fn before(
        &self,
        stream: &Arc<Stream>,
        topic: &TopicName,
        offset: Option<u64>,
        limit: usize,
    ) -> Result<Page, Refusal> {
        let mut reach = limit;
        for _ in 0..REACHES {
            let Some((log, _)) = self.frontier(stream, topic, 1, 1).await? else {
                return Ok(nothing(stream));
            };
            let (part, more) = self.part_before(&log, offset, reach).await?;
            let part = self.whole(&log, part).await?;
            let page = log.end_of(&part, offset, limit, more);
            if limit == 0 || !says_nothing(&page) {
                return Ok(page);
            }
            reach = reach.saturating_mul(4);
        }
        Err(too_fast())
    }

    /// About so many entries before an offset, and whether there are more before them.
    async fn part_before(
        &self,
        log: &Frontier,
        offset: Option<u64>,
        limit: usize,
    ) -> Result<(Part, bool), Refusal> {
        if log.count <= SMALL {
            let (entries, pending) = self.read(log, 1, usize::MAX).await?;
            return Ok((Part { entries, before: 0, floor: Floor::First, pending }, false));
        }
        let behind = match offset {
            Some(offset) => {
                let Entries { entries, pending } =
                    self.entries(&log.stream.name, &log.subject, offset, 1).await?;
                entries.len() as u64 + pending
            }
            None => 0,
        };
        let wanted = behind.saturating_add(limit as u64);
        let (start, before) =
            self.seek(log, |entry, count| count <= wanted && log.retains(entry, count)).await?;
        let (entries, pending) = self.read(log, start, limit).await?;
        let more = before.as_ref().is_some_and(|(entry, count)| log.retains(entry, *count));
        let before = before.map_or(0, |(entry, _)| entry.stands_for());
        Ok((Part { entries, before, floor: Floor::Part, pending }, more))
    }

    /// What was dropped while a part was read is given up: what follows the first entry that there is afterwards was there all the time.
    async fn whole(&self, log: &Frontier, mut part: Part) -> Result<Part, Refusal> {
        let first = self.first(&log.stream.name, log.stream.is_replicated(), &log.subject).await?;
        let (offset, floor) = match first {
            Some(first) => (first.offset, floor(&first)),
            None => (u64::MAX, log.end_with(&part)),
        };
        part.entries.retain(|entry| entry.offset >= offset);
        part.before = part.before.max(floor);
        part.floor = Floor::At(if matches!(part.floor, Floor::First) { floor } else { part.before });
        Ok(part)
    }

    /// What is known of a log, with the first entries from an offset on. `None` where it has none at all.
    pub(super) async fn frontier(
        &self,
        stream: &Arc<Stream>,
        topic: &TopicName,
        from: u64,
        limit: usize,
    ) -> Result<Option<(Frontier, Vec<Entry>)>, Refusal> {
        let subject = self.names.log(topic);
        let last = self.last(&stream.name, stream.is_replicated(), &subject);
        let some = self.entries(&stream.name, &subject, from, limit);
        let (last, some) = futures_util::future::try_join(last, some).await?;
        let Some(last) = last else { return Ok(None) };
        let Entries { mut entries, mut pending } = some;
        let keep = last.record().map_or(Keep::EVERYTHING, |record| record.keep);
        let mut log = Frontier { stream: stream.clone(), subject, keep, last, from, count: 0 };
        let next = entries.last().map_or(from, |entry| entry.offset.saturating_add(1));
        if pending == 0 && entries.len() < limit && next <= log.last.offset {
            // They were asked at once: the last one came in between, or who was asked does not have it yet.
            let more;
            (more, pending) = self.read(&log, next, limit - entries.len()).await?;
            entries.extend(more);
        }
        log.count = entries.len() as u64 + pending;
        Ok(Some((log, entries)))
    }

    /// The last entries of a log, about so many at most, and all that has come since the log was looked at. `None` where some of
    /// that has been dropped meanwhile.
    pub(super) async fn end(&self, log: &Frontier, limit: u64) -> Result<Option<Vec<Entry>>, Refusal> {
        let start = if log.count <= SMALL { 1 } else { self.seek(log, |_, count| count <= limit).await?.0 };
        let (entries, _) = self.read(log, start, usize::MAX).await?;
        let first = self.first(&log.stream.name, log.stream.is_replicated(), &log.subject).await?;
        Ok(first.filter(|first| first.offset <= log.last.offset).map(|_| entries))
    }

    /// So many entries from an offset on, over several answers where one does not hold them; and how many come after them.
    async fn read(&self, log: &Frontier, from: u64, limit: usize) -> Result<(Vec<Entry>, u64), Refusal> {
        let (mut all, mut from, mut tries) = (Vec::new(), from, 0);
        loop {
            let rest = limit.saturating_sub(all.len());
            let Entries { entries, pending } =
                self.entries(&log.stream.name, &log.subject, from, rest).await?;
            let is_end = entries.is_empty() || pending == 0;
            if let Some(last) = entries.last() {
                from = last.offset + 1;
            }
            all.extend(entries);
            if all.len() >= limit {
                return Ok((all, pending));
            }
            if !is_end {
                continue;
            }
            // A server that follows the leader may not have all that the leader has.
            if from > log.last.offset || !log.stream.is_replicated() {
                return Ok((all, 0));
            }
            if tries == 10 * TRIES {
                let message = "a server that holds the stream is far behind its leader";
                return Err(Refusal::Trouble(Trouble::unavailable(message)));
            }
            tries += 1;
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// The offset from which on entries are as wanted, if those before are not; and the entry before, with the number of
    /// entries from it on.
    async fn seek(
        &self,
        log: &Frontier,
        is_wanted: impl Fn(&Entry, u64) -> bool,
    ) -> Result<(u64, Option<(Entry, u64)>), Refusal> {
        let (mut low, mut high, mut before) = (log.from, log.last.offset + 1, None);
        while low < high {
            let middle = low + (high - low) / 2;
            let Entries { mut entries, pending } =
                self.entries(&log.stream.name, &log.subject, middle, 1).await?;
            match entries.pop() {
                Some(entry) if !is_wanted(&entry, pending + 1) => {
                    low = entry.offset + 1;
                    before = Some((entry, pending + 1));
                }
                _ => high = middle,
            }
        }
        Ok((low, before))
    }
}

impl Frontier {
    /// How many keys' last values are retained.
    pub(super) fn keys(&self) -> usize {
        self.keep.keys
    }

    /// The offset of the last message, where these entries were read to the end.
    pub(super) fn last_with(&self, entries: &[Entry]) -> u64 {
        entries.last().map_or(0, Entry::stands_for).max(self.last.stands_for())
    }

    pub(super) fn latest_page(&self, messages: Vec<Arc<Message>>, last: u64) -> Page {
        Page::new(self.stream.epoch, last, last, messages, false)
    }

    /// Whether an entry is retained, with which there are so many to the end.
    fn retains(&self, entry: &Entry, count: u64) -> bool {
        count <= self.keep.messages && entry.age() < self.keep.ttl
    }

    /// The offset of the last message: what was read may reach beyond what was the end before.
    fn end_with(&self, part: &Part) -> u64 {
        self.last_with(&part.entries)
    }

    /// The messages of a part that may be read, and the offset that stands before them. The first entries may be too many.
    fn readable(&self, part: &Part) -> (u64, Vec<(u64, Arc<Message>)>) {
        let (mut prev, mut messages) = (part.before, Vec::new());
        let mut floor = if let Floor::At(floor) = part.floor { floor } else { part.before };
        let mut count = part.entries.len() as u64 + part.pending;
        for entry in &part.entries {
            let is_within = self.retains(entry, count);
            count -= 1;
            let Some(record) = entry.record() else { continue };
            if record.mark.is_none() && (is_within || !messages.is_empty()) {
                let place = LogPlace { position: Position::new(self.stream.epoch, entry.offset), prev };
                let envelope = Envelope::decode(record.message).ok();
                if let Some(message) = envelope.and_then(|envelope| envelope.at(place).into_message().ok()) {
                    messages.push((entry.offset, message));
                    prev = entry.offset;
                }
            } else if messages.is_empty() {
                prev = entry.stands_for();
                floor = prev;
            }
        }
        (floor, messages)
    }

    /// The first messages after an offset.
    fn page(&self, part: &Part, offset: u64, limit: usize) -> Page {
        let (floor, messages) = self.readable(part);
        let wanted: Vec<_> = messages.into_iter().filter(|(at, _)| *at > offset).collect();
        let more = part.pending > 0 || wanted.len() > limit;
        let messages: Vec<_> = wanted.into_iter().take(limit).map(|(_, message)| message).collect();
        let last = self.end_with(part);
        Page::new(self.stream.epoch, floor.min(last), last, messages, more)
    }

    /// The last messages before an offset.
    fn end_of(&self, part: &Part, offset: Option<u64>, limit: usize, more: bool) -> Page {
        let (floor, messages) = self.readable(part);
        let mut messages: Vec<_> =
            messages.into_iter().filter(|(at, _)| offset.is_none_or(|offset| *at < offset)).collect();
        let surplus = messages.len().saturating_sub(limit);
        messages.drain(..surplus);
        let messages = messages.into_iter().map(|(_, message)| message).collect();
        let last = self.end_with(part);
        Page::new(self.stream.epoch, floor.min(last), last, messages, more || surplus > 0)
    }
}

/// Whether a page does not say where to go on: all that was read of the log was marks, or was dropped meanwhile.
fn says_nothing(page: &Page) -> bool {
    page.messages.is_empty() && page.more
}

fn too_fast() -> Refusal {
    Refusal::Trouble(Trouble::unavailable("the log is dropped faster than it is read: it retains too little"))
}

fn nothing(stream: &Stream) -> Page {
    Page::new(stream.epoch, 0, 0, Vec::new(), false)
}

/// The offset that stands before the first entry of a log.
fn floor(first: &Entry) -> u64 {
    match first.record().and_then(|record| record.mark) {
        Some(mark) => mark.stands_for(first.offset),
        None => first.offset.saturating_sub(1),
    }
}
