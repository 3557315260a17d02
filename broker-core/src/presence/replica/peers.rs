//! Other nodes: what they say, what has been lost of it, and what they are asked.

use std::{collections::BTreeSet, time::Duration};

use tokio::time::Instant;

use super::{Effect, Peer, Replica, Timer, rooms::Room};
use crate::{
    backend::NodeId,
    presence::room::Entry,
    presence::wire::{self, Changed, Content, Frame, NotPresence, Part, Word},
    session::ClientId,
    topic::TopicName,
};

/// How long a node has to answer before it is asked again: each time twice as long.
const ASK_AGAIN: Duration = Duration::from_secs(1);
const ASK_AGAIN_AT_MOST: Duration = Duration::from_secs(8);

/// What is known of one node's members of one topic.
pub(super) struct View {
    /// As of which of its frames; `None` when nothing is known.
    version: Option<u64>,
    /// Set while it has been asked and has not answered in full.
    asked: Option<Asked>,
}

/// A question that is open.
struct Asked {
    again_at: Instant,
    pause: Duration,
    /// What has come of an answer: as of which frame, and up to which client.
    part: Option<(u64, ClientId)>,
}

impl View {
    pub(super) fn asked(now: Instant) -> Self {
        Self { version: None, asked: Some(Asked::now(now)) }
    }

    pub(super) fn again_at(&self) -> Option<Instant> {
        self.asked.as_ref().map(|asked| asked.again_at)
    }
}

impl Asked {
    fn now(now: Instant) -> Self {
        Self { again_at: now + ASK_AGAIN, pause: ASK_AGAIN, part: None }
    }
}

impl Replica {
    /// The number of the last frame of changes, for heartbeats.
    pub(crate) fn sent(&self) -> u64 {
        self.sent
    }

    /// Another node is there, anew or again.
    pub(crate) fn node_up(&mut self, node: NodeId, now: Instant) {
        self.peers.insert(node, Peer { seen: None, parts: false });
        let topics: Vec<_> = self.rooms.keys().cloned().collect();
        self.question(node, topics, now);
    }

    /// This node is about to stop: its clients come back elsewhere.
    pub(crate) fn goodbye(&mut self) {
        self.flush();
        self.effects.push(Effect::Send(None, wire::goodbye(self.sent)));
    }

    /// A node is away. The members that it alone has leave; after a goodbye they have the time of grace to come back
    /// elsewhere.
    pub(crate) fn node_away(&mut self, node: NodeId, now: Instant) {
        let Some(peer) = self.peers.remove(&node) else { return };
        let topics: Vec<_> = self.rooms.keys().cloned().collect();
        for topic in topics {
            if let Some(room) = self.rooms.get_mut(&topic) {
                let view = room.views.remove(&node);
                if let Some(at) = view.as_ref().and_then(View::again_at) {
                    self.timers.remove(&(at, Timer::AskAgain(topic.clone(), node)));
                }
                let until = now + room.config.grace_period();
                if room.members.of_owner_after(node, None).next().is_none() {
                    // There is nobody to leave.
                } else if peer.parts {
                    self.timers.insert((until, Timer::Orphans(topic.clone(), node)));
                } else {
                    self.forget(&topic, node, now);
                }
            }
            self.check_ready(&topic);
        }
    }

    pub(super) fn orphans_are_over(&mut self, topic: &TopicName, node: NodeId, now: Instant) {
        if !self.peers.contains_key(&node) {
            self.forget(topic, node, now);
        }
    }

    /// All that a node said of a topic is void.
    fn forget(&mut self, topic: &TopicName, node: NodeId, now: Instant) {
        let Some(room) = self.rooms.get(topic) else { return };
        let clients: Vec<_> = room.members.of_owner_after(node, None).map(|(client, _)| client).collect();
        for client in clients {
            self.set(topic, node, client, None, now);
        }
    }

