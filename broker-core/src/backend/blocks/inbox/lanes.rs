//! What waits for the core, in *lanes*: a lane lasts as long as its topic has something under way. A message to several topics
//! joins their lanes into one, because it is delivered to all of them in one call.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::{
    backend::{Incoming, NodeId},
    topic::TopicName,
};

/// How many messages one lane holds, and how much all lanes hold together: messages, bytes.
pub(super) const LANE_MESSAGES: usize = 4096;
const ALL_MESSAGES: usize = 65_536;
const ALL_BYTES: usize = 64 << 20;

/// What a message takes beside its payload: bytes, about.
const ENTRY: usize = 512;

/// The lane of what is of no topic: control frames, and losses of all topics.
const OF_NO_TOPIC: u64 = 0;

#[derive(Default)]
pub(super) struct Lanes {
    /// Names come from clients, so the hasher is a keyed one.
    by_topic: HashMap<TopicName, u64>,
    lanes: HashMap<u64, Lane>,
    /// Lanes that were joined to others, which wait until what these have under way is done.
    joined: HashMap<u64, oneshot::Sender<()>>,
    last: u64,
    messages: usize,
    bytes: usize,
    /// Whether anything is taken.
    is_open: bool,
}

#[derive(Default)]
struct Lane {
    topics: Vec<TopicName>,
    entries: VecDeque<Entry>,
    messages: usize,
}

pub(super) enum Entry {
    Message(Box<Incoming>),
    Lost(Option<TopicName>),
    Control(NodeId, Bytes),
    /// What another lane has under way is done.
    Joined(oneshot::Receiver<()>),
}

impl Entry {
    /// What it takes: bytes, about. `None` for what is not counted.
    fn size(&self) -> Option<usize> {
        match self {
            Self::Message(incoming) => Some(incoming.message.payload.len() + ENTRY),
            Self::Control(_, frame) => Some(frame.len() + ENTRY),
            Self::Lost(_) | Self::Joined(_) => None,
        }
    }
}

impl Lanes {
    /// The lane of a message, and whether it is new, with nothing under way.
    pub(super) fn of(&mut self, incoming: &Incoming) -> (u64, bool) {
        if incoming.also.is_empty()
            && let Some(lane) = self.by_topic.get(&incoming.message.topic)
        {
            return (*lane, false);
        }
        let topics: Vec<_> = std::iter::once(&incoming.message.topic)
            .chain(incoming.also.iter().map(|(name, _)| name))
            .cloned()
            .collect();
        self.of_topics(topics)
    }

    fn of_topics(&mut self, topics: Vec<TopicName>) -> (u64, bool) {
        let mut held: Vec<u64> =
            topics.iter().filter_map(|topic| self.by_topic.get(topic).copied()).collect();
        held.sort_unstable();
        held.dedup();
        let (id, is_new) = match held.first() {
            Some(id) => (*id, false),
            None => {
                self.last += 1;
                (self.last, true)
            }
        };
        for other in held.into_iter().skip(1) {
            self.join(other, id);
        }
        let lane = self.lanes.entry(id).or_default();
        for topic in topics {
            if self.by_topic.insert(topic.clone(), id).is_none() {
                lane.topics.push(topic);
            }
        }
        (id, is_new)
    }

    fn join(&mut self, from: u64, to: u64) {
        let Some(from_lane) = self.lanes.remove(&from) else { return };
        let (done, joined) = oneshot::channel();
        self.joined.insert(from, done);
        for topic in &from_lane.topics {
            self.by_topic.insert(topic.clone(), to);
        }
        if let Some(lane) = self.lanes.get_mut(&to) {
            lane.topics.extend(from_lane.topics);
            lane.messages += from_lane.messages;
            lane.entries.push_back(Entry::Joined(joined));
            lane.entries.extend(from_lane.entries);
        }
    }

    /// Puts a message into a lane; where there is no room it is lost there.
    pub(super) fn push(&mut self, id: u64, incoming: Incoming) {
        if let Err(Entry::Message(incoming)) = self.put(id, Entry::Message(Box::new(incoming))) {
            for topic in
                std::iter::once(incoming.message.topic).chain(incoming.also.into_iter().map(|also| also.0))
            {
                self.put_lost(id, Some(topic));
            }
        }
    }

