//! The queue of one subscription, under each overflow policy, against a list in which nothing is ever merged.

// `allow-unwrap-in-tests` does not reach the helpers of tests.
#![allow(clippy::unwrap_used)]

mod checks;
mod expected;
mod steps;

use std::{collections::HashMap, sync::Arc};

use proptest::prelude::*;

use crate::{
    message::{Message, Position},
    outbox::{
        Queue, Shared, Subject,
        state::State,
        testing::{self, shared},
    },
    subscriber::SubscriptionId,
    topic::{OverflowPolicy, TopicName},
};

/// What a message is charged beyond its bytes.
const OVERHEAD: usize = 64;

#[derive(Clone, Debug)]
enum Op {
    Publish(Vec<Spec>),
    /// Losses that the shard tells; `None` when nobody knows how many.
    Lose(Option<u64>),
    /// So many are taken, and the last of them put back: the socket refused them.
    Take {
        pop: usize,
        unpop: usize,
    },
    /// The shard sees to what was pulled.
    Serve,
    NewEpoch,
}

#[derive(Clone, Debug)]
struct Spec {
    size: usize,
    key: Option<u8>,
    hidden: bool,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let key = prop_oneof![1 => Just(None), 3 => (0..4u8).prop_map(Some)];
    let spec = (0..200usize, key, prop::bool::weighted(0.2)).prop_map(|(size, key, hidden)| Spec {
        size,
        key,
        hidden,
    });
    let op = prop_oneof![
        8 => prop::collection::vec(spec, 1..5).prop_map(Op::Publish),
        1 => prop_oneof![3 => (1..4u64).prop_map(Some), 1 => Just(None)].prop_map(Op::Lose),
        4 => (1..6usize, 0..4usize).prop_map(|(pop, unpop)| Op::Take { pop, unpop }),
        3 => Just(Op::Serve),
        1 => Just(Op::NewEpoch),
    ];
    prop::collection::vec(op, 1..60)
}

/// A place in the list.
#[derive(Debug)]
enum Slot {
    Message(u64),
    /// How many are lost here, if that is known.
    Lost(Option<u64>),
    Hidden(u64),
}

/// What the shard does with the subscription.
#[derive(Debug)]
enum Progress {
    Live,
    CatchingUp(Position),
    Stopped,
}

struct World {
    policy: OverflowPolicy,
    limit: usize,
    queue_bytes: usize,
    logged: bool,
    topic: TopicName,
    state: State,
    shared: Shared,
    id: SubscriptionId,
    progress: Progress,
    /// All messages by their number, and the log of the present epoch.
    messages: HashMap<u64, Arc<Message>>,
    log: Vec<u64>,
    epoch: u64,
    next_seq: u64,
    offered: u64,
    slots: Vec<Slot>,
    /// The number of the last message that came out.
    last_out: u64,
    /// Told since then: `None` once nobody knows.
    told: Option<u64>,
    dropped: u64,
    conflated: u64,
    pulled: bool,
}

impl World {
    fn new(policy: OverflowPolicy, limit: usize, queue_bytes: usize, logged: bool) -> Self {
        let shared = shared(None, queue_bytes, 1024);
        let topic = TopicName::new("t").unwrap();
        let mut state = State::default();
        let id = state.add(Queue::new(Subject::Topic(topic.clone()), policy, limit));
        Self {
            policy,
            limit,
            queue_bytes,
            logged,
            topic,
            state,
            shared,
            id,
            progress: Progress::Live,
            messages: HashMap::new(),
            log: Vec::new(),
            epoch: 1,
            next_seq: 1,
            offered: 0,
            slots: Vec::new(),
            last_out: 0,
            told: Some(0),
            dropped: 0,
            conflated: 0,
            pulled: false,
        }
    }
}

fn run(policy: OverflowPolicy, limit: usize, bytes: usize, logged: bool, ops: &[Op]) {
    let mut world = World::new(policy, limit, bytes, logged);
    for op in ops {
        world.apply(op);
    }
    world.drain();
}

macro_rules! policies {
    ($($name:ident: $policy:ident;)*) => {
        proptest! {
            #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]
            $(
                #[test]
                fn $name(limit in 1..8usize, bytes in 80..1500usize, logged: bool, ops in ops()) {
                    run(OverflowPolicy::$policy, limit, bytes, logged, &ops);
                }
            )*
        }
    };
}

policies! {
    drop_oldest: DropOldest;
    drop_newest: DropNewest;
    conflate_by_key: ConflateByKey;
    disconnect: Disconnect;
    resync: Resync;
}

/// Losses and hidden messages in turn, on a reader that has stopped, are no way to grow the queue.
#[test]
fn gaps_and_cursors_in_turn_do_not_pile_up() {
    let mut world = World::new(OverflowPolicy::DropNewest, 1, testing::EVERYTHING, true);
    for hidden in [false, true].into_iter().cycle().take(1000) {
        world.publish(&[Spec { size: 0, key: None, hidden }]);
    }
    assert!(world.state.queue(world.id).unwrap().entries.len() <= 4);
}
