//! The last value of each key.
//!
//! A stream of its own holds one message for each key, a copy of the one in the log with its place there: `epoch:offset:prev;` and an
//! envelope. It is written when the log has taken the message, before that is acknowledged, and only over an older one. If a node
//! ends in between, the message is still at the end of the log, which is read as well, and after the values: so nothing is left out
//! that was written while they were read, and none of them is beyond the end.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use fanfare_core::{
    backend::{Page, envelope::Envelope},
    message::{LogPlace, Message, Position},
    topic::TopicName,
};
use serde_json::json;

use super::{
    Logs,
    api::{Config, Info, NAME_IN_USE, OVERLAPS, Refusal, STREAM_NOT_FOUND, WRONG_LAST},
    read::{Entries, Entry},
    stream::{Stream, unfit_in},
};
use crate::{error::Trouble, settings::Streams};

/// How long a value is remembered that is not written again.
const REMEMBERED: std::time::Duration = std::time::Duration::from_secs(30 * 24 * 3600);

/// How often it is tried again where others write at the same time.
const TRIES: usize = 64;

/// How many entries at the end of the log may have values that are not written yet.
const UNWRITTEN: u64 = 256;

/// How often values are read on that are written, and dropped from the log, while they are read.
const READS: usize = 8;

/// How many values are read at once.
const AT_ONCE: usize = 512;

impl Logs {
    /// Remembers a message that the log has taken as the last of its key.
    pub(crate) async fn remember(
        &self,
        topic: &TopicName,
        key: &str,
        position: Position,
        envelope: &Bytes,
        keys: usize,
    ) -> Result<(), Trouble> {
        let subject = self.names.value(topic, key);
        let place = LogPlace { position, prev: position.offset.saturating_sub(1) };
        let value: Bytes = [Envelope::place_header(place).as_bytes(), envelope].concat().into();
        let stream = self.values().await?;
        for _ in 0..TRIES {
            let held = match self.last(&stream, self.is_replicated(), &subject).await {
                Ok(held) => held,
                Err(refusal) if refusal.is_gone() => {
                    self.forget_values();
                    self.values().await?;
                    continue;
                }
                Err(refusal) => return Err(refusal.into_trouble()),
            };
            let is_newer = held
                .as_ref()
                .and_then(place_of)
                .is_some_and(|held| held.epoch == position.epoch && held.offset >= position.offset);
            if is_newer {
                return Ok(());
            }
            let last = held.as_ref().map_or(0, |held| held.offset);
            let headers = vec![("Nats-Expected-Last-Subject-Sequence", last.to_string())];
            match self.api.store(subject.clone(), headers, value.clone()).await {
                Ok(_) => {
                    if last == 0 {
                        self.forget_oldest(topic, &stream, position, keys).await;
                    }
                    return Ok(());
                }
                Err(refusal) if refusal.has_code(&WRONG_LAST) => {}
                Err(refusal) if refusal.is_gone() => {
                    self.forget_values();
                    self.values().await?;
                }
                Err(refusal) => return Err(refusal.into_trouble()),
            }
        }
        Err(Trouble::unavailable("too many write the same key"))
    }

    /// The last message of each key, of the keys that were written last.
    pub(super) async fn latest(&self, stream: &Arc<Stream>, topic: &TopicName) -> Result<Page, Refusal> {
        let mut values = None;
        let mut from = 1;
        let mut newest: HashMap<String, Arc<Message>> = HashMap::new();
        for _ in 0..READS {
            // Noted first: all that comes later is read from the log.
            let Some((log, _)) = self.frontier(stream, topic, 1, 1).await? else {
                return Ok(Page::new(stream.epoch, 0, 0, Vec::new(), false));
            };
            let values = match &values {
                Some(values) => values,
                None => values.insert(self.values().await.map_err(Refusal::Trouble)?),
            };
            // Of what was read before, only what has been written since.
            for (offset, message) in self.all_values(values, topic, stream, from).await? {
                from = from.max(offset + 1);
                put(&mut newest, message);
            }
            let Some(entries) = self.end(&log, UNWRITTEN).await? else { continue };
            let last = log.last_with(&entries);
            let mut prev = 0;
            for entry in entries {
                let place = LogPlace { position: Position::new(stream.epoch, entry.offset), prev };
                let record = entry.record().filter(|record| record.mark.is_none());
                let envelope = record.and_then(|record| Envelope::decode(record.message).ok());
                if let Some(message) = envelope.and_then(|envelope| envelope.at(place).into_message().ok()) {
                    put(&mut newest, message);
                    prev = entry.offset;
                }
            }
            let mut messages: Vec<_> = newest.values().cloned().collect();
            messages.sort_unstable_by_key(|message| offset_of(message));
            // A server that follows the leader may have values before their entries.
            if messages.last().is_some_and(|newest| offset_of(newest) > last) {
                continue;
            }
            let surplus = messages.len().saturating_sub(log.keys());
            messages.drain(..surplus);
            return Ok(log.latest_page(messages, last));
        }
        Err(Refusal::Trouble(Trouble::unavailable(
            "the log is dropped faster than last values are read: it retains too little",
        )))
    }