    /// Puts a control frame where the core finds it; the lane, if it is new.
    pub(super) fn push_control(&mut self, from: NodeId, frame: Bytes) -> Option<u64> {
        let new = self.begin_of_no_topic();
        if self.put(OF_NO_TOPIC, Entry::Control(from, frame)).is_err() {
            // Nobody knows what it said: it may have been of losses.
            self.put_lost(OF_NO_TOPIC, None);
        }
        new
    }

    /// Something of a topic, or of all, was lost; the lane that says so, if it is new.
    pub(super) fn lose(&mut self, topic: Option<&TopicName>) -> Option<u64> {
        if let Some(topic) = topic {
            let (id, is_new) = self.of_topics(vec![topic.clone()]);
            self.put_lost(id, Some(topic.clone()));
            return is_new.then_some(id);
        }
        // Topics that have something under way are told of it after that.
        let under_way: Vec<_> = self.by_topic.iter().map(|(topic, id)| (topic.clone(), *id)).collect();
        for (topic, id) in under_way {
            self.put_lost(id, Some(topic));
        }
        let new = self.begin_of_no_topic();
        self.put_lost(OF_NO_TOPIC, None);
        new
    }

    fn begin_of_no_topic(&mut self) -> Option<u64> {
        let is_new = !self.lanes.contains_key(&OF_NO_TOPIC);
        self.lanes.entry(OF_NO_TOPIC).or_default();
        is_new.then_some(OF_NO_TOPIC)
    }

    fn put(&mut self, id: u64, entry: Entry) -> Result<(), Entry> {
        let Some(lane) = self.lanes.get_mut(&id) else { return Ok(()) };
        let size = entry.size().unwrap_or(0);
        let fits = lane.messages < LANE_MESSAGES
            && self.messages < ALL_MESSAGES
            && self.bytes + size <= ALL_BYTES.max(size);
        if !fits {
            return Err(entry);
        }
        lane.messages += 1;
        self.messages += 1;
        self.bytes += size;
        lane.entries.push_back(entry);
        Ok(())
    }

    fn put_lost(&mut self, id: u64, topic: Option<TopicName>) {
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        // Said once for each run of losses; a lane has few topics.
        let said = lane.entries.iter().rev().take_while(|entry| entry.size().is_none());
        let is_said = said.into_iter().any(|entry| matches!(entry, Entry::Lost(lost) if *lost == topic));
        if !is_said {
            lane.entries.push_back(Entry::Lost(topic));
        }
    }

    pub(super) fn pop(&mut self, id: u64) -> Option<Entry> {
        let lane = self.lanes.get_mut(&id)?;
        let entry = lane.entries.pop_front()?;
        if let Some(size) = entry.size() {
            lane.messages -= 1;
            self.messages -= 1;
            self.bytes -= size;
        }
        Some(entry)
    }

    /// Drops what waits.
    pub(super) fn clear(&mut self) {
        for lane in self.lanes.values_mut() {
            // What is under way elsewhere is still waited for.
            lane.entries.retain(|entry| matches!(entry, Entry::Joined(_)));
            lane.messages = 0;
        }
        (self.messages, self.bytes) = (0, 0);
    }

    /// Nothing is under way any more: ends the lane if nothing waits in it. False where something does.
    pub(super) fn end(&mut self, id: u64) -> bool {
        if let Some(done) = self.joined.remove(&id) {
            let _ = done.send(());
            return true;
        }
        if self.lanes.get(&id).is_some_and(|lane| !lane.entries.is_empty()) {
            return false;
        }
        if let Some(lane) = self.lanes.remove(&id) {
            for topic in lane.topics {
                self.by_topic.remove(&topic);
            }
        }
        true
    }

    pub(super) fn open(&mut self) {
        self.is_open = true;
    }

    /// Drops everything, and takes nothing any more.
    pub(super) fn close(&mut self) {
        *self = Self::default();
    }

    pub(super) fn is_open(&self) -> bool {
        self.is_open
    }

    /// Nothing is held, not even a trace of what was.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        let has_none = self.by_topic.is_empty() && self.lanes.is_empty() && self.joined.is_empty();
        has_none && (self.messages, self.bytes) == (0, 0)
    }
}
