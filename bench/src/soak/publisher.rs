//! Publishers: each with its node, its own pace, and one stream for each topic.

use std::{collections::HashMap, sync::Arc, time::Duration};

use fanfare::{
    publish::{Publish, PublishError},
    session::Published,
};
use fastrand::Rng;
use futures_util::future::join_all;
use tokio::time::sleep;

use super::{
    ledger::Fate,
    nodes::Node,
    topics::{KEYS, TOPICS, Topic},
    uid::Uid,
    world::{World, between},
};

/// The largest payload: a broker's limit.
const LARGEST: usize = 64 << 10;

/// How often a message with an id is tried again.
const TRIES: u32 = 12;

/// Publishes until the end.
pub(super) async fn run(world: Arc<World>, name: String, mut rng: Rng) {
    let pace = rng.u64(2..60);
    let mut publisher = Publisher { world: world.clone(), name, run: 0, streams: HashMap::new() };
    while let Some(_working) = world.gate.work().await {
        let Some(node) = world.nodes.pick_near(&mut rng, &publisher.name) else {
            sleep(between(&mut rng, 5, 50)).await;
            continue;
        };
        publisher.meet(&node);
        if rng.u32(..8) == 0 {
            let count = rng.usize(2..9);
            let messages: Vec<_> = (0..count).filter_map(|_| publisher.next(&node, &mut rng, true)).collect();
            join_all(messages.into_iter().map(|message| publisher.send(message))).await;
        } else if let Some(message) = publisher.next(&node, &mut rng, false) {
            publisher.send(message).await;
        }
        sleep(between(&mut rng, 0, pace)).await;
    }
    publisher.leave();
}

struct Publisher {
    world: Arc<World>,
    name: String,
    /// The run of the node that it publishes through.
    run: u64,
    /// By topic.
    streams: HashMap<usize, u32>,
}

/// A message that is about to be published.
struct Ready {
    node: Node,
    topic: &'static Topic,
    uid: Uid,
    key: Option<u8>,
    size: usize,
    /// Others are on their way at once.
    beside: bool,
    /// It is published twice on purpose.
    twice: bool,
}

impl Publisher {
    /// Another node, or the same one started anew, is another origin.
    fn meet(&mut self, node: &Node) {
        if self.run != node.run {
            self.leave();
            self.run = node.run;
        }
    }

    fn leave(&mut self) {
        for (_, stream) in self.streams.drain() {
            self.world.ledger.close(stream);
        }
    }

    fn next(&mut self, node: &Node, rng: &mut Rng, beside: bool) -> Option<Ready> {
        let (index, topic) = loop {
            let index = rng.usize(..TOPICS.len());
            // Messages to one topic that is not logged have no order among themselves when they are published at once.
            if TOPICS[index].logged || !beside {
                break (index, &TOPICS[index]);
            }
        };
        let stream = *self.streams.entry(index).or_insert_with(|| self.world.ledger.open(index, node));
        let key = topic.keyed.then(|| rng.u8(..KEYS));
        let uid = self.world.ledger.begin(stream, key)?;
        let size = match rng.u32(..200) {
            0..10 => 0,
            10 => LARGEST - rng.usize(..4),
            11..20 => rng.usize(..8 << 10),
            _ => rng.usize(..300),
        };
        Some(Ready { node: node.clone(), topic, uid, key, size, beside, twice: rng.u32(..10) == 0 })
    }

    async fn send(&self, ready: Ready) {
        let world = &self.world;
        let uid = ready.uid;
        world.counts.add("published");
        let result = if ready.topic.ids { self.send_by_id(&ready).await } else { ready.publish().await };
        let (fate, position) = match &result {
            Ok(published) => (Fate::Accepted, published.position),
            Err(error) => {
                world.counts.add(&format!("publish: {}", kind(error)));
                (fate(error), None)
            }
        };
        // What is tried again may stand behind what came after it.
        let in_turn = !ready.beside && !ready.topic.ids;
        if let Err(wrong) = world.ledger.settle(uid, fate, position, in_turn) {
            world.verdict.wrong(&self.name, wrong, || format!("{result:?} on node {}", ready.node.slot));
        }
    }

    /// Publishes until it is known whether it is stored.
    async fn send_by_id(&self, ready: &Ready) -> Result<Published, PublishError> {
        let mut may_be_stored = false;
        let mut tries = 0;
        loop {
            tries += 1;
            let result = if ready.twice {
                let (first, second) = tokio::join!(ready.publish(), ready.publish());
                may_be_stored |= matches!(second, Err(PublishError::OutcomeUnknown(_)));
                if let (Ok(first), Ok(second)) = (&first, &second) {
                    self.same(ready, first, second);
                }
                match (first, second) {
                    (Ok(first), _) => Ok(first),
                    (Err(_), second) if second.is_ok() => second,
                    (first, _) => first,
                }
            } else {
                ready.publish().await
            };
            let Err(error) = result else { return result };
            may_be_stored |= matches!(error, PublishError::OutcomeUnknown(_));
            let is_lasting =
                matches!(fate(&error), Fate::Never) && !matches!(error, PublishError::NotStored(_));
            if tries == TRIES || is_lasting {
                return Err(match error {
                    PublishError::NotStored(cause) if may_be_stored => PublishError::OutcomeUnknown(cause),
                    PublishError::Draining if may_be_stored => unknown(),
                    error => error,
                });
            }
            self.world.counts.add("published again");
            sleep(Duration::from_millis(u64::from(tries) * 100)).await;
        }
    }

    /// Of two that are published at once, one at most is stored, and both know where. None is where a try before was.
    fn same(&self, ready: &Ready, first: &Published, second: &Published) {
        if first.position != second.position || !(first.duplicate || second.duplicate) {
            let (uid, name) = (ready.uid, ready.topic.name);
            let wrong = format!("{uid} of {name} was published twice at once: {first:?} and {second:?}");
            self.world.verdict.wrong(&self.name, wrong, String::new);
        }
    }
}

impl Ready {
    fn publish(&self) -> <Publish as IntoFuture>::IntoFuture {
        let payload = self.uid.payload(self.size);
        let mut publish = self.node.broker.publish(self.topic.name, payload).event(self.uid.to_string());
        if let Some(key) = self.key {
            publish = publish.key(format!("k{key}"));
        }
        if self.topic.ids {
            publish = publish.message_id(format!("id-{}", self.uid));
        }
        publish.into_future()
    }
}

fn unknown() -> PublishError {
    let kind = fanfare::backend::BackendErrorKind::OutcomeUnknown;
    let cause = fanfare::backend::BackendError::new(
        kind,
        "publish",
        "the node stops, and a try before had no answer",
    );
    PublishError::OutcomeUnknown(cause)
}

/// What an error says of the message.
fn fate(error: &PublishError) -> Fate {
    match error {
        PublishError::OutcomeUnknown(_) | PublishError::NotCarried(_) => Fate::Unknown,
        _ => Fate::Never,
    }
}

fn kind(error: &PublishError) -> String {
    match error {
        PublishError::NotStored(cause) => format!("not stored ({:?})", cause.kind()),
        PublishError::NotCarried(cause) => format!("not carried ({:?})", cause.kind()),
        PublishError::OutcomeUnknown(_) => "outcome unknown".into(),
        PublishError::Draining => "draining".into(),
        other => other.to_string(),
    }
}
