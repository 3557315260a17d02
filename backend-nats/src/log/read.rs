//! Reads entries of a stream.
//!
//! From server 2.11 on a page is one direct read (`batch`), before that one short-lived consumer.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;

use super::{
    Logs, Record,
    api::{self, Refusal},
    time,
};
use crate::wire::{Expect, Message};

/// How much one answer holds, about: bytes.
const PAGE_BYTES: usize = 1 << 20;

/// How many entries one answer holds.
const PAGE: usize = 1024;

/// How soon a consumer is forgotten that nobody uses: nanoseconds.
const CONSUMER_LASTS: u64 = 5_000_000_000;

/// The oldest version that answers a direct read with many messages.
const BATCHES: (u64, u64) = (2, 11);

/// An entry of a stream.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) offset: u64,
    /// Milliseconds since 1970, by the server's clock.
    pub(crate) time: u64,
    pub(crate) payload: Bytes,
}

/// Entries that follow each other, and how many come after them.
#[derive(Debug, Default)]
pub(crate) struct Entries {
    pub(crate) entries: Vec<Entry>,
    pub(crate) pending: u64,
}

impl Entry {
    /// What it holds, unless somebody else has put it there.
    pub(crate) fn record(&self) -> Option<Record> {
        Record::decode(self.payload.clone())
    }

    /// The offset that it stands for.
    pub(crate) fn stands_for(&self) -> u64 {
        let mark = self.record().and_then(|record| record.mark);
        mark.map_or(self.offset, |mark| mark.stands_for(self.offset))
    }

    /// How long ago it was written.
    pub(crate) fn age(&self) -> Duration {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        now.saturating_sub(Duration::from_millis(self.time))
    }

    fn direct(message: Message) -> Option<Self> {
        let offset = message.number("Nats-Sequence")?;
        let time = time::parse(message.header("Nats-Time-Stamp")?)?;
        Some(Self { offset, time, payload: message.payload })
    }

    /// A message that a consumer delivered tells its place in the subject for its acknowledgement:
    /// `$JS.ACK.[domain.account.]stream.consumer.deliveries.offset.number.nanoseconds.pending[.token]`.
    fn delivered(message: Message) -> Option<Self> {
        let reply = message.reply.as_deref()?.strip_prefix("$JS.ACK.")?;
        let tokens: Vec<_> = reply.split('.').collect();
        let skip = if tokens.len() >= 9 { 2 } else { 0 };
        let number = |index: usize| tokens.get(skip + index).and_then(|token| token.parse::<u64>().ok());
        Some(Self { offset: number(3)?, time: number(5)? / 1_000_000, payload: message.payload })
    }
}

impl Logs {
    /// The last entry of a subject. Where several servers hold the stream, its leader is asked: it alone knows.
    pub(crate) async fn last(
        &self,
        stream: &str,
        is_replicated: bool,
        subject: &str,
    ) -> Result<Option<Entry>, Refusal> {
        self.find(stream, is_replicated, json!({ "last_by_subj": subject })).await
    }

    /// The first entry of a subject, as its leader knows it where several servers hold the stream.
    pub(crate) async fn first(
        &self,
        stream: &str,
        is_replicated: bool,
        subject: &str,
    ) -> Result<Option<Entry>, Refusal> {
        self.find(stream, is_replicated, json!({ "seq": 1, "next_by_subj": subject })).await
    }

    async fn find(
        &self,
        stream: &str,
        is_replicated: bool,
        question: serde_json::Value,
    ) -> Result<Option<Entry>, Refusal> {
        if !is_replicated {
            let message = self.api.get(&format!("DIRECT.GET.{stream}"), &question).await?;
            return match message.status() {
                Some(404) => Ok(None),
                _ => Entry::direct(message).map(Some).ok_or_else(unexpected),
            };
        }
        #[derive(Deserialize)]
        struct Got {
            message: Stored,
        }
        #[derive(Deserialize)]
        struct Stored {
            seq: u64,
            #[serde(default)]
            data: String,
            time: String,
        }
        match self.api.ask::<Got>(&format!("STREAM.MSG.GET.{stream}"), &question).await {
            Ok(Got { message: Stored { seq, data, time } }) => {
                let payload = STANDARD.decode(data).map_err(|_| unexpected())?.into();
                let time = time::parse(&time).ok_or_else(unexpected)?;
                Ok(Some(Entry { offset: seq, time, payload }))
            }
            Err(Refusal::Error(error)) if error.err_code == NO_MESSAGE => Ok(None),
            Err(refusal) => Err(refusal),
        }
    }

    /// The entry at an offset.
    pub(crate) async fn at(
        &self,
        stream: &str,
        is_replicated: bool,
        offset: u64,
    ) -> Result<Option<Entry>, Refusal> {
        self.find(stream, is_replicated, json!({ "seq": offset })).await
    }

