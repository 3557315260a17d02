//! What befalls the nodes: who publishes, subscribes and connects, and what is lost.

use std::time::Duration;

use futures_util::FutureExt;

use super::{
    Node, TOPICS, World,
    by_pattern::PatternReader,
    connection::{Connection, TO_ALL},
    hearing::Hearing,
    reader::Reader,
};
use crate::{
    SubscribeError,
    message::{Epoch, Payload, Position},
    session::{Handshake, Published, Start},
    topic::{OverflowPolicy, TopicName},
};

impl World {
    pub(super) async fn act(&mut self) {
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

    pub(super) fn cut(&mut self, at: usize, is_cut: bool) {
        note!(self, "node {at} is cut: {is_cut}");
        self.nodes[at].is_cut = is_cut;
        self.nodes[at].hub.set_connected(!is_cut);
    }

    pub(super) fn publish(&mut self, at: usize) {
        let name = match self.rng.u8(..3) {
            0 => TO_ALL[self.rng.usize(..2)],
            _ => TOPICS[self.rng.usize(..3)],
        };
        self.publish_on(at, name);
    }

    pub(super) fn publish_on(&mut self, at: usize, name: &'static str) {
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

    pub(super) async fn subscribe(&mut self, at: usize) {
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
                let hearing = Hearing::new(name, self.nodes.len(), &self.truth);
                self.readers.push(Reader::new(subscription, name, at, hearing));
            }
            Err(SubscribeError::Backend(_)) if self.nodes[at].fails() => {}
            Err(error) => panic!("{error}"),
        }
    }

    pub(super) async fn connect(&mut self, at: usize) {
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

    pub(super) async fn subscribe_pattern(&mut self, at: usize) {
        if self.by_pattern.len() >= 4 {
            return;
        }
        let pattern = ["e.*", "l.*", "l.>"][self.rng.usize(..3)];
        let subscription = self.nodes[at].broker.subscribe_pattern(pattern).await;
        let subscription = subscription.unwrap_or_else(|error| panic!("{error}"));
        note!(self, "node {at}, {pattern}: {:?}", subscription.client());
        self.by_pattern.push(PatternReader::new(subscription, pattern, at, &self.truth, self.next_uid));
    }
}
