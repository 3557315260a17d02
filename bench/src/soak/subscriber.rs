//! Subscribers within the process: they come, read at their own speed, go, and come back where they stopped.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use fanfare::{
    message::Position,
    session::Start,
    subscription::{Delivery, Subscription},
    topic::OverflowPolicy,
};
use fastrand::Rng;
use tokio::time::{sleep, sleep_until};

use super::{
    gate::Phase,
    nodes::Node,
    roster::Place,
    topics::{OPEN, PATTERNS, TOPICS, index},
    track::{Seen, Track, Wanted},
    world::{World, between},
};

/// How long a subscription may take.
const SUBSCRIBED_WITHIN: Duration = Duration::from_secs(60);

/// Subscribes until the end.
pub(super) async fn run(world: Arc<World>, name: String, mut rng: Rng) {
    let mut subscriber = Subscriber { world: world.clone(), name, positions: HashMap::new() };
    while world.gate.until(|phase| phase != Phase::Quiet).await != Phase::Over {
        let Some(node) = world.nodes.pick(&mut rng) else {
            sleep(between(&mut rng, 5, 50)).await;
            continue;
        };
        subscriber.stay(&node, &mut rng).await;
        if rng.bool() {
            sleep(between(&mut rng, 0, 3000)).await;
        }
    }
}

struct Subscriber {
    world: Arc<World>,
    name: String,
    /// Where it stopped, by topic.
    positions: HashMap<&'static str, Position>,
}

/// How one subscription is made and read.
struct Habit {
    topic: Option<&'static str>,
    policy: OverflowPolicy,
    queue: usize,
    /// How long it takes over a message at most: milliseconds.
    pace: u64,
    stays: Duration,
}

impl Subscriber {
    async fn stay(&mut self, node: &Node, rng: &mut Rng) {
        let habit = habit(rng);
        let (name, start) = match habit.topic {
            Some(topic) => (topic, self.start(topic, rng)),
            None => (PATTERNS[rng.usize(..PATTERNS.len())], Start::Live),
        };
        let conflates = habit.policy == OverflowPolicy::ConflateByKey;
        let wanted = Wanted { name: name.to_owned(), start, conflates };
        let subscribe = match habit.topic {
            Some(topic) => node.broker.subscribe(topic),
            None => node.broker.subscribe_pattern(name),
        };
        let subscribe = subscribe.start(start).overflow(habit.policy).queue_messages(habit.queue);
        let began = Instant::now();
        let subscribed = tokio::time::timeout(SUBSCRIBED_WITHIN, subscribe.into_future()).await;
        let subscription = match subscribed {
            Ok(Ok(subscription)) => subscription,
            Ok(Err(error)) => {
                self.world.counts.add(&format!("subscribe: {error}"));
                return sleep(between(rng, 50, 500)).await;
            }
            Err(_) => {
                let wrong = format!("subscribing to {name} hangs since {:?}", began.elapsed());
                return self.world.verdict.wrong(&self.name, wrong, String::new);
            }
        };
        self.world.counts.add("subscriptions");
        let since = self.world.ledger.tick();
        let track = match Track::new(&wanted, subscription.outcome(), since) {
            Ok(track) => track,
            Err(wrong) => return self.world.verdict.wrong(&self.name, wrong, String::new),
        };
        let began = format!(
            "on node {} (run {}), {:?}, queue {}, pace {} ms, {:?}",
            node.slot,
            node.run,
            habit.policy,
            habit.queue,
            habit.pace,
            subscription.outcome()
        );
        let place = Place::take(&self.world, self.name.clone(), &wanted, track, began);
        self.read(node, &place, subscription, &habit, rng).await;
        if let (Some(topic), Some(position)) = (habit.topic, place.position()) {
            self.positions.insert(topic, position);
        }
    }

    async fn read(
        &self,
        node: &Node,
        place: &Place,
        mut subscription: Subscription<str>,
        habit: &Habit,
        rng: &mut Rng,
    ) {
        let gate = &self.world.gate;
        let until = tokio::time::Instant::now() + habit.stays;
        let leaving = async {
            sleep_until(until).await;
            gate.until(|phase| phase != Phase::Quiet).await;
        };
        let leaving = async {
            tokio::select! {
                () = leaving => {}
                () = node.stopping() => {}
                _ = gate.until(|phase| phase == Phase::Over) => {}
                () = self.world.verdict.over() => {}
            }
        };
        tokio::pin!(leaving);
        loop {
            let delivery = tokio::select! {
                biased;
                () = &mut leaving => return,
                delivery = subscription.recv() => delivery,
            };
            match delivery {
                Some(Delivery::Message(received)) => place.message(received.message()),
                Some(Delivery::Gap(gap)) => place.gap(&gap),
                Some(Delivery::Live(position)) => place.live(position),
                Some(other) => return place.wrong(format!("{other:?}")),
                None if habit.policy == OverflowPolicy::Disconnect || node.is_stopping() => {
                    self.world.counts.add("disconnected");
                    return;
                }
                None => {
                    place.note(Seen::Other("the end".into()));
                    // A node that stops ends its subscriptions perhaps before it is known here.
                    sleep(Duration::from_secs(1)).await;
                    if !node.is_stopping() {
                        place.wrong("the subscription ended, and nobody had a reason");
                    }
                    return;
                }
            }
            if habit.pace > 0 && gate.phase() == Phase::Busy {
                sleep(between(rng, 0, habit.pace)).await;
            }
        }
    }

    fn start(&self, topic: &'static str, rng: &mut Rng) -> Start {
        if index(topic).is_none_or(|index| !TOPICS[index].logged) {
            return Start::Live;
        }
        if let (Some(position), true) = (self.positions.get(topic), rng.u32(..10) < 7) {
            return Start::After(*position);
        }
        match rng.u32(..4) {
            0 => Start::Earliest,
            1 => Start::Last(rng.u64(0..100)),
            2 => Start::Latest,
            _ => Start::Live,
        }
    }
}

fn habit(rng: &mut Rng) -> Habit {
    let topic = (rng.u32(..5) > 0).then(|| TOPICS[rng.usize(..OPEN)].name);
    let policy = match rng.u32(..8) {
        0 => OverflowPolicy::DropNewest,
        1 | 2 => OverflowPolicy::DropOldest,
        3 => OverflowPolicy::ConflateByKey,
        4 => OverflowPolicy::Disconnect,
        _ => OverflowPolicy::Resync,
    };
    let queue = match rng.u32(..3) {
        0 => rng.usize(1..8),
        1 => rng.usize(8..64),
        _ => 256,
    };
    let pace = match rng.u32(..4) {
        0 => rng.u64(20..300),
        1 => rng.u64(1..20),
        _ => 0,
    };
    Habit { topic, policy, queue, pace, stays: between(rng, 50, 40_000) }
}