    /// A node's heartbeat: the number of its last frame of changes.
    pub(crate) fn heartbeat(&mut self, from: NodeId, number: u64, now: Instant) {
        self.hear(from, number, number, now);
    }

    /// Takes a frame of another node.
    pub(crate) fn receive(
        &mut self,
        from: NodeId,
        bytes: bytes::Bytes,
        now: Instant,
    ) -> Result<(), NotPresence> {
        let (number, frame) = Frame::read(from, bytes)?;
        match frame {
            Frame::Goodbye => {
                if let Some(peer) = self.peers.get_mut(&from) {
                    peer.parts = true;
                }
            }
            // Whoever asks is answered, known or not.
            Frame::Ask(topics) => self.answer(from, &topics),
            Frame::Changes(changed) => {
                // What has been seen already comes a second time.
                if self.hear(from, number, number.saturating_sub(1), now) {
                    for changed in changed {
                        self.take_changes(from, number, changed, now);
                    }
                }
            }
            Frame::Entries(parts) => {
                self.hear(from, number, number, now);
                for part in parts {
                    self.take_part(from, part, now);
                }
            }
        }
        Ok(())
    }

    /// Notes that a node's frames have come up to a number, and that those up to `complete` had to have been seen: if one
    /// is missing, the node is asked for all that it has in common with this one. True where the number is new.
    fn hear(&mut self, from: NodeId, number: u64, complete: u64, now: Instant) -> bool {
        let Some(peer) = self.peers.get_mut(&from) else { return false };
        let seen = match peer.seen {
            // It has been asked already, and answers after this.
            None => return peer.seen.replace(number).is_none(),
            Some(seen) => seen,
        };
        if number <= seen {
            return false;
        }
        peer.seen = Some(number);
        if complete > seen {
            let topics: Vec<_> = self.rooms.keys().cloned().collect();
            self.question(from, topics, now);
        }
        true
    }

    fn take_changes(&mut self, from: NodeId, number: u64, changed: Changed, now: Instant) {
        let Changed { topic, clients } = changed;
        let Some(room) = self.rooms.get_mut(&topic) else { return };
        let Some(view) = room.views.get_mut(&from) else { return };
        if view.asked.is_some() {
            // The answer comes after this, and has it all.
            return;
        }
        view.version = Some(number);
        for (client, word) in clients {
            self.heard_elsewhere(&topic, client, from, &word, now);
            let entry = if let Word::There(entry) = word { Some(entry) } else { None };
            self.set(&topic, from, client, entry, now);
            self.inherit(&topic, client, now);
        }
    }

    fn take_part(&mut self, from: NodeId, part: Part, now: Instant) {
        let Part { topic, version, content } = part;
        let Some(room) = self.rooms.get_mut(&topic) else { return };
        let Some(view) = room.views.get_mut(&from) else { return };
        let Some(asked) = &mut view.asked else { return };
        let again = (asked.again_at, Timer::AskAgain(topic.clone(), from));
        let (after, is_last, clients) = match content {
            Content::Same if view.version == Some(version) => {
                view.asked = None;
                self.timers.remove(&again);
                return self.check_ready(&topic);
            }
            Content::Same => return,
            Content::Listed { after, is_last, clients } => (after, is_last, clients),
        };
        let expected = asked.part.filter(|(held, _)| *held == version).map(|(_, client)| client);
        if after.is_some() && after != expected {
            // A part is missing: it is asked for again.
            return;
        }
        let last = clients.last().map(|(client, _)| *client);
        if is_last {
            view.asked = None;
            view.version = Some(version);
            self.timers.remove(&again);
        } else if let Some(last) = last {
            asked.part = Some((version, last));
        }
        self.replace(&topic, from, after, is_last, clients, now);
        if is_last {
            self.check_ready(&topic);
        }
    }

