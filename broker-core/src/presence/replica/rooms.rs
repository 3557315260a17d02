//! The topics that this node serves: those that have a member or a watcher here, or that somebody has asked for lately.

use std::{collections::HashMap, time::Duration};

use tokio::time::Instant;

use super::{Effect, Replica, Timer, peers::View};
use crate::{
    backend::NodeId,
    presence::{
        PresenceConfig, PresenceEvent, PresencePage,
        room::{Entry, Members, Told},
    },
    session::ClientId,
    topic::TopicName,
};

/// How long the first snapshot waits for the other nodes, at most.
const READY_WITHIN: Duration = Duration::from_secs(1);

/// How long a topic is served that somebody has asked for once: the next question costs nothing.
const HELD_FOR: Duration = Duration::from_secs(5);

/// One topic that this node serves.
pub(super) struct Room {
    pub(super) config: PresenceConfig,
    pub(super) members: Members,
    /// What watchers know; nothing is recorded while there are none.
    told: Told,
    /// The number of the last frame of changes in which this node said something of the topic.
    pub(super) version: u64,
    /// What is known of each other node's members.
    pub(super) views: HashMap<NodeId, View>,
    /// The clients of this node.
    pub(super) own: HashMap<ClientId, Own>,
    watchers: usize,
    held_until: Option<Instant>,
    /// Set until all nodes have said who is there.
    pub(super) ready_by: Option<Instant>,
    pub(super) tell_at: Option<Instant>,
}

/// A client of this node.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Own {
    Here,
    /// Its connection was lost: it has until then to come back.
    Lost(Instant),
}

impl Room {
    pub(super) fn is_ready(&self) -> bool {
        self.ready_by.is_none()
    }

    /// How many clients there are of whom watchers are to be told something.
    #[cfg(all(test, not(loom)))]
    pub(super) fn noted(&self) -> usize {
        self.told.noted()
    }

    fn is_unused(&self, now: Instant) -> bool {
        self.own.is_empty() && self.watchers == 0 && self.held_until.is_none_or(|until| until <= now)
    }
}

impl Replica {
    /// The topic, served from now on: all other nodes are asked who is there.
    pub(super) fn open(&mut self, topic: &TopicName, config: PresenceConfig, now: Instant) -> &mut Room {
        if !self.rooms.contains_key(topic) {
            let views = self.peers.keys().map(|node| (*node, View::asked(now))).collect();
            let ready_by = (!self.peers.is_empty()).then(|| now + READY_WITHIN);
            if let Some(by) = ready_by {
                self.timers.insert((by, Timer::Ready(topic.clone())));
                self.questions.entry(None).or_default().insert(topic.clone());
                for node in self.peers.keys() {
                    let again = View::asked(now).again_at();
                    self.timers.extend(again.map(|at| (at, Timer::AskAgain(topic.clone(), *node))));
                }
            }
            self.numbers += 1;
            let room = Room {
                config,
                members: Members::default(),
                told: Told::new(self.numbers),
                version: 0,
                views,
                own: HashMap::new(),
                watchers: 0,
                held_until: None,
                ready_by,
                tell_at: None,
            };
            self.rooms.insert(topic.clone(), room);
        }
        // It was put there above.
        self.rooms.get_mut(topic).unwrap_or_else(|| unreachable!("the room is open"))
    }

    pub(super) fn close_if_unused(&mut self, topic: &TopicName, now: Instant) {
        if self.rooms.get(topic).is_some_and(|room| room.is_unused(now)) {
            self.rooms.remove(topic);
        }
        if self.rooms.is_empty() {
            self.rooms = HashMap::new();
        }
    }

    /// Takes a node's word of a client, and notes what watchers are to be told.
    pub(super) fn set(
        &mut self,
        topic: &TopicName,
        owner: NodeId,
        client: ClientId,
        entry: Option<Entry>,
        now: Instant,
    ) {
        let Some(room) = self.rooms.get_mut(topic) else { return };
        let entry = entry.map(|mut entry| {
            room.members.intern(&mut entry.info);
            entry
        });
        let Some(before) = room.members.set(owner, client, entry) else { return };
        if room.watchers > 0 && room.is_ready() {
            room.told.note(client, before);
            Self::tell_later(&mut self.timers, topic, room, now);
        }
    }

