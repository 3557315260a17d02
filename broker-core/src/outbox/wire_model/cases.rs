//! Single cases that random lives seldom meet.

use std::{
    sync::atomic::Ordering,
    task::{Context, Poll, Waker},
};

use super::{Op, World};
use crate::{
    outbox::testing::{self, Draft, frame_of, with_batch},
    subscriber::Notice,
    topic::OverflowPolicy,
};

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
    assert!(state.remainder.is_none());
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
