//! What one node knows of who is where: without a clock, a lock or a network of its own, so that thousands of
//! interleavings can be run against it (`model/`).

mod local;
mod peers;
mod rooms;
#[cfg(all(test, not(loom)))]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;
use rooms::Room;
use tokio::time::Instant;

use super::wire::{self, Word};
use crate::{backend::NodeId, session::ClientId, topic::TopicName};

/// How long changes are gathered before other nodes are told.
const GATHER: std::time::Duration = std::time::Duration::from_millis(50);

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// A frame for one node, or for all: in this order.
    Send(Option<NodeId>, Bytes),
    /// The topic's watchers are to be told something: [`Replica::take_event`].
    Tell(TopicName),
    /// All nodes have said who is there, or had their time: who waits for a snapshot gets one.
    Ready(TopicName),
}

/// One node's knowledge.
pub(crate) struct Replica {
    node: NodeId,
    /// There are no other nodes, and never will be.
    is_alone: bool,
    rooms: HashMap<TopicName, Room>,
    peers: BTreeMap<NodeId, Peer>,
    /// The number of the last frame of changes.
    sent: u64,
    /// What others are to be told: of each topic the clients, as they are now.
    outgoing: BTreeMap<TopicName, BTreeMap<ClientId, Word>>,
    /// What others are to be asked: one node, or all.
    questions: BTreeMap<Option<NodeId>, BTreeSet<TopicName>>,
    timers: BTreeSet<(Instant, Timer)>,
    effects: Vec<Effect>,
    /// Events of all topics have ascending numbers, so that a topic that comes back begins behind its own past.
    numbers: u64,
}

/// Another node.
struct Peer {
    /// The number of its last frame of changes that is known of; `None` before it said anything.
    seen: Option<u64>,
    /// It has said goodbye: its clients come back elsewhere.
    parts: bool,
}

/// What is due at a time. What has become void meanwhile is passed over.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// What was gathered goes out.
    Flush,
    /// A client whose connection was lost has not come back.
    Grace(TopicName, ClientId),
    /// The clients of a node that has said goodbye have not come back.
    Orphans(TopicName, NodeId),
    /// The first snapshot has waited long enough.
    Ready(TopicName),
    /// Watchers are told.
    Tell(TopicName),
    /// A node has not answered.
    AskAgain(TopicName, NodeId),
    /// Nobody has asked for the topic for a while.
    Hold(TopicName),
}

impl Replica {
    pub(crate) fn new(node: NodeId, is_alone: bool) -> Self {
        Self {
            node,
            is_alone,
            rooms: HashMap::new(),
            peers: BTreeMap::new(),
            sent: 0,
            outgoing: BTreeMap::new(),
            questions: BTreeMap::new(),
            timers: BTreeSet::new(),
            effects: Vec::new(),
            // 0 is before everything.
            numbers: 1,
        }
    }

    /// When [`poll`](Self::poll) has something to do, unless something happens before.
    pub(crate) fn next_wake(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Does what is due, and says what is to be done.
    pub(crate) fn poll(&mut self, now: Instant) -> Vec<Effect> {
        while let Some((at, _)) = self.timers.first()
            && *at <= now
            && let Some((_, timer)) = self.timers.pop_first()
        {
            self.fire(timer, now);
        }
        self.ask();
        std::mem::take(&mut self.effects)
    }

    fn fire(&mut self, timer: Timer, now: Instant) {
        match timer {
            Timer::Flush => self.flush(),
            Timer::Grace(topic, client) => self.grace_is_over(&topic, client, now),
            Timer::Orphans(topic, node) => self.orphans_are_over(&topic, node, now),
            Timer::Ready(topic) => {
                if self.rooms.get(&topic).is_some_and(|room| room.ready_by.is_some_and(|by| by <= now)) {
                    self.become_ready(&topic);
                }
            }
            Timer::Tell(topic) => {
                let room = self.rooms.get_mut(&topic);
                if let Some(room) = room.filter(|room| room.tell_at.is_some_and(|at| at <= now)) {
                    room.tell_at = None;
                    self.effects.push(Effect::Tell(topic));
                }
            }
            Timer::AskAgain(topic, node) => self.ask_again(&topic, node, now),
            Timer::Hold(topic) => self.close_if_unused(&topic, now),
        }
    }

    /// Tells all others what has changed on this node.
    fn flush(&mut self) {
        let outgoing = std::mem::take(&mut self.outgoing);
        let mut writer = wire::ChangesWriter::new(self.sent);
        for (topic, clients) in &outgoing {
            writer.topic(topic);
            for (client, word) in clients {
                writer.client(topic, *client, word);
            }
            if let Some(room) = self.rooms.get_mut(topic) {
                room.version = writer.number;
            }
        }
        let (sent, frames) = writer.finish();
        self.sent = sent;
        self.effects.extend(frames.into_iter().map(|frame| Effect::Send(None, frame)));
    }

    /// Notes what others are to be told of a client of this node.
    fn tell_others(&mut self, topic: &TopicName, client: ClientId, word: Word, now: Instant) {
        if self.is_alone {
            return;
        }
        if self.outgoing.is_empty() {
            self.timers.insert((now + GATHER, Timer::Flush));
        }
        match self.outgoing.get_mut(topic) {
            Some(clients) => clients.insert(client, word),
            None => self.outgoing.entry(topic.clone()).or_default().insert(client, word),
        };
    }

    #[cfg(all(test, not(loom)))]
    pub(crate) fn sizes(&self) -> [usize; 6] {
        let questions = self.questions.values().map(BTreeSet::len).sum();
        let noted = self.rooms.values().map(Room::noted).sum();
        [self.rooms.len(), self.peers.len(), self.outgoing.len(), questions, self.timers.len(), noted]
    }
}
