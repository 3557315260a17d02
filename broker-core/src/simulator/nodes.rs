//! Several nodes on one hub: mail is lost while a node is cut off, logs are lost, and everybody is still
//! given everything in order, or told.

use std::{
    collections::HashMap,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use futures_util::FutureExt;

use super::{
    by_pattern::PatternReader,
    connection::{Anns, Connection, TO_ALL},
    faults::{Faults, Handle},
    frames::{Table, uid},
    hearing::Hearing,
    shards::Shards,
};
use crate::{
    Broker, SubscribeError,
    backend::memory::{HubNode, MemoryHub},
    message::{Epoch, Format, Gap, GapReason, LogPlace, Payload, Position},
    session::{Handshake, Published, Start},
    subscription::{Delivery, Subscription},
    topic::{OverflowPolicy, TopicConfig, TopicName},
};

const TOPICS: [&str; 3] = ["e.a", "l.a", "l.b"];

struct Node {
    broker: Broker,
    hub: Arc<HubNode>,
    faults: Arc<Faults>,
    format: (Format, Arc<Table>),
    shards: Shards,
    is_cut: bool,
}

/// What has been published.
#[derive(Default)]
pub(super) struct Truth {
    /// Of each ephemeral topic, the messages of each node in its order.
    ephemeral: HashMap<(usize, &'static str), Vec<u64>>,
    /// The last position of each logged topic that a publisher was told.
    pub(super) tops: HashMap<&'static str, Position>,
    pub(super) stored: HashMap<u64, Position>,
    /// What was lost of each log: it ends in front of this offset, and began behind that position.
    pub(super) holes: HashMap<&'static str, Vec<(u64, Position)>>,
}

struct World {
    rng: fastrand::Rng,
    hub: MemoryHub,
    nodes: Vec<Node>,
    readers: Vec<Reader>,
    by_pattern: Vec<PatternReader>,
    connections: Vec<Connection>,
    truth: Truth,
    next_uid: u64,
    /// Whether backends do more than being cut off.
    fails: bool,
    forgets: bool,
    /// Whether logs lose their ends.
    skips: bool,
    trace: bool,
}

pub(super) async fn run(seed: u64, trace: bool) {
    let mut world = World::new(seed, trace).await;
    for _ in 0..world.rng.usize(20..300) {
        world.act().await;
    }
    world.settle().await;
}

impl World {
    async fn new(seed: u64, trace: bool) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        fastrand::seed(rng.u64(..));
        let hub = MemoryHub::new();
        let history = [1, 3, 10, 100][rng.usize(..4)];
        let mut nodes = Vec::new();
        let fails = rng.bool();
        for _ in 0..rng.usize(2..=3) {
            let backend = Arc::new(hub.node());
            let config = TopicConfig::new().history(history);
            let builder = Broker::builder().policy(Anns).shards(rng.usize(1..=2)).topic("l.*", config);
            let faults = Faults::new(rng.u64(..), fails);
            let handle = Handle { hub: backend.clone(), faults: faults.clone() };
            let builder = builder.limits(|limits| limits.queue_messages = 8).backend(handle);
            let broker = builder.start().await.unwrap_or_else(|error| panic!("{error}"));
            let table = Arc::new(Table::new(0));
            let format = broker.register(table.clone()).unwrap_or_else(|error| panic!("{error}"));
            let shards = Shards::take(&broker);
            nodes.push(Node { shards, broker, hub: backend, faults, format: (format, table), is_cut: false });
        }
        let (forgets, skips) = (rng.u8(..4) == 0, rng.u8(..4) == 0);
        Self {
            rng,
            hub,
            nodes,
            readers: Vec::new(),
            by_pattern: Vec::new(),
            connections: Vec::new(),
            truth: Truth::default(),
            next_uid: 0,
            fails,
            forgets,
            skips,
            trace,
        }
    }

    async fn act(&mut self) {
        let at = self.rng.usize(..self.nodes.len());
        match self.rng.u8(..100) {
            0..25 => self.publish(at),
            25..50 => {
                let (shard, offers) = (self.rng.usize(..2), self.rng.usize(1..8));
                self.nodes[at].shards.step(shard, offers);
            }
            50..70 => tokio::task::yield_now().await,
            70..77 => self.subscribe(at).await,
            77..80 => self.subscribe_pattern(at).await,
            80..82 => self.connect(at).await,
            82..85 if !self.connections.is_empty() => {
                let (connection, most) = (self.rng.usize(..self.connections.len()), self.rng.usize(1..100));
                self.connections[connection].poll(&self.truth, most, self.trace);
            }
            85..87 if !self.readers.is_empty() => {
                let (reader, most) = (self.rng.usize(..self.readers.len()), self.rng.usize(1..5));
                self.readers[reader].poll(&self.truth, most, self.trace);
            }
            87..90 if !self.by_pattern.is_empty() => {
                let (reader, most) = (self.rng.usize(..self.by_pattern.len()), self.rng.usize(1..5));
                self.by_pattern[reader].poll(&self.truth, most, self.trace);
            }
            90..95 => self.cut(at, !self.nodes[at].is_cut),
            95 if self.skips => {
                let (name, offsets) = (TOPICS[self.rng.usize(1..3)], [1, 3, 1 << 33][self.rng.usize(..3)]);
                let Some(top) = self.truth.tops.get(name).copied() else { return };
                let holes = self.truth.holes.entry(name).or_default();
                match holes.last_mut().filter(|(_, after)| *after == top) {
                    Some((before, _)) => *before += offsets,
                    None => holes.push((top.offset + 1 + offsets, top)),
                }
                note!(self, "{offsets} of {name} are lost");
                self.hub.skip(&TopicName::new(name).unwrap_or_else(|error| panic!("{error}")), offsets);
            }
            95..97 if !self.readers.is_empty() => {
                let reader = self.rng.usize(..self.readers.len());
                drop(self.readers.swap_remove(reader));
            }
            97 if self.connections.len() > 2 => {
                let connection = self.rng.usize(..self.connections.len());
                drop(self.connections.swap_remove(connection));
            }
            98 => tokio::time::sleep(Duration::from_millis(self.rng.u64(1..100))).await,
            99 if !self.by_pattern.is_empty() => {
                let reader = self.rng.usize(..self.by_pattern.len());
                drop(self.by_pattern.swap_remove(reader));
            }
            97 if self.forgets => {
                let name = TOPICS[self.rng.usize(1..3)];
                note!(self, "the log of {name} is lost");
                self.hub.forget(&TopicName::new(name).unwrap_or_else(|error| panic!("{error}")));
                self.truth.tops.remove(name);
            }
            _ => {}
        }
    }

    fn cut(&mut self, at: usize, is_cut: bool) {
        note!(self, "node {at} is cut: {is_cut}");
        self.nodes[at].is_cut = is_cut;
        self.nodes[at].hub.set_connected(!is_cut);
    }

    fn publish(&mut self, at: usize) {
        let name = match self.rng.u8(..3) {
            0 => TO_ALL[self.rng.usize(..2)],
            _ => TOPICS[self.rng.usize(..3)],
        };
        self.publish_on(at, name);
    }

    fn publish_on(&mut self, at: usize, name: &'static str) {
        self.next_uid += 1;
        let id = self.next_uid;
        let publish = self.nodes[at].broker.publish(name, Payload::binary(id.to_be_bytes().to_vec()));
        let result = publish.into_future().now_or_never();
        let result = result.unwrap_or_else(|| panic!("nothing has to be waited for"));
        note!(self, "node {at} publishes {id} on {name}: {result:?}");
        match result {
            Ok(Published { position: Some(position), .. }) => {
                self.truth.tops.insert(name, position);
                self.truth.stored.insert(id, position);
            }
            // Subscribers here have it, whether it was carried to the other nodes or not.
            _ if name.starts_with(['e', '$']) => {
                let name = if name.starts_with('$') { TO_ALL[0] } else { name };
                self.truth.ephemeral.entry((at, name)).or_default().push(id);
            }
            _ => assert!(self.nodes[at].fails(), "refused: {result:?}"),
        }
    }

    async fn subscribe(&mut self, at: usize) {
        if self.readers.len() >= 8 {
            return;
        }
        let name = TOPICS[self.rng.usize(..3)];
        let start = match (name.starts_with('l'), self.rng.u8(..4), self.truth.tops.get(name)) {
            (true, 0, _) => Start::Earliest,
            (true, 1, Some(top)) => Start::After(Position::new(top.epoch, self.rng.u64(..=top.offset))),
            (true, 2, _) => Start::After(Position::new(Epoch::new(7), 3)),
            _ => Start::Live,
        };
        let mut subscribe = self.nodes[at].broker.subscribe(name).start(start);
        if self.rng.bool() {
            subscribe = subscribe.overflow(OverflowPolicy::DropOldest);
        }
        let result = subscribe.into_future().await;
        note!(self, "node {at}, {name}, {start:?}: {:?}", result.as_ref().map(|r| (r.client(), r.outcome())));
        match result {
            Ok(subscription) => {
                self.readers.push(Reader {
                    name,
                    node: at,
                    last: subscription.outcome().position,
                    hearing: Hearing::new(name, self.nodes.len(), &self.truth),
                    told: (subscription.outcome().recovered == Some(false)).then_some(None),
                    may_end: false,
                    subscription,
                });
            }
            Err(SubscribeError::Backend(_)) if self.nodes[at].fails() => {}
            Err(error) => panic!("{error}"),
        }
    }

    async fn connect(&mut self, at: usize) {
        if self.connections.len() >= 6 {
            return;
        }
        let Node { broker, format: (format, table), .. } = &self.nodes[at];
        let connected = broker.connect(Handshake::new("sim"), format).await;
        let connected = connected.unwrap_or_else(|error| panic!("{error}"));
        note!(self, "node {at}: {} connects", connected.1.client());
        let hearing = Hearing::new(TO_ALL[0], self.nodes.len(), &self.truth);
        self.connections.push(Connection::new(at, connected, table.clone(), hearing));
    }

    async fn subscribe_pattern(&mut self, at: usize) {
        if self.by_pattern.len() >= 4 {
            return;
        }
        let pattern = ["e.*", "l.*", "l.>"][self.rng.usize(..3)];
        let subscription = self.nodes[at].broker.subscribe_pattern(pattern).await;
        let subscription = subscription.unwrap_or_else(|error| panic!("{error}"));
        note!(self, "node {at}, {pattern}: {:?}", subscription.client());
        self.by_pattern.push(PatternReader::new(subscription, pattern, at, &self.truth, self.next_uid));
    }

    /// Everybody is connected, and everything comes through.
    async fn settle(&mut self) {
        for at in 0..self.nodes.len() {
            self.nodes[at].faults.end();
            if self.nodes[at].is_cut {
                self.cut(at, false);
            }
        }
        note!(self, "-- now everything is let through");
        self.rest().await;
        for connection in &self.connections {
            note!(self, "the end of a connection of node {}", connection.node);
            connection.end(&self.truth);
        }
        for reader in &self.readers {
            note!(self, "the end of {} on node {}", reader.name, reader.node);
            reader.end(&self.truth);
        }
        if self.fails {
            // A pattern's subscribers are told of a loss when the backend knows of the pattern again. What a backend had
            // taken in before may still come after that word, and then what was lost stands behind it: this shows with
            // the next message, and not before.
            for name in &TOPICS[1..] {
                self.publish_on(0, name);
            }
            self.rest().await;
        }
        for reader in &self.by_pattern {
            reader.end(&self.truth);
        }
    }

    /// Until nothing happens any more.
    async fn rest(&mut self) {
        for _ in 0..20 {
            for _ in 0..20 {
                tokio::task::yield_now().await;
                for node in &mut self.nodes {
                    node.shards.step_all();
                }
                for reader in &mut self.readers {
                    reader.poll(&self.truth, usize::MAX, self.trace);
                }
                for reader in &mut self.by_pattern {
                    reader.poll(&self.truth, usize::MAX, self.trace);
                }
                for connection in &mut self.connections {
                    connection.poll(&self.truth, usize::MAX, self.trace);
                }
            }
            // Whatever waits for its time.
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        for node in &self.nodes {
            let stats = node.broker.stats();
            assert!(stats.shard_depths.iter().all(|depth| *depth == 0), "permits are missing: {stats:?}");
        }
    }
}

impl Truth {
    /// What a node has published on an ephemeral topic, or to everybody.
    pub(super) fn sent(&self, node: usize, name: &'static str) -> &[u64] {
        self.ephemeral.get(&(node, name)).map_or(&[], Vec::as_slice)
    }
}

impl Node {
    /// Whether calls of the backend may fail.
    fn fails(&self) -> bool {
        self.is_cut || self.faults.are_on()
    }
}

struct Reader {
    name: &'static str,
    node: usize,
    subscription: Subscription<str>,
    /// The last position that was seen.
    last: Option<Position>,
    /// Of each node, on an ephemeral topic.
    hearing: Hearing,
    /// Gaps since the last message: how much was missed, if that is known.
    told: Option<Option<u64>>,
    /// A gap of another epoch was told.
    may_end: bool,
}

impl Reader {
    fn poll(&mut self, truth: &Truth, most: usize, trace: bool) {
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..most {
            let next = std::pin::pin!(self.subscription.recv()).poll(&mut cx);
            let Poll::Ready(next) = next else { return };
            if trace {
                let client = self.subscription.client();
                eprintln!("    {client} of {} on node {} sees {next:?}", self.name, self.node);
            }
            match next {
                Some(Delivery::Message(received)) => match received.place() {
                    Some(place) => self.logged(truth, uid(received.message()), place),
                    None => self.hearing.message(truth, uid(received.message())),
                },
                Some(Delivery::Gap(gap)) => self.gap(&gap),
                Some(Delivery::Live(position)) => self.pass(position, 0),
                other => panic!("{other:?}"),
            }
        }
    }

    fn logged(&mut self, truth: &Truth, id: u64, place: LogPlace) {
        assert_eq!(truth.stored.get(&id), Some(&place.position), "another message than was stored there");
        self.pass(place.position, 1);
    }

    /// Goes on to a position, at which so many messages were seen.
    fn pass(&mut self, position: Position, seen: u64) {
        let last = self.last.unwrap_or_else(|| panic!("no position to begin with"));
        if last.epoch == position.epoch {
            let passed = position.offset.checked_sub(last.offset + seen);
            let lost = passed.unwrap_or_else(|| panic!("{}: {position} comes after {last}", self.name));
            match self.told {
                None => assert_eq!(lost, 0, "{}: silence between {last} and {position}", self.name),
                Some(Some(told)) => assert_eq!(lost, told, "{}: between {last} and {position}", self.name),
                Some(None) => {}
            }
        } else {
            assert!(self.may_end, "{}: from {last} to {position} without a word", self.name);
        }
        (self.last, self.told, self.may_end) = (Some(position), None, false);
    }

    fn gap(&mut self, gap: &Gap) {
        assert!(gap.missed != Some(0), "a gap of nothing");
        self.hearing.gap();
        self.may_end |= gap.reason == GapReason::Epoch;
        self.told = Some(match self.told {
            None => gap.missed,
            Some(told) => told.zip(gap.missed).map(|(a, b)| a + b),
        });
    }

    fn end(&self, truth: &Truth) {
        if let (Some(last), Some(top)) = (self.last, truth.tops.get(self.name)) {
            // Behind the last message there may be a hole.
            let is_there = last.epoch == top.epoch && last.offset >= top.offset;
            assert!(is_there || self.told.is_some(), "{}: {last} is not the end, {top} is", self.name);
        }
        self.hearing.end(truth);
    }
}