    /// The last values of a topic from an offset of their stream on, with their offsets there.
    async fn all_values(
        &self,
        values: &str,
        topic: &TopicName,
        stream: &Stream,
        mut from: u64,
    ) -> Result<Vec<(u64, Arc<Message>)>, Refusal> {
        let subject = self.names.values(topic);
        let mut all = Vec::new();
        loop {
            let Entries { entries, pending } = self.entries(values, &subject, from, AT_ONCE).await?;
            let Some(last) = entries.last() else { break };
            from = last.offset + 1;
            for entry in entries {
                let envelope = Envelope::decode(entry.payload.clone()).ok();
                let is_of_log = |envelope: &Envelope| {
                    envelope.place.is_some_and(|place| place.position.epoch == stream.epoch)
                };
                let envelope = envelope.filter(is_of_log);
                if let Some(message) = envelope.and_then(|envelope| envelope.into_message().ok()) {
                    all.push((entry.offset, message));
                }
            }
            if pending == 0 {
                break;
            }
        }
        Ok(all)
    }

    /// A new key may be one too many.
    async fn forget_oldest(&self, topic: &TopicName, values: &str, position: Position, keys: usize) {
        // A few more are kept, so that not each new key reads all others.
        if fastrand::usize(..keys.clamp(8, 1024) / 8) != 0 {
            return;
        }
        let Ok(stream) = self.stream().await else { return };
        if stream.epoch != position.epoch {
            return;
        }
        let Ok(mut all) = self.all_values(values, topic, &stream, 1).await else { return };
        all.sort_unstable_by_key(|(_, message)| message.position().map(|position| position.offset));
        for (_, message) in all.iter().take(all.len().saturating_sub(keys)) {
            if let Some(key) = message.key() {
                let question = json!({ "filter": self.names.value(topic, key) });
                self.api.say(&format!("STREAM.PURGE.{values}"), &question);
            }
        }
    }

    /// The stream of last values; made where there is none.
    async fn values(&self) -> Result<String, Trouble> {
        let name = self.names.values_stream();
        if self.knows_values() {
            return Ok(name);
        }
        let subjects = vec![self.names.all_values()];
        match self.api.ask::<Info>(&format!("STREAM.INFO.{name}"), &json!({})).await {
            Ok(info) => {
                let config = info.config;
                let other = unfit_in(&config);
                if config.subjects != subjects || config.max_msgs_per_subject != 1 || other.is_some() {
                    let other = other.map(|other| format!(" (it has {other})")).unwrap_or_default();
                    return Err(Trouble::configuration(format!(
                        "the stream {name} has another configuration than last values need: subjects {}, \
                         max_msgs_per_subject 1, allow_direct{other}. Change it, or remove it",
                        self.names.all_values()
                    )));
                }
            }
            Err(refusal) if refusal.has_code(&[STREAM_NOT_FOUND]) => {
                if self.settings.logs.streams == Streams::Checked {
                    return Err(Trouble::configuration(format!(
                        "there is no stream {name}, which topics with last values need: create it as the crate's documentation says"
                    )));
                }
                let config = Config {
                    name: name.clone(),
                    description: "Last values of the keys of Fanfare's topics".to_owned(),
                    subjects,
                    max_msgs_per_subject: 1,
                    max_age: u64::try_from(REMEMBERED.as_nanos()).unwrap_or_default(),
                    duplicate_window: 100_000_000,
                    republish: None,
                    ..self.config_of_values()
                };
                match self.api.change::<Info>(&format!("STREAM.CREATE.{name}"), &config).await {
                    Ok(_) => {}
                    Err(refusal) if refusal.has_code(&[NAME_IN_USE, OVERLAPS]) => {}
                    Err(refusal) => return Err(refusal.into_trouble()),
                }
            }
            Err(refusal) => return Err(refusal.into_trouble()),
        }
        self.know_values();
        Ok(name)
    }
}

/// Keeps the newer one of a key.
fn put(newest: &mut HashMap<String, Arc<Message>>, message: Arc<Message>) {
    let Some(key) = message.key() else { return };
    if newest.get(key).is_none_or(|held| offset_of(held) < offset_of(&message)) {
        newest.insert(key.to_owned(), message);
    }
}

/// The offset in the log.
fn offset_of(message: &Message) -> u64 {
    message.position().map_or(0, |position| position.offset)
}

/// The place in the log of a value.
fn place_of(entry: &Entry) -> Option<Position> {
    Some(Envelope::decode(entry.payload.clone()).ok()?.place?.position)
}
