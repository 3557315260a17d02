//! Several nodes on one hub: mail is lost while a node is cut off, logs are lost, and everybody is still
//! given everything in order, or told.

mod acts;
mod by_pattern;
mod connection;
mod faults;
mod hearing;
mod reader;
mod truth;

use std::{sync::Arc, time::Duration};

use by_pattern::PatternReader;
use connection::{Anns, Connection};
use faults::{Faults, Handle};
use reader::Reader;
use truth::Truth;

use super::{frames::Table, shards::Shards};
use crate::{
    Broker,
    backend::memory::{HubNode, MemoryHub},
    message::Format,
    topic::TopicConfig,
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

impl Node {
    /// Whether calls of the backend may fail.
    fn fails(&self) -> bool {
        self.is_cut || self.faults.are_on()
    }
}
