//! Nodes, the links between them, and what befalls both.

mod acts;

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use bytes::Bytes;
use tokio::time::Instant;

use super::{
    super::{
        PresenceConfig,
        replica::{Effect, Replica},
    },
    truth::Truth,
    watcher::Watcher,
};
use crate::{backend::NodeId, topic::TopicName};

const TOPICS: usize = 3;
const BEAT: Duration = Duration::from_secs(2);
const BOUND: Duration = Duration::from_secs(7);
const GRACE: Duration = Duration::from_secs(5);

/// What repairing may take: a node is seen to be away, clients lost with it have had their grace, a question is asked again.
const SETTLED: Duration = Duration::from_secs(7 + 5 + 2 + 9);

/// How long it may take, where nothing is lost, until everybody knows something.
const KNOWN: Duration = Duration::from_secs(3);

enum Packet {
    Beat(u64),
    Frame(Bytes),
    Goodbye,
}

struct Node {
    replica: Replica,
    /// When each other node was heard last.
    heard: BTreeMap<usize, Instant>,
    beat_at: Instant,
    /// From then on it has heard of all that were there before it.
    knows_all_at: Instant,
    watchers: BTreeMap<usize, Vec<Watcher>>,
}

pub(super) struct World {
    rng: fastrand::Rng,
    now: Instant,
    nodes: BTreeMap<usize, Node>,
    links: BTreeMap<(usize, usize), VecDeque<(Instant, Packet)>>,
    /// Pairs that do not hear each other.
    cuts: Vec<(usize, usize)>,
    truth: Truth,
    topics: Vec<TopicName>,
    config: PresenceConfig,
    /// Nothing is lost in this life, nobody dies, and all is quick.
    is_calm: bool,
    /// So much is said of each client that an answer and what watchers are told take several frames.
    is_wordy: bool,
    has_faults: bool,
    /// When a node stopped last.
    stopped_at: Option<Instant>,
    next_node: usize,
    next_client: u64,
    stamp: u64,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let listed = if rng.bool() { 1000 } else { rng.usize(2..8) };
        let mut world = Self {
            is_calm: rng.u8(..4) == 0,
            is_wordy: rng.u8(..8) == 0,
            has_faults: true,
            now: Instant::now(),
            nodes: BTreeMap::new(),
            links: BTreeMap::new(),
            cuts: Vec::new(),
            truth: Truth::default(),
            topics: (0..TOPICS).filter_map(|n| TopicName::new(format!("room.{n}")).ok()).collect(),
            config: PresenceConfig::new().grace(GRACE).listed_members(listed).snapshot_members(1000),
            stopped_at: None,
            next_node: 0,
            next_client: 1,
            stamp: 1_000,
            rng,
        };
        for _ in 0..world.rng.usize(1..5) {
            world.start();
        }
        world
    }

    pub(super) fn run(&mut self) {
        for _ in 0..self.rng.usize(50..200) {
            let longest = [20, 300, 1500][self.rng.usize(..3)];
            let pause = Duration::from_millis(self.rng.u64(..longest));
            self.pass(pause);
            self.act();
        }
    }

    /// The faults end.
    pub(super) fn heal(&mut self) {
        self.has_faults = false;
        self.cuts.clear();
        self.pass(SETTLED);
        for node in self.nodes.keys().copied().collect::<Vec<_>>() {
            for topic in 0..TOPICS {
                self.serve_waiting(node, topic);
            }
        }
    }

    /// All that serve a topic agree with what is true, and so do all who watch.
    pub(super) fn check(&self) {
        for (index, node) in &self.nodes {
            for (number, topic) in self.topics.iter().enumerate() {
                let truth = self.truth.members(number);
                let watchers = node.watchers.get(&number).map_or(&[][..], Vec::as_slice);
                let is_served = !watchers.is_empty()
                    || self.truth.all().any(|(t, _, place)| t == number && place.node == *index);
                let page = node.replica.page(topic, None, 1000);
                assert_eq!(page.is_some(), is_served, "node {index} holds {topic} or does not");
                let Some(mut page) = page else { continue };
                while let Some(next) = page.next {
                    let more = node.replica.page(topic, Some(next), 1000).unwrap_or_default();
                    page.members.extend(more.members);
                    page.next = more.next;
                }
                let list: BTreeMap<_, _> =
                    page.members.iter().map(|m| (m.client, super::watcher::said(m))).collect();
                assert_eq!(list, truth, "node {index} on {topic}");
                let users: std::collections::BTreeSet<_> =
                    truth.values().filter_map(|(user, _)| user.as_ref()).collect();
                assert_eq!(page.counts.users, users.len() as u64);
                assert_eq!(page.counts.clients, truth.len() as u64);
                for watcher in watchers {
                    let knows = watcher.knows.as_ref().unwrap_or_else(|| panic!("a watcher waits for ever"));
                    assert_eq!(knows.counts, page.counts, "a watcher's counts on node {index}");
                    watcher.check(&truth);
                }
            }
        }
    }

    /// Everybody leaves: nothing is left of it.
    pub(super) fn leave(&mut self) {
        let all: Vec<_> =
            self.truth.all().map(|(topic, client, place)| (topic, client, place.node)).collect();
        for (topic, client, node) in all {
            if let Some(node) = self.nodes.get_mut(&node) {
                node.replica.leave(&self.topics[topic], client, self.now);
            }
            self.truth.remove(topic, client, self.now);
        }
        for node in self.nodes.values_mut() {
            for (topic, watchers) in std::mem::take(&mut node.watchers) {
                watchers.iter().for_each(|_| node.replica.unwatch(&self.topics[topic], self.now));
            }
        }
        self.pass(SETTLED);
        for node in self.nodes.values() {
            let [rooms, peers, outgoing, questions, timers, noted] = node.replica.sizes();
            assert_eq!([rooms, outgoing, questions, timers, noted], [0; 5]);
            assert_eq!(peers, self.nodes.len() - 1);
        }
    }

    fn start(&mut self) {
        let index = self.next_node;
        self.next_node += 1;
        let name = NodeId::new(1 + index as u64);
        let beat_at = self.now + Duration::from_millis(self.rng.u64(0..500));
        let replica = Replica::new(name, false);
        let knows_all_at = self.now + BEAT + KNOWN;
        let (heard, watchers) = (BTreeMap::new(), BTreeMap::new());
        let node = Node { replica, heard, beat_at, knows_all_at, watchers };
        self.nodes.insert(index, node);
    }

    fn send(&mut self, from: usize, to: usize, packet: Packet) {
        let is_troubled = self.has_faults && !self.is_calm;
        let is_lost = is_troubled && (self.cuts.contains(&(from, to)) || self.rng.u8(..20) == 0);
        if is_lost {
            return;
        }
        let slowest = if is_troubled { [5, 100, 1500][self.rng.usize(..3)] } else { 100 };
        let link = self.links.entry((from, to)).or_default();
        // One node's frames are in order.
        let earliest = link.back().map_or(self.now, |(at, _)| *at);
        let at = (self.now + Duration::from_millis(self.rng.u64(0..slowest))).max(earliest);
        if is_troubled && self.rng.u8(..20) == 0 {
            let twice = match &packet {
                Packet::Frame(frame) => Packet::Frame(frame.clone()),
                Packet::Beat(number) => Packet::Beat(*number),
                Packet::Goodbye => Packet::Goodbye,
            };
            link.push_back((at, twice));
        }
        link.push_back((at, packet));
    }

    /// Lets time pass.
    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(next) = self.next_event().filter(|next| *next <= until) {
            self.now = self.now.max(next);
            self.step();
        }
        self.now = until;
        self.truth.lapse(self.now);
    }

    fn next_event(&self) -> Option<Instant> {
        let packets = self.links.values().filter_map(|link| link.front().map(|(at, _)| *at));
        let nodes = self.nodes.values().flat_map(|node| {
            let away = node.heard.values().map(|heard| *heard + BOUND);
            away.chain([node.beat_at]).chain(node.replica.next_wake())
        });
        packets.chain(nodes).min()
    }

    fn step(&mut self) {
        self.truth.lapse(self.now);
        let links: Vec<_> = self.links.keys().copied().collect();
        for link in links {
            while let Some((_, packet)) = self.links.get_mut(&link).and_then(|queue| {
                let is_due = queue.front().is_some_and(|(at, _)| *at <= self.now);
                if is_due { queue.pop_front() } else { None }
            }) {
                self.arrive(link.0, link.1, packet);
            }
        }
        self.links.retain(|_, queue| !queue.is_empty());
        for index in self.nodes.keys().copied().collect::<Vec<_>>() {
            self.tick(index);
            self.work(index);
        }
    }

    fn tick(&mut self, index: usize) {
        let Some(node) = self.nodes.get_mut(&index) else { return };
        let silent: Vec<_> =
            node.heard.iter().filter(|(_, heard)| **heard + BOUND <= self.now).map(|(n, _)| *n).collect();
        for other in silent {
            node.heard.remove(&other);
            node.replica.node_away(NodeId::new(1 + other as u64), self.now);
        }
        if node.beat_at <= self.now {
            node.beat_at = self.now + BEAT;
            let number = node.replica.sent();
            let others: Vec<_> = self.nodes.keys().copied().filter(|other| *other != index).collect();
            for other in others {
                self.send(index, other, Packet::Beat(number));
            }
        }
    }

    fn arrive(&mut self, from: usize, to: usize, packet: Packet) {
        let Some(node) = self.nodes.get_mut(&to) else { return };
        let name = NodeId::new(1 + from as u64);
        if let Packet::Goodbye = packet {
            node.heard.remove(&from);
            node.replica.node_away(name, self.now);
        } else {
            if node.heard.insert(from, self.now).is_none() {
                node.replica.node_up(name, self.now);
            }
            match packet {
                Packet::Beat(number) => node.replica.heartbeat(name, number, self.now),
                Packet::Frame(frame) => {
                    assert!(frame.len() <= 64 << 10);
                    node.replica.receive(name, frame, self.now).unwrap_or_else(|error| panic!("{error}"));
                }
                Packet::Goodbye => {}
            }
        }
        self.work(to);
    }

    /// Does what a node's replica asks for.
    fn work(&mut self, index: usize) {
        loop {
            let Some(node) = self.nodes.get_mut(&index) else { return };
            let effects = node.replica.poll(self.now);
            if effects.is_empty() {
                return;
            }
            for effect in effects {
                match effect {
                    Effect::Send(None, frame) => {
                        let others: Vec<_> =
                            self.nodes.keys().copied().filter(|other| *other != index).collect();
                        for other in others {
                            self.send(index, other, Packet::Frame(frame.clone()));
                        }
                    }
                    Effect::Send(Some(to), frame) => {
                        self.send(index, to.value() as usize - 1, Packet::Frame(frame));
                    }
                    Effect::Tell(topic) => self.tell(index, &topic),
                    Effect::Ready(topic) => {
                        let topic = self.topics.iter().position(|name| *name == topic);
                        self.serve_waiting(index, topic.unwrap_or_else(|| panic!("an unknown topic")));
                    }
                }
            }
        }
    }

    fn tell(&mut self, index: usize, topic: &TopicName) {
        let number = self.topics.iter().position(|name| name == topic).unwrap_or_default();
        let Some(node) = self.nodes.get_mut(&index) else { return };
        let Some((at, before, event)) = node.replica.take_event(topic, self.now) else { return };
        let mut left = Vec::new();
        for watcher in node.watchers.get_mut(&number).into_iter().flatten() {
            left.extend(watcher.hear(at, before, &event));
        }
        // Of a node that has stopped not everybody knows whom it had: who began to serve the topic since does not.
        let all_is_known = node.knows_all_at < self.now
            && self.stopped_at.is_none_or(|stopped| stopped + 2 * GRACE + KNOWN < self.now);
        if self.is_calm && all_is_known {
            for client in left {
                let is_there = self.truth.get(number, client).is_some();
                let absent = self.truth.absent_at(number, client);
                let was_there = absent.is_none_or(|absent| absent + KNOWN < self.now);
                assert!(!(is_there && was_there), "{client:?} has never left {topic}");
            }
        }
    }

    fn serve_waiting(&mut self, index: usize, topic: usize) {
        let Some(node) = self.nodes.get_mut(&index) else { return };
        let Some(page) = node.replica.snapshot(&self.topics[topic]) else { return };
        let Some(number) = node.replica.number(&self.topics[topic]) else { return };
        for watcher in node.watchers.get_mut(&topic).into_iter().flatten().filter(|w| w.knows.is_none()) {
            watcher.begin(&page, number);
        }
    }
}
