//! The whole outbox on a socket that takes what it likes: what comes out is whole frames in a legal order, nothing
//! is unaccounted for, and nobody polls but who was woken.

// `allow-unwrap-in-tests` does not reach the helpers of tests.
#![allow(clippy::unwrap_used)]

use std::{
    collections::HashMap,
    io::{self, IoSlice},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use parking_lot::Mutex;
use proptest::prelude::*;

use super::{
    Outbox, Subject, Wire,
    testing::{self, Draft, format, frame_of, frames_in, pulls, shared, unaccounted, with_batch},
};
use crate::{
    message::{Epoch, Gap, GapReason, Position},
    session::{CloseKind, CloseReason},
    subscriber::{Notice, SubscriptionId, Then},
    topic::{OverflowPolicy, TopicName},
};

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

/// A socket that takes as many bytes as it was told to.
#[derive(Default)]
struct Sink(Mutex<Sunk>);

#[derive(Default)]
struct Sunk {
    room: usize,
    taken: Vec<u8>,
    broken: bool,
    waker: Option<Waker>,
    writes: usize,
}

impl Wire for Sink {
    fn try_write(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut sunk = self.0.lock();
        sunk.writes += 1;
        if sunk.broken {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        let mut written = 0;
        for buf in bufs {
            let part = buf.len().min(sunk.room);
            sunk.taken.extend_from_slice(&buf[..part]);
            sunk.room -= part;
            written += part;
        }
        if written == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(written) }
    }

    fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut sunk = self.0.lock();
        if sunk.room > 0 || sunk.broken {
            return Poll::Ready(Ok(()));
        }
        sunk.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Sink {
    fn open(&self, bytes: usize) {
        let mut sunk = self.0.lock();
        sunk.room += bytes;
        let waker = if sunk.room > 0 { sunk.waker.take() } else { None };
        drop(sunk);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// The connection's task: polled when it was woken, never else.
struct Task {
    woken: AtomicBool,
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.woken.store(true, Ordering::Relaxed);
    }
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

const CONTROL_BYTES: usize = 200;

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

    fn apply(&mut self, op: &Op, limit: usize) {
        let subscriber = self.outbox.as_subscriber();
        match op {
            Op::Offer { of, messages, more_follows } => {
                let sub = &mut self.subs[*of];
                let Some(id) = sub.id.filter(|_| !sub.catching_up) else { return };
                let mut batch = Vec::new();
                for (size, hidden) in messages {
                    let place = (*of != DIRECT).then_some((1, sub.next, sub.next - 1));
                    let (topic, seq) = (sub.topic.clone(), sub.next);
                    batch.push(Draft { topic, seq, size: *size, key: None, hidden: *hidden, place }.build());
                    sub.next += 1;
                }
                self.offered += batch.len() as u64;
                let offer =
                    with_batch(&sub.topic, id, &batch, false, *more_follows, |batch| subscriber.offer(batch));
                match offer.then {
                    Then::Continue => {}
                    Then::CatchUp { after } => {
                        sub.catching_up = true;
                        assert!(after < sub.next);
                        subscriber.notice(id, Notice::CatchingUp(self.outbox.inner.shared.pull_handle()));
                    }
                    Then::Stop => sub.id = None,
                }
            }
            Op::Reply { size, flush } => {
                let mut body = self.replies.to_be_bytes().to_vec();
                body.resize(8 + size, b'-');
                if self.outbox.push_control(frame_of(b'R', "", &body)) && !self.closed {
                    self.replies += 1;
                }
                if *flush {
                    self.outbox.flush();
                }
            }
            Op::Ping => _ = self.outbox.ping(),
            Op::ShardFlush => subscriber.flush(),
            Op::Lost { of } => {
                if let Some(id) = self.subs[*of].id {
                    subscriber.notice(id, Notice::Gap(Gap::new(GapReason::Backend, Some(1))));
                }
            }
            Op::Live { of } => {
                let sub = &mut self.subs[*of];
                if let Some(id) = sub.id {
                    sub.catching_up = false;
                    subscriber.notice(id, Notice::Live(Position::new(Epoch::new(1), sub.next - 1)));
                }
            }
            Op::Open(bytes) => self.sink.open(*bytes),
            Op::Leave { of } => {
                let sub = &mut self.subs[*of];
                if let Some(id) = sub.id.take() {
                    subscriber.notice(id, Notice::Ended(Some(frame_of(b'U', sub.topic.as_str(), b""))));
                }
            }
            Op::Resubscribe { of } => {
                let sub = &mut self.subs[*of];
                if sub.id.is_none() && !self.closed {
                    sub.id = Some(self.outbox.add(Subject::Topic(sub.topic.clone()), sub.policy, limit));
                    sub.catching_up = false;
                }
            }
            Op::Close { finish } => {
                let reason = CloseReason::new(CloseKind::Normal);
                self.closed = true;
                if *finish { self.outbox.finish(reason) } else { self.outbox.close(reason) }
            }
            Op::Break => {
                self.sink.0.lock().broken = true;
                self.sink.open(1);
            }
        }
        self.run();
        let queued = self.outbox.queued();
        let shared = &self.outbox.inner.shared;
        assert_eq!(unaccounted(shared, self.offered, queued), 0, "conservation after {op:?}");
        assert_eq!(shared.budget.messages(), queued);
        assert!(self.outbox.inner.state.lock().control.bytes() <= CONTROL_BYTES + 100);
    }

    /// Polls the connection's task as long as it is woken.
    fn run(&mut self) {
        let waker = Waker::from(self.task.clone());
        let mut cx = Context::from_waker(&waker);
        let mut polls = 0;
        while self.over.is_none() && self.task.woken.swap(false, Ordering::Relaxed) {
            if let Poll::Ready(reason) = self.outbox.poll_flush(&mut cx) {
                self.over = Some(reason);
            }
            polls += 1;
            assert!(polls < 20, "the task wakes itself for ever");
        }
        self.closed |= self.over.is_some() || self.outbox.inner.state.lock().is_closing();
    }

    /// Opens the socket for good: all that waits comes out, and nobody had to ask.
    fn settle(&mut self) {
        // What a turn of reading and a step of the shard end with.
        self.outbox.flush();
        self.outbox.as_subscriber().flush();
        self.run();
        self.sink.open(testing::EVERYTHING);
        self.run();
        let broken = self.sink.0.lock().broken;
        assert!(self.outbox.is_empty(), "something waits on a socket that takes it");
        assert_eq!(self.outbox.stalled_for(), None);
        assert_eq!(self.over.is_some(), self.closed);
        assert!(
            !self.outbox.inner.state.lock().has_direct_queue(),
            "it is kept although nothing waits in it"
        );
        let shared = &self.outbox.inner.shared;
        assert_eq!(unaccounted(shared, self.offered, 0), 0, "conservation at the end");
        assert_eq!((shared.budget.used(), shared.budget.messages()), (0, 0));
        if let Some(reason) = &self.over
            && broken
        {
            assert!(matches!(reason.kind, CloseKind::Lost | CloseKind::Normal | CloseKind::SlowConsumer));
        }
        if self.subs.iter().any(|sub| sub.catching_up && sub.id.is_some()) && !self.closed {
            assert!(pulls(shared) > 0, "nobody asked for the next page");
        }
    }

    fn check_stream(&self) {
        let sunk = self.sink.0.lock();
        if sunk.broken {
            return;
        }
        let frames = frames_in(&sunk.taken);
        let shared = &self.outbox.inner.shared;
        let mut last = HashMap::<String, u64>::new();
        let (mut messages, mut gaps, mut replies) = (0, 0, 0);
        for (at, (kind, topic, body)) in frames.iter().enumerate() {
            let number = body.get(..8).map(|body| u64::from_be_bytes(body.try_into().unwrap()));
            match kind {
                b'M' => {
                    messages += 1;
                    let last = last.entry(topic.clone()).or_default();
                    assert!(number.unwrap() > *last, "{topic}: {number:?} after {last}");
                    *last = number.unwrap();
                }
                b'C' | b'L' => {
                    let last = last.entry(topic.clone()).or_default();
                    assert!(number.unwrap() >= *last, "{topic}: position {number:?} after {last}");
                    *last = number.unwrap();
                }
                b'G' => gaps += 1,
                b'R' => {
                    assert_eq!(number, Some(replies), "replies in order, none lost");
                    replies += 1;
                }
                b'X' => assert_eq!(at + 1, frames.len(), "the close frame is the last"),
                _ => {}
            }
        }
        assert_eq!(messages, shared.totals.delivered.get(), "delivered is what the socket took");
        assert_eq!(gaps, shared.totals.gaps.get());
        assert_eq!(replies, self.replies);
        assert_eq!(self.closed, frames.last().is_some_and(|(kind, ..)| *kind == b'X'));
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

fn world(policy: OverflowPolicy, limit: usize) -> World {
    let mut world = World::new([policy; 3], limit, testing::EVERYTHING);
    world.run();
    world
}

fn offer(world: &mut World, of: usize, count: usize, more_follows: bool) {
    world.apply(&Op::Offer { of, messages: vec![(10, false); count], more_follows }, 4);
}

#[test]
fn a_clear_socket_takes_a_batch_in_one_write_and_keeps_nothing() {
    let mut world = world(OverflowPolicy::DropOldest, 4);
    world.sink.open(testing::EVERYTHING);
    offer(&mut world, 0, 100, false);
    assert_eq!(world.sink.0.lock().writes, 1);
    assert_eq!(world.outbox.inner.shared.totals.delivered.get(), 100);
    let state = world.outbox.inner.state.lock();
    assert_eq!(state.ring.capacity(), 0);
    assert_eq!(state.remainder.len(), 0);
}

/// Gathering, or hiding something from this client, is no reason to lose what the socket would take.
#[test]
fn no_policy_is_asked_while_the_socket_takes_more() {
    let mut world = world(OverflowPolicy::DropOldest, 4);
    world.sink.open(testing::EVERYTHING);
    offer(&mut world, 0, 100, true);
    let mut messages = vec![(10, false); 100];
    messages[50].1 = true;
    world.apply(&Op::Offer { of: 1, messages, more_follows: false }, 4);
    world.settle();
    world.check_stream();
    let totals = &world.outbox.inner.shared.totals;
    assert_eq!((totals.dropped.get(), totals.delivered.get(), totals.hidden.get()), (0, 199, 1));
}

/// `finish` while the socket takes only a part: the close frame stays behind what was queued before it.
#[test]
fn a_refused_close_frame_does_not_overtake() {
    let mut world = world(OverflowPolicy::DropOldest, 100);
    offer(&mut world, 0, 10, false);
    world.apply(&Op::Close { finish: true }, 4);
    for _ in 0..100 {
        world.apply(&Op::Open(7), 4);
    }
    world.apply(&Op::Lost { of: 0 }, 4);
    world.settle();
    world.check_stream();
    assert_eq!(world.outbox.inner.shared.totals.delivered.get(), 10);
}

/// A blocked task has asked the socket; each further message would wake it for nothing.
#[test]
fn a_blocked_connection_is_not_woken_by_every_message() {
    let mut world = world(OverflowPolicy::DropOldest, 4);
    offer(&mut world, 0, 1, false);
    let subscriber = world.outbox.as_subscriber();
    let message = Draft {
        topic: world.subs[0].topic.clone(),
        seq: 2,
        size: 0,
        key: None,
        hidden: false,
        place: Some((1, 2, 1)),
    };
    with_batch(&world.subs[0].topic, world.subs[0].id.unwrap(), &[message.build()], false, false, |batch| {
        subscriber.offer(batch)
    });
    assert!(!world.task.woken.load(Ordering::Relaxed));
}

/// What was removed while the socket was blocked does not stall it.
#[test]
fn a_blocked_socket_that_nothing_waits_for_is_not_stalled() {
    let mut world = world(OverflowPolicy::DropOldest, 4);
    offer(&mut world, 0, 2, false);
    assert!(world.outbox.stalled_for().is_some());
    let id = world.subs[0].id.take().unwrap();
    world.outbox.as_subscriber().notice(id, Notice::Ended(None));
    assert_eq!(world.outbox.stalled_for(), None);
    offer(&mut world, 1, 1, false);
    assert!(world.outbox.stalled_for().is_some());
}

/// Replies that fill the control lane of a free socket are written by whoever waits for room.
#[test]
fn waiting_for_room_makes_room() {
    let world = world(OverflowPolicy::DropOldest, 4);
    world.sink.open(testing::EVERYTHING);
    let frame = frame_of(b'R', "", &[0; 90]);
    while world.outbox.push_control(frame.clone()) {}
    let mut cx = Context::from_waker(Waker::noop());
    assert_eq!(world.outbox.poll_room(&mut cx, frame.len()), Poll::Ready(()));
    assert!(world.outbox.push_control(frame));
}

/// The outbox of a reader who leaves gives back what it held.
#[test]
fn a_dropped_outbox_gives_back_its_budget() {
    let mut world = world(OverflowPolicy::DropOldest, 4);
    offer(&mut world, 0, 3, false);
    let World { outbox, offered, .. } = world;
    let (budget, totals) = (outbox.inner.shared.budget.clone(), outbox.inner.shared.totals.clone());
    assert_eq!(budget.messages(), 3);
    drop(outbox);
    assert_eq!((budget.messages(), budget.used()), (0, 0));
    assert_eq!(totals.discarded.get(), offered);
}