    /// The first entries of a subject from an offset on, so many at most.
    pub(crate) async fn entries(
        &self,
        stream: &str,
        subject: &str,
        from: u64,
        limit: usize,
    ) -> Result<Entries, Refusal> {
        let limit = limit.clamp(1, PAGE);
        if self.version() >= BATCHES {
            self.batch(stream, subject, from.max(1), limit).await
        } else {
            self.fetch(stream, subject, from.max(1), limit).await
        }
    }

    async fn batch(&self, stream: &str, subject: &str, from: u64, limit: usize) -> Result<Entries, Refusal> {
        let question =
            json!({ "seq": from, "next_by_subj": subject, "batch": limit, "max_bytes": PAGE_BYTES });
        let what = format!("DIRECT.GET.{stream}");
        let (messages, status) = self.api.get_all(&what, &question, Expect::UntilStatus).await?;
        match status.as_ref().and_then(Message::status) {
            Some(204 | 404) => {}
            _ => return Err(unexpected()),
        }
        let pending = status.and_then(|status| status.number("Nats-Num-Pending")).unwrap_or_default();
        let entries = messages.into_iter().map(Entry::direct).collect::<Option<Vec<_>>>();
        Ok(Entries { entries: entries.ok_or_else(unexpected)?, pending })
    }

    /// The offsets and sizes of the first messages of a subject from an offset on, and how many come after them. What they hold is not read.
    pub(crate) async fn sizes(
        &self,
        stream: &str,
        subject: &str,
        from: u64,
        limit: usize,
    ) -> Result<(Vec<(u64, u64)>, u64), Refusal> {
        let (messages, pending) = self.consume(stream, subject, from, limit, true).await?;
        let sizes = messages.into_iter().map(|message| {
            let size = message.number("Nats-Msg-Size")?;
            Some((Entry::delivered(message)?.offset, size))
        });
        Ok((sizes.collect::<Option<_>>().ok_or_else(unexpected)?, pending))
    }

    async fn fetch(&self, stream: &str, subject: &str, from: u64, limit: usize) -> Result<Entries, Refusal> {
        let (messages, pending) = self.consume(stream, subject, from, limit, false).await?;
        let entries = messages.into_iter().map(Entry::delivered).collect::<Option<Vec<_>>>();
        Ok(Entries { entries: entries.ok_or_else(unexpected)?, pending })
    }

    /// Reads by a consumer.
    async fn consume(
        &self,
        stream: &str,
        subject: &str,
        from: u64,
        limit: usize,
        headers_only: bool,
    ) -> Result<(Vec<Message>, u64), Refusal> {
        #[derive(Deserialize)]
        struct Consumer {
            name: String,
            #[serde(default)]
            num_pending: u64,
        }
        let config = json!({
            "deliver_policy": "by_start_sequence",
            "opt_start_seq": from,
            "filter_subject": subject,
            "ack_policy": "none",
            "replay_policy": "instant",
            "inactive_threshold": CONSUMER_LASTS,
            "num_replicas": 1,
            "mem_storage": true,
            "headers_only": headers_only,
        });
        let question = json!({ "stream_name": stream, "config": config });
        let consumer: Consumer = self.api.ask(&format!("CONSUMER.CREATE.{stream}"), &question).await?;
        let count = limit.min(usize::try_from(consumer.num_pending).unwrap_or(usize::MAX));
        let Consumer { name, num_pending } = consumer;
        let mut messages = Vec::new();
        if count > 0 {
            let question = json!({ "batch": count, "no_wait": true, "max_bytes": PAGE_BYTES });
            let what = format!("CONSUMER.MSG.NEXT.{stream}.{name}");
            let status;
            (messages, status) = self.api.get_all(&what, &question, Expect::Count(count)).await?;
            if messages.is_empty() && status.as_ref().and_then(Message::status) == Some(409) {
                // One message that is larger than a page.
                let question = json!({ "batch": 1, "no_wait": true });
                (messages, _) = self.api.get_all(&what, &question, Expect::Count(1)).await?;
            }
        }
        self.api.say(&format!("CONSUMER.DELETE.{stream}.{name}"), &json!({}));
        let pending = num_pending.saturating_sub(messages.len() as u64);
        Ok((messages, pending))
    }
}

/// There is no message of the subject.
const NO_MESSAGE: u32 = 10037;

fn unexpected() -> Refusal {
    api::Refusal::Trouble(crate::error::Trouble::unavailable(
        "a stream was read, and the answer is not understood",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(reply: &str) -> Message {
        Message {
            sid: 1,
            subject: "s".into(),
            reply: Some(reply.into()),
            headers: Bytes::new(),
            payload: Bytes::new(),
        }
    }

    #[test]
    fn places_are_read_from_both_forms_of_a_reply() {
        for reply in [
            "$JS.ACK.stream.consumer.1.7.3.1700000000123456789.2",
            "$JS.ACK._.account.stream.consumer.1.7.3.1700000000123456789.2.token",
        ] {
            let entry = Entry::delivered(message(reply)).unwrap();
            assert_eq!((entry.offset, entry.time), (7, 1_700_000_000_123));
        }
        assert!(Entry::delivered(message("elsewhere")).is_none());
    }
}