    fn tell_later(
        timers: &mut std::collections::BTreeSet<(Instant, Timer)>,
        topic: &TopicName,
        room: &mut Room,
        now: Instant,
    ) {
        if room.tell_at.is_none() {
            let at = now + room.told.pace(&room.members);
            room.tell_at = Some(at);
            timers.insert((at, Timer::Tell(topic.clone())));
        }
    }

    /// Somebody on this node wants to be told who comes and goes.
    pub(crate) fn watch(&mut self, topic: &TopicName, config: PresenceConfig, now: Instant) {
        let room = self.open(topic, config, now);
        if room.watchers == 0 {
            room.told.begin(&room.members, &room.config);
        }
        room.watchers += 1;
    }

    /// One watcher less.
    pub(crate) fn unwatch(&mut self, topic: &TopicName, now: Instant) {
        if let Some(room) = self.rooms.get_mut(topic) {
            room.watchers = room.watchers.saturating_sub(1);
            if room.watchers == 0 {
                room.told.begin(&room.members, &room.config);
            }
        }
        self.close_if_unused(topic, now);
    }

    /// Somebody on this node asks who is there: the topic is served for a while. True when all is known already.
    pub(crate) fn hold(&mut self, topic: &TopicName, config: PresenceConfig, now: Instant) -> bool {
        let until = now + HELD_FOR;
        let room = self.open(topic, config, now);
        let is_ready = room.is_ready();
        // What is served anyway need not be remembered for this.
        if room.is_unused(now) || room.held_until.is_some() {
            let old = room.held_until.replace(until);
            if let Some(old) = old {
                self.timers.remove(&(old, Timer::Hold(topic.clone())));
            }
            self.timers.insert((until, Timer::Hold(topic.clone())));
        }
        is_ready
    }

    pub(super) fn become_ready(&mut self, topic: &TopicName) {
        let Some(room) = self.rooms.get_mut(topic) else { return };
        if let Some(by) = room.ready_by.take() {
            self.timers.remove(&(by, Timer::Ready(topic.clone())));
            room.told.begin(&room.members, &room.config);
            self.effects.push(Effect::Ready(topic.clone()));
        }
    }

    /// What a watcher begins with; `None` while not all nodes have said who is there.
    pub(crate) fn snapshot(&self, topic: &TopicName) -> Option<PresencePage> {
        let room = self.rooms.get(topic).filter(|room| room.is_ready())?;
        Some(room.told.snapshot(&room.members, &room.config))
    }

    /// The number of the last event that is in a [`snapshot`](Self::snapshot).
    pub(crate) fn number(&self, topic: &TopicName) -> Option<u64> {
        let room = self.rooms.get(topic).filter(|room| room.is_ready())?;
        Some(room.told.number)
    }

    /// What the watchers of a topic are told next, with its number and that of the event before it.
    pub(crate) fn take_event(
        &mut self,
        topic: &TopicName,
        now: Instant,
    ) -> Option<(u64, u64, PresenceEvent)> {
        let room = self.rooms.get_mut(topic).filter(|room| room.watchers > 0 && room.is_ready())?;
        let event = room.told.take(&room.members, &room.config);
        if room.told.is_due() {
            Self::tell_later(&mut self.timers, topic, room, now);
        }
        let event = event?;
        self.numbers += 1;
        let before = std::mem::replace(&mut room.told.number, self.numbers);
        Some((self.numbers, before, event))
    }

    /// A page of the list as it is now; `None` where the topic is not served here.
    pub(crate) fn page(
        &self,
        topic: &TopicName,
        after: Option<ClientId>,
        limit: usize,
    ) -> Option<PresencePage> {
        self.rooms.get(topic).map(|room| room.members.page(after, limit))
    }
}
