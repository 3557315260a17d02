//! Several nodes on one hub, whose control frames get lost, come twice or are of another version. Time is paused.

mod asking;
mod bounds;
mod line;
mod members;
mod operations;
mod parcels;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use line::Line;
use parking_lot::Mutex;
use tokio::time::sleep;

use super::{NodeEvent, attachments};
use crate::{
    Broker, BrokerBuilder,
    backend::{NodeId, memory::MemoryHub},
    broker::Inner,
    policy,
};

/// A node, and what it has heard.
struct Node {
    broker: Broker,
    line: Arc<Line>,
    heard: Heard,
}

#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<String>>>);

impl Heard {
    fn note(&self, what: String) {
        self.0.lock().push(what);
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock())
    }
}

impl Node {
    async fn start(hub: &MemoryHub) -> Self {
        Self::start_with(hub, |builder| builder).await
    }

    async fn start_with(hub: &MemoryHub, set: impl FnOnce(BrokerBuilder) -> BrokerBuilder) -> Self {
        let line = Line::of(hub);
        let builder = Broker::builder().policy(policy::Open).shards(1).backend(line.handle());
        let broker = set(builder).start().await.unwrap_or_else(|error| panic!("{error}"));
        let heard = Heard::default();
        let node = Self { broker, line, heard };
        let noted = node.heard.clone();
        node.inner().cluster.on_node(move |_, event| noted.note(name_of(event)));
        node
    }

    fn inner(&self) -> &Arc<Inner> {
        self.broker.inner()
    }

    fn id(&self) -> NodeId {
        self.inner().node
    }

    fn knows(&self) -> Vec<NodeId> {
        let mut nodes = self.inner().cluster.nodes().to_vec();
        nodes.sort_unstable();
        nodes
    }

    /// Hears parcels of a kind.
    fn hears_parcels(&self, kind: u8) {
        let heard = self.heard.clone();
        self.inner().cluster.on_parcel(kind, move |_, _, content| heard.note(shorten(&content)));
    }

    /// Takes what it has heard of nodes that come and go.
    fn events(&self) -> Vec<String> {
        self.heard.take()
    }
}

fn name_of(event: NodeEvent) -> String {
    match event {
        NodeEvent::Up(node) => format!("up {node}"),
        NodeEvent::Away(node) => format!("away {node}"),
    }
}

fn up(node: &Node) -> String {
    name_of(NodeEvent::Up(node.id()))
}

fn away(node: &Node) -> String {
    name_of(NodeEvent::Away(node.id()))
}

fn sorted<T: Ord>(mut all: Vec<T>) -> Vec<T> {
    all.sort();
    all
}

/// Long content by its length and a digest.
fn shorten(content: &Bytes) -> String {
    match std::str::from_utf8(content) {
        Ok(text) if text.len() < 100 => text.to_owned(),
        _ => {
            let digest =
                content.iter().fold(0_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add((*byte).into()));
            format!("{} bytes, {digest:x}", content.len())
        }
    }
}

/// Lets everything happen that takes no time to speak of.
async fn soon() {
    sleep(Duration::from_millis(5)).await;
}

async fn seconds(seconds: f64) {
    sleep(Duration::from_secs_f64(seconds)).await;
}
