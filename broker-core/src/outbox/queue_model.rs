//! The queue of one subscription, under each overflow policy, against a list in which nothing is ever merged.

// `allow-unwrap-in-tests` does not reach the helpers of tests.
#![allow(clippy::unwrap_used)]

use std::{collections::HashMap, sync::Arc};

use proptest::prelude::*;

use super::Entry;
use crate::{
    message::{Epoch, Gap, GapReason, Message, Position},
    outbox::{
        Queue, Shared, Subject,
        state::State,
        testing::{self, Draft, pulls, seq_of, shared, unaccounted, with_batch},
    },
    subscriber::{Notice, SubscriptionId, Then},
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

    fn apply(&mut self, op: &Op) {
        match op {
            Op::Publish(specs) => self.publish(specs),
            Op::Lose(missed) => {
                if matches!(self.progress, Progress::Live) {
                    self.tell(GapReason::Backend, *missed);
                }
            }
            Op::Take { pop, unpop } => self.take(*pop, *unpop),
            Op::Serve => self.serve(),
            Op::NewEpoch => self.new_epoch(),
        }
        self.check();
    }

    fn publish(&mut self, specs: &[Spec]) {
        let mut batch = Vec::new();
        for spec in specs {
            let seq = self.next_seq;
            self.next_seq += 1;
            // Sparse offsets: twice the number.
            let prev = self.log.last().map_or(0, |seq| seq * 2);
            let place = self.logged.then_some((self.epoch, seq * 2, prev));
            let Spec { size, key, hidden } = spec.clone();
            let message = Draft { topic: self.topic.clone(), seq, size, key, hidden, place }.build();
            self.messages.insert(seq, message.clone());
            self.log.push(seq);
            batch.push(message);
        }
        if let Progress::Live = self.progress {
            self.offer(&batch, false);
        }
    }

    fn offer(&mut self, batch: &[Arc<Message>], page: bool) {
        let then = self.admit_all(batch, page);
        self.offered += batch.len() as u64;
        let offer = with_batch(&self.topic, self.id, batch, page, false, |batch| {
            self.state.offer(&self.shared, batch)
        });
        assert_eq!(offer.then, then);
        match offer.then {
            Then::Continue => {}
            Then::Stop => self.progress = Progress::Stopped,
            Then::CatchUp { after } => {
                self.progress = Progress::CatchingUp(Position::new(Epoch::new(self.epoch), after));
                if !page {
                    let pull = self.shared.pull_handle();
                    self.state.notice(&self.shared, self.id, Notice::CatchingUp(pull));
                }
            }
        }
    }

    /// The model: what is to become of each message, one after the other.
    fn admit_all(&mut self, batch: &[Arc<Message>], page: bool) -> Then {
        let mut before = None;
        for message in batch {
            let seq = seq_of(message);
            let place = message.place();
            if !message.except().is_empty() {
                if place.is_some() {
                    self.slots.push(Slot::Hidden(seq));
                }
                before = place.map(|place| place.position.offset);
                continue;
            }
            if !self.fits(seq) {
                if page {
                    return Then::CatchUp { after: before.unwrap_or(place.unwrap().prev) };
                }
                match self.policy {
                    OverflowPolicy::DropNewest => {
                        self.slots.push(Slot::Lost(Some(1)));
                        self.dropped += 1;
                        continue;
                    }
                    OverflowPolicy::Disconnect => {
                        self.dropped += 1;
                        self.slots.clear();
                        return Then::Stop;
                    }
                    OverflowPolicy::Resync if self.logged => return self.resync(message),
                    OverflowPolicy::ConflateByKey => {
                        let same = |slot: &Slot| match slot {
                            Slot::Message(older) => self.messages[older].key() == message.key(),
                            _ => false,
                        };
                        if message.key().is_some()
                            && let Some(at) = self.slots.iter().rposition(same)
                        {
                            self.slots.remove(at);
                            self.conflated += 1;
                        }
                    }
                    _ => {}
                }
                while !self.fits(seq) {
                    let oldest = self.slots.iter_mut().find(|slot| matches!(slot, Slot::Message(_))).unwrap();
                    *oldest = Slot::Lost(Some(1));
                    self.dropped += 1;
                }
            }
            self.slots.push(Slot::Message(seq));
            before = place.map(|place| place.position.offset);
        }
        Then::Continue
    }

    fn resync(&mut self, message: &Message) -> Then {
        let mut after = None;
        let (epoch, messages) = (Epoch::new(self.epoch), &self.messages);
        self.slots.retain_mut(|slot| match slot {
            Slot::Message(seq) => {
                let place = messages[seq].place().unwrap();
                if place.position.epoch == epoch {
                    after.get_or_insert(place.prev);
                    return false;
                }
                *slot = Slot::Lost(Some(1));
                true
            }
            Slot::Lost(_) => true,
            Slot::Hidden(_) => false,
        });
        Then::CatchUp { after: after.unwrap_or(message.place().unwrap().prev) }
    }

    fn queued(&self) -> Vec<u64> {
        let numbers = self.slots.iter().filter_map(|slot| match slot {
            Slot::Message(seq) => Some(*seq),
            _ => None,
        });
        numbers.collect()
    }

    fn fits(&self, seq: u64) -> bool {
        let queued = self.queued();
        let charge = |seq: &u64| self.messages[seq].weight() + OVERHEAD;
        let bytes: usize = queued.iter().map(charge).sum();
        queued.is_empty() || (queued.len() < self.limit && bytes + charge(&seq) <= self.queue_bytes)
    }

    fn tell(&mut self, reason: GapReason, missed: Option<u64>) {
        self.slots.push(Slot::Lost(missed));
        self.state.notice(&self.shared, self.id, Notice::Gap(Gap::new(reason, missed)));
    }

    fn new_epoch(&mut self) {
        if !self.logged || matches!(self.progress, Progress::Stopped) {
            return;
        }
        self.epoch += 1;
        self.log.clear();
        self.tell(GapReason::Epoch, None);
        if let Progress::CatchingUp(_) = self.progress {
            self.progress = Progress::CatchingUp(Position::new(Epoch::new(self.epoch), 0));
        }
    }

    /// What a shard does when it is pulled: a page of at most three, or live.
    fn serve(&mut self) {
        self.pulled |= pulls(&self.shared) > 0;
        let Progress::CatchingUp(after) = self.progress else { return };
        if !std::mem::take(&mut self.pulled) {
            return;
        }
        assert!(self.queued().is_empty(), "pulled before the last page was sent");
        let page: Vec<_> = self.log.iter().filter(|seq| **seq * 2 > after.offset).take(3).collect();
        let page: Vec<_> = page.into_iter().map(|seq| self.messages[seq].clone()).collect();
        match page.last() {
            None => {
                self.progress = Progress::Live;
                self.state.notice(&self.shared, self.id, Notice::Live(after));
            }
            Some(last) => {
                self.progress = Progress::CatchingUp(last.position().unwrap());
                self.offer(&page, true);
            }
        }
    }

    fn take(&mut self, pop: usize, unpop: usize) {
        let mut taken = Vec::new();
        for _ in 0..pop {
            taken.extend(self.state.pop(&self.shared));
        }
        for _ in 0..unpop.min(taken.len()) {
            let (id, entry) = taken.pop().unwrap();
            self.state.unpop(&self.shared, id, entry);
        }
        for (_, entry) in taken {
            if let Some(queue) = self.state.queue(self.id) {
                queue.note_sent(&entry);
            }
            self.came_out(entry);
        }
        self.state.pull_where_due(&self.shared);
    }

    fn came_out(&mut self, entry: Entry) {
        let first = self.slots.iter().position(|slot| matches!(slot, Slot::Message(_)));
        let run = &self.slots[..first.unwrap_or(self.slots.len())];
        let lost = run.iter().try_fold(0, |sum, slot| match slot {
            Slot::Lost(missed) => Some(sum + (*missed)?),
            _ => Some(sum),
        });
        let is_plain = !run.iter().any(|slot| matches!(slot, Slot::Hidden(_)));
        match entry {
            Entry::Message(message) => {
                self.shared.totals.delivered.add(1);
                let seq = seq_of(&message);
                let Some(Slot::Message(expected)) = first.map(|first| &self.slots[first]) else {
                    panic!("{seq} came out of nothing")
                };
                assert_eq!(seq, *expected);
                assert!(seq > self.last_out, "{seq} after {}", self.last_out);
                assert_eq!(self.told, lost, "told before {seq}: {run:?}");
                self.slots.drain(..=first.unwrap());
                self.last_out = seq;
                self.told = Some(0);
            }
            Entry::Gap(gap) => {
                assert!(gap.missed != Some(0));
                if self.progress_is_simple() && is_plain {
                    // All of the loss at this place, at once.
                    let next = first.map(|first| self.position(&self.slots[first]));
                    assert_eq!(gap.next, next.flatten(), "next after {run:?}");
                }
                self.told = self.told.zip(gap.missed).map(|(told, missed)| told + missed);
                if is_plain && self.policy != OverflowPolicy::Resync {
                    assert_eq!(self.told, lost, "told at once: {run:?}");
                }
                if let (Some(last), true) = (gap.last, self.epoch == 1) {
                    assert!(last.offset >= self.last_out * 2, "{last:?} is before what came out");
                    if let Some(next) = gap.next {
                        assert!(last.offset < next.offset);
                    }
                }
            }
            Entry::Cursor(position) => {
                let at = self
                    .slots
                    .iter()
                    .position(|slot| matches!(slot, Slot::Hidden(seq) if seq * 2 == position.offset));
                let at = at.expect("a cursor of a hidden message");
                assert!(at < first.unwrap_or(self.slots.len()), "a cursor at its place");
                self.slots.remove(at);
            }
            Entry::Live(_) => {}
            Entry::Conflated => panic!("a conflated place came out"),
        }
    }

    fn progress_is_simple(&self) -> bool {
        self.logged && self.epoch == 1
    }

    fn position(&self, slot: &Slot) -> Option<Position> {
        match slot {
            Slot::Message(seq) => self.messages[seq].position(),
            _ => None,
        }
    }

    fn check(&mut self) {
        let queued = self.queued();
        assert_eq!(self.state.messages, queued.len());
        let bytes: usize = queued.iter().map(|seq| self.messages[seq].weight() + OVERHEAD).sum();
        assert_eq!(self.shared.budget.used(), bytes);
        assert_eq!(self.shared.budget.messages(), queued.len());
        assert_eq!(unaccounted(&self.shared, self.offered, queued.len()), 0, "conservation");
        assert_eq!(self.shared.totals.dropped.get(), self.dropped + self.lost_epochs());
        assert_eq!(self.shared.totals.conflated.get(), self.conflated);
        if let Some(queue) = self.state.queue(self.id) {
            let places = queued.len() + queue.keys.as_ref().map_or(0, |keys| keys.holes());
            assert!(places <= 2 * self.limit + 1);
            let lives = queue.entries.iter().filter(|entry| matches!(entry, Entry::Live(_))).count();
            assert!(lives <= 1);
            assert!(queue.entries.len() <= 4 * (places + lives + 1), "{} entries", queue.entries.len());
            if queue.is_empty() {
                assert_eq!(queue.entries.capacity(), 0, "an idle queue holds memory");
                assert_eq!(queue.keys.as_ref().map_or(0, |keys| keys.capacity()), 0);
            }
        }
    }

    /// Queued messages of earlier logs that a resync gave up.
    fn lost_epochs(&self) -> u64 {
        match self.policy {
            OverflowPolicy::Resync if self.logged => self.shared.totals.dropped.get() - self.dropped,
            _ => 0,
        }
    }

    /// Reads everything that is left.
    fn drain(&mut self) {
        for _ in 0..10_000 {
            self.take(4, 0);
            self.serve();
            self.check();
            let idle = self.state.queue(self.id).is_none_or(|queue| queue.is_empty());
            if idle && !matches!(self.progress, Progress::CatchingUp(_)) {
                break;
            }
        }
        assert!(!matches!(self.progress, Progress::CatchingUp(_)), "never live again");
        if matches!(self.progress, Progress::Stopped) {
            return;
        }
        // What is left of the list was all told.
        let lost = self.slots.iter().try_fold(0, |sum, slot| match slot {
            Slot::Lost(missed) => Some(sum + (*missed)?),
            _ => Some(sum),
        });
        assert_eq!(self.told, lost, "told at the end");
        if self.policy == OverflowPolicy::Resync && self.logged {
            let last = self.log.iter().rev().find(|seq| self.messages[seq].except().is_empty());
            if let Some(last) = last {
                assert_eq!(self.last_out, *last, "everything is read again");
            }
        }
        assert_eq!(self.shared.budget.used(), 0);
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
