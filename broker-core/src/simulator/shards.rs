//! The shards of a broker, in the simulator's hands.

use std::collections::VecDeque;

use crate::{
    Broker,
    fanout::{Item, Op, Shard},
};

pub(super) struct Shards {
    shards: Vec<Held>,
}

struct Held {
    shard: Shard,
    inbox: std::sync::Arc<crate::fanout::Inbox>,
    lane: VecDeque<Op>,
    data: VecDeque<Item>,
}

impl Shards {
    /// Takes the shards away from the broker's own tasks, which have not run yet.
    pub(super) fn take(broker: &Broker) -> Self {
        let inner = broker.inner();
        inner.take_shards().iter().for_each(tokio::task::JoinHandle::abort);
        let shards = inner.shard_contexts().map(|context| Held {
            inbox: context.inbox.clone(),
            shard: Shard::new(context),
            lane: VecDeque::new(),
            data: VecDeque::new(),
        });
        Self { shards: shards.collect() }
    }

    /// Lets one shard take what waits, and make so many offers. False when it had nothing to do.
    pub(super) fn step(&mut self, which: usize, offers: usize) -> bool {
        let index = which % self.shards.len();
        let Held { shard, inbox, lane, data } = &mut self.shards[index];
        inbox.take(lane, data);
        let works = !lane.is_empty() || !data.is_empty() || !shard.is_idle();
        if works {
            shard.step_within(lane, data, offers);
        }
        works
    }

    pub(super) fn step_all(&mut self) -> bool {
        (0..self.shards.len()).map(|index| self.step(index, 256)).fold(false, |any, moved| any | moved)
    }
}
