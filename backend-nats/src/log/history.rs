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

/// What is known of a topic's log.
pub(super) struct Frontier {
    stream: Arc<Stream>,
    subject: String,
    keep: Keep,
    /// The last entry.
    last: Entry,
    /// The first entry, and how many there are.
    first: Entry,
    count: u64,
}

/// A part of a log.
struct Part {
    entries: Vec<Entry>,
    /// The offset that stands before the first of them.
    before: u64,
    /// Whether more come after them.
    more: bool,
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
                match query {
                    HistoryQuery::After { offset, limit } => self.after(&stream, topic, offset, limit).await,
                    HistoryQuery::Before { offset, limit } => {
                        self.before(&stream, topic, offset, limit).await
                    }
                    HistoryQuery::Latest => self.latest(&stream, topic).await,
                    _ => Err(Refusal::Trouble(Trouble::refused("a query of a kind that is not known"))),
                }
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
        let Some(log) = self.frontier(stream, topic).await? else { return Ok(nothing(stream)) };
        if log.count <= SMALL {
            let all =
                Part { entries: self.read(&log, 1, usize::MAX).await?.0, before: log.floor(), more: false };
            return Ok(log.page(&all, log.excess(), offset, limit));
        }
        // Of a long log only what is asked for is read.
        let from = offset.saturating_add(1);
        let Entries { entries, pending } = self.entries(&stream.name, &log.subject, from, limit).await?;
        let is_retained =
            entries.first().is_none_or(|entry| log.retains(entry, entries.len() as u64 + pending));
        if is_retained {
            // What comes first is dropped first: where the log reaches back to the offset, nothing after it is missing.
            let before = if offset >= log.first.offset { offset } else { log.floor() };
            let part = Part { entries, before, more: pending > 0 };
            return Ok(log.page(&part, 0, offset, limit));
        }
        let (start, before) = self.seek(&log, |entry, count| log.retains(entry, count)).await?;
        let (entries, more) = self.read(&log, start, limit).await?;
        let before = before.map_or(log.floor(), |(entry, _)| entry.stands_for());
        Ok(log.page(&Part { entries, before, more }, 0, offset, limit))
    }

    async fn before(
        &self,
        stream: &Arc<Stream>,
        topic: &TopicName,
        offset: Option<u64>,
        limit: usize,
    ) -> Result<Page, Refusal> {
        let Some(log) = self.frontier(stream, topic).await? else { return Ok(nothing(stream)) };
        if log.count <= SMALL {
            let all =
                Part { entries: self.read(&log, 1, usize::MAX).await?.0, before: log.floor(), more: false };
            return Ok(log.end_of(&all, log.excess(), offset, limit, false));
        }
        let behind = match offset {
            Some(offset) => {
                let Entries { entries, pending } =
                    self.entries(&stream.name, &log.subject, offset, 1).await?;
                entries.len() as u64 + pending
            }
            None => 0,
        };
        let wanted = behind.saturating_add(limit as u64);
        let (start, before) =
            self.seek(&log, |entry, count| count <= wanted && log.retains(entry, count)).await?;
        let (entries, _) = self.read(&log, start, limit).await?;
        let more = before.as_ref().is_some_and(|(entry, count)| log.retains(entry, *count));
        let before = before.map_or(log.floor(), |(entry, _)| entry.stands_for());
        Ok(log.end_of(&Part { entries, before, more: false }, 0, offset, limit, more))
    }

    pub(super) async fn frontier(
        &self,
        stream: &Arc<Stream>,
        topic: &TopicName,
    ) -> Result<Option<Frontier>, Refusal> {
        let subject = self.names.log(topic);
        let last = self.last(&stream.name, stream.is_replicated(), &subject);
        let first = self.entries(&stream.name, &subject, 1, 1);
        let (last, first) = futures_util::future::try_join(last, first).await?;
        let Some(last) = last else { return Ok(None) };
        let Entries { mut entries, pending } = first;
        let (first, count) = match entries.pop() {
            Some(first) => (first, pending + 1),
            None => (last.clone(), 1),
        };
        let keep = last.record().map_or(Keep::EVERYTHING, |record| record.keep);
        Ok(Some(Frontier { stream: stream.clone(), subject, keep, last, first, count }))
    }

    /// The last entries of a log, so many at most.
    pub(super) async fn end(&self, log: &Frontier, limit: u64) -> Result<Vec<Entry>, Refusal> {
        if log.count <= SMALL {
            return Ok(self.read(log, 1, usize::MAX).await?.0);
        }
        let (start, _) = self.seek(log, |_, count| count <= limit).await?;
        Ok(self.read(log, start, usize::MAX).await?.0)
    }

    /// So many entries from an offset on, over several answers where one does not hold them; and whether there are more.
    async fn read(&self, log: &Frontier, from: u64, limit: usize) -> Result<(Vec<Entry>, bool), Refusal> {
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
                return Ok((all, pending > 0));
            }
            if !is_end {
                continue;
            }
            // A server that follows the leader may not have all that the leader has.
            if from > log.last.offset || !log.stream.is_replicated() {
                return Ok((all, false));
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
        let (mut low, mut high, mut before) = (log.first.offset, log.last.offset + 1, None);
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
    /// Where the log begins, as far as its first entry tells.
    fn floor(&self) -> u64 {
        match self.first.record().and_then(|record| record.mark) {
            Some(mark) => mark.stands_for(self.first.offset),
            None => self.first.offset.saturating_sub(1),
        }
    }

    /// How many entries at the beginning are more than are retained.
    fn excess(&self) -> usize {
        usize::try_from(self.count.saturating_sub(self.keep.messages)).unwrap_or(usize::MAX)
    }

    /// How many keys' last values are retained.
    pub(super) fn keys(&self) -> usize {
        self.keep.keys
    }

    pub(super) fn latest_page(&self, messages: Vec<Arc<Message>>) -> Page {
        let last = self.last.stands_for();
        Page::new(self.stream.epoch, last, last, messages, false)
    }

    /// Whether an entry is retained, with which there are so many to the end.
    fn retains(&self, entry: &Entry, count: u64) -> bool {
        count <= self.keep.messages && entry.age() < self.keep.ttl
    }

    /// The messages of a part that may be read, and the offset that stands before them. The first entries are too many.
    fn readable(&self, part: &Part, excess: usize) -> (u64, Vec<(u64, Arc<Message>)>) {
        let (mut prev, mut floor, mut messages) = (part.before, part.before, Vec::new());
        for (index, entry) in part.entries.iter().enumerate() {
            let Some(record) = entry.record() else { continue };
            let is_retained = !messages.is_empty() || (index >= excess && entry.age() < self.keep.ttl);
            if record.mark.is_none() && is_retained {
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
    fn page(&self, part: &Part, excess: usize, offset: u64, limit: usize) -> Page {
        let (floor, messages) = self.readable(part, excess);
        let wanted: Vec<_> = messages.into_iter().filter(|(at, _)| *at > offset).collect();
        let more = part.more || wanted.len() > limit;
        let messages: Vec<_> = wanted.into_iter().take(limit).map(|(_, message)| message).collect();
        let last = self.last.stands_for();
        Page::new(self.stream.epoch, floor.min(last), last, messages, more)
    }

    /// The last messages before an offset.
    fn end_of(&self, part: &Part, excess: usize, offset: Option<u64>, limit: usize, more: bool) -> Page {
        let (floor, messages) = self.readable(part, excess);
        let mut messages: Vec<_> =
            messages.into_iter().filter(|(at, _)| offset.is_none_or(|offset| *at < offset)).collect();
        let surplus = messages.len().saturating_sub(limit);
        messages.drain(..surplus);
        let messages = messages.into_iter().map(|(_, message)| message).collect();
        let last = self.last.stands_for();
        Page::new(self.stream.epoch, floor.min(last), last, messages, more || surplus > 0)
    }
}

fn nothing(stream: &Stream) -> Page {
    Page::new(stream.epoch, 0, 0, Vec::new(), false)
}