    /// What a node says of a run of clients is all that it says of them.
    fn replace(
        &mut self,
        topic: &TopicName,
        from: NodeId,
        after: Option<ClientId>,
        is_last: bool,
        clients: Vec<(ClientId, Entry)>,
        now: Instant,
    ) {
        let Some(room) = self.rooms.get(topic) else { return };
        let last = clients.last().map(|(client, _)| *client);
        let listed: BTreeSet<_> = clients.iter().map(|(client, _)| *client).collect();
        let held = room.members.of_owner_after(from, after).map(|(client, _)| client);
        let held = held.take_while(|client| is_last || last.is_some_and(|last| *client <= last));
        let gone: Vec<_> = held.filter(|client| !listed.contains(client)).collect();
        for client in gone {
            self.set(topic, from, client, None, now);
        }
        for (client, entry) in clients {
            let is_held =
                self.rooms.get(topic).and_then(|room| room.members.said_by(from, client)) == Some(&entry);
            if !is_held {
                self.heard_elsewhere(topic, client, from, &Word::There(entry.clone()), now);
                self.set(topic, from, client, Some(entry), now);
                self.inherit(topic, client, now);
            }
        }
    }

    /// All nodes have answered: those that wait are served.
    fn check_ready(&mut self, topic: &TopicName) {
        let is_complete = |room: &Room| room.views.values().all(|view| view.asked.is_none());
        let is_complete = self.rooms.get(topic).is_some_and(is_complete);
        if is_complete {
            self.become_ready(topic);
        }
    }

    /// A node is to be asked for these topics.
    fn question(&mut self, node: NodeId, topics: Vec<TopicName>, now: Instant) {
        for topic in topics {
            let Some(room) = self.rooms.get_mut(&topic) else { continue };
            let view = room.views.entry(node).or_insert(View { version: None, asked: None });
            if let Some(at) = view.again_at() {
                self.timers.remove(&(at, Timer::AskAgain(topic.clone(), node)));
            }
            let asked = view.asked.insert(Asked::now(now));
            self.timers.insert((asked.again_at, Timer::AskAgain(topic.clone(), node)));
            self.questions.entry(Some(node)).or_default().insert(topic);
        }
    }

    pub(super) fn ask_again(&mut self, topic: &TopicName, node: NodeId, now: Instant) {
        let view = self.rooms.get_mut(topic).and_then(|room| room.views.get_mut(&node));
        let Some(asked) = view.and_then(|view| view.asked.as_mut()).filter(|asked| asked.again_at <= now)
        else {
            return;
        };
        asked.pause = (asked.pause * 2).min(ASK_AGAIN_AT_MOST);
        asked.again_at = now + asked.pause;
        self.timers.insert((asked.again_at, Timer::AskAgain(topic.clone(), node)));
        self.questions.entry(Some(node)).or_default().insert(topic.clone());
    }

    /// Asks all that is to be asked.
    pub(super) fn ask(&mut self) {
        for (to, topics) in std::mem::take(&mut self.questions) {
            let known = |topic| {
                let view = to.and_then(|to| self.rooms.get(topic)?.views.get(&to));
                view.and_then(|view| view.version)
            };
            let frames = wire::asks(self.sent, topics.iter().map(|topic| (topic, known(topic))));
            self.effects.extend(frames.into_iter().map(|frame| Effect::Send(to, frame)));
        }
    }

    /// Says who is here.
    fn answer(&mut self, to: NodeId, topics: &[(TopicName, Option<u64>)]) {
        // What has changed is told before: then the answer is of a frame that has a number.
        self.flush();
        let mut writer = wire::EntriesWriter::new(self.sent);
        for (topic, known) in topics {
            let room = self.rooms.get(topic);
            let version = room.map_or(0, |room| room.version);
            if *known == Some(version) {
                writer.same(topic, version);
            } else {
                let own = room.into_iter().flat_map(|room| room.members.of_owner_after(self.node, None));
                writer.entries(topic, version, own);
            }
        }
        let frames = writer.finish();
        self.effects.extend(frames.into_iter().map(|frame| Effect::Send(Some(to), frame)));
    }
}
