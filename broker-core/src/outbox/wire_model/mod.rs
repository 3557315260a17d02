//! The whole outbox on a socket that takes what it likes: what comes out is whole frames in a legal order, nothing
//! is unaccounted for, and nobody polls but who was woken.

// `allow-unwrap-in-tests` does not reach the helpers of tests.
#![allow(clippy::unwrap_used)]

mod cases;
mod checks;
mod socket;
mod steps;

use std::sync::{Arc, atomic::AtomicBool};

use proptest::prelude::*;
use socket::{Sink, Task};

use super::{
    Outbox, Subject,
    testing::{format, shared},
};
use crate::{
    session::CloseReason,
    subscriber::SubscriptionId,
    topic::{OverflowPolicy, TopicName},
};

/// How many bytes of replies may wait.
const CONTROL_BYTES: usize = 200;

#[derive(Clone, Debug)]
enum Op {
    /// For one of the subscriptions, or for the connection itself: sizes, and which is hidden.
    Offer {
        of: usize,
        messages: Vec<(usize, bool)>,
        more_follows: bool,
    },
    Reply {
        size: usize,
        flush: bool,
    },
    Ping,
    ShardFlush,
    Lost {
        of: usize,
    },
    Live {
        of: usize,
    },
    /// The socket takes so many bytes more.
    Open(usize),
    Leave {
        of: usize,
    },
    Resubscribe {
        of: usize,
    },
    Close {
        finish: bool,
    },
    Break,
}

/// Of the things to be offered the one that is for the connection itself.
const DIRECT: usize = 3;

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let message = (0..300usize, prop::bool::weighted(0.1));
    let op = prop_oneof![
        20 => (0..=DIRECT, prop::collection::vec(message, 1..6), prop::bool::weighted(0.3))
            .prop_map(|(of, messages, more_follows)| Op::Offer { of, messages, more_follows }),
        6 => (0..80usize, any::<bool>()).prop_map(|(size, flush)| Op::Reply { size, flush }),
        2 => Just(Op::Ping),
        6 => Just(Op::ShardFlush),
        2 => (0..=DIRECT).prop_map(|of| Op::Lost { of }),
        1 => (0..3usize).prop_map(|of| Op::Live { of }),
        16 => prop_oneof![0..40usize, 0..2000usize].prop_map(Op::Open),
        1 => (0..3usize).prop_map(|of| Op::Leave { of }),
        2 => (0..3usize).prop_map(|of| Op::Resubscribe { of }),
        1 => any::<bool>().prop_map(|finish| Op::Close { finish }),
    ];
    let end = prop_oneof![9 => Just(None), 1 => Just(Some(Op::Break))];
    (prop::collection::vec(op, 1..80), end).prop_map(|(mut ops, end)| {
        ops.extend(end);
        ops
    })
}

struct Sub {
    topic: TopicName,
    policy: OverflowPolicy,
    id: Option<SubscriptionId>,
    /// Resync: the shard offers nothing until it was pulled.
    catching_up: bool,
    next: u64,
}

struct World {
    outbox: Outbox,
    sink: Arc<Sink>,
    task: Arc<Task>,
    subs: Vec<Sub>,
    offered: u64,
    replies: u64,
    closed: bool,
    over: Option<CloseReason>,
}

impl World {
    fn new(policies: [OverflowPolicy; 3], limit: usize, queue_bytes: usize) -> Self {
        let outbox = Outbox::new(shared(Some(format()), queue_bytes, CONTROL_BYTES));
        let sink = Arc::new(Sink::default());
        outbox.attach(sink.clone());
        let subs = policies.iter().enumerate().map(|(n, policy)| {
            let topic = TopicName::new(format!("t{n}")).unwrap();
            let id = outbox.add(Subject::Topic(topic.clone()), *policy, limit);
            Sub { topic, policy: *policy, id: Some(id), catching_up: false, next: 1 }
        });
        let (direct, policy) = (TopicName::new("$all").unwrap(), OverflowPolicy::DropOldest);
        let id = Some(SubscriptionId::DIRECT);
        let direct = Sub { topic: direct, policy, id, catching_up: false, next: 1 };
        let subs = subs.chain([direct]).collect();
        let task = Arc::new(Task { woken: AtomicBool::new(true) });
        Self { outbox, sink, task, subs, offered: 0, replies: 0, closed: false, over: None }
    }
}

fn policy() -> impl Strategy<Value = OverflowPolicy> {
    prop::sample::select(vec![
        OverflowPolicy::DropOldest,
        OverflowPolicy::DropNewest,
        OverflowPolicy::ConflateByKey,
        OverflowPolicy::Resync,
        OverflowPolicy::Disconnect,
    ])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_stream_is_whole_frames_in_order(
        policies in [policy(), policy(), policy()],
        limit in 1..6usize,
        queue_bytes in 200..2000usize,
        ops in ops(),
    ) {
        let mut world = World::new(policies, limit, queue_bytes);
        for op in &ops {
            world.apply(op, limit);
        }
        world.settle();
        world.check_stream();
    }
}
