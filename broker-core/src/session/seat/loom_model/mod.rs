//! Sessions that change their connection, under every interleaving of who takes them up, loses them, ends them and lets them go: one
//! connection has the session in the end, or the parking, or nobody; what was subscribed goes on there; and nothing of it is kept.

// `allow-unwrap-in-tests` does not reach the helpers of tests.
#![allow(clippy::unwrap_used)]

mod stage;

use std::time::Duration;

use loom::{future::block_on, thread};
use tokio::time::Instant;

use self::stage::{ANN, Stage};
use crate::{
    backend::NodeId,
    cluster::clients::{Condition, Order, Selection, carry_out},
    session::{CloseKind, CloseReason, secret::Secret},
    topic::TopicPattern,
};

/// A thread of the model checker has the smallest of stacks unless it is told otherwise.
const STACK: usize = 1 << 17;

/// Explores all interleavings with up to so many preemptions.
fn check(preemptions: usize, model: impl Fn(Stage) + Sync + Send + Copy + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = 20_000;
    builder.check(move || {
        let stage = spawn(move || {
            let stage = Stage::new();
            let runtime = stage.runtime.handle().clone();
            // All threads of the model are one of the system's.
            let _entered = runtime.enter();
            model(stage);
        });
        stage.join().unwrap();
    });
}

fn spawn<T: Send + 'static>(act: impl FnOnce() -> T + Send + 'static) -> thread::JoinHandle<T> {
    thread::Builder::new().stack_size(STACK).spawn(act).unwrap()
}

/// The first connection breaks off at whatever moment; one of the others has the session in the end, and who had it before knows.
#[test]
fn of_two_who_take_a_session_up_while_it_is_lost_one_has_it() {
    check(2, |stage| {
        let (mut ann, secret) = stage.ann();
        let [one, two] = [2, 3].map(|number| stage.heir(number, &secret));
        let [one, two] = [one, two].map(|heir| spawn(move || heir.take_up()));
        ann.lose();
        let clients = [one, two].map(|heir| heir.join().unwrap());
        stage.assert_one_has_it(&clients);
        stage.end(clients);
    });
}

/// Two at once, while nobody is there.
#[test]
fn of_two_who_take_a_parked_session_up_one_has_it() {
    check(3, |stage| {
        let secret = stage.absent_ann();
        let [one, two] = [2, 3].map(|number| stage.heir(number, &secret));
        let one = spawn(move || one.take_up());
        let clients = [two.take_up(), one.join().unwrap()];
        stage.assert_one_has_it(&clients);
        stage.end(clients);
    });
}

/// Its time is over at the moment at which it is taken up: it goes on, or nothing of it is left.
#[test]
fn a_session_is_taken_up_or_expires() {
    check(3, |stage| {
        let (mut ann, secret) = stage.ann();
        let (inner, heir) = (stage.inner(), stage.heir(2, &secret));
        let lost = spawn(move || ann.lose());
        let heir = spawn(move || heir.take_up());
        inner.sweep_parking(Instant::now() + Duration::from_secs(3600));
        lost.join().unwrap();
        let client = [heir.join().unwrap()];
        if client[0].has_session() {
            stage.assert_one_has_it(&client);
        } else {
            stage.assert_nobody_has_it(&client, &secret);
        }
        stage.end(client);
    });
}

/// Who is thrown out stays out, also while taking its session up from a connection that is being lost.
#[test]
fn who_is_thrown_out_takes_nothing_up() {
    check(2, |stage| {
        let (mut ann, secret) = stage.ann();
        let (inner, heir) = (stage.inner(), stage.heir(2, &secret));
        let lost = spawn(move || ann.lose());
        let heir = spawn(move || heir.take_up());
        block_on(carry_out(&inner, &her(), Order::Disconnect(CloseKind::Kicked.into())));
        lost.join().unwrap();
        let mut client = heir.join().unwrap();
        stage.run();
        if client.seat.client() == ANN {
            assert_eq!(client.seat.dismissed().map(|reason| reason.kind), Some(CloseKind::Kicked));
        }
        client.lose();
        stage.assert_nobody_has_it(&[], &secret);
        stage.end([client]);
    });
}

/// What is taken back is not there again on the next connection, wherever the session is at that moment.
#[test]
fn what_is_taken_back_is_not_taken_up() {
    check(2, |stage| {
        let (mut ann, secret) = stage.ann();
        let (inner, heir) = (stage.inner(), stage.heir(2, &secret));
        let lost = spawn(move || ann.lose());
        let heir = spawn(move || heir.take_up());
        let all = TopicPattern::new(">").unwrap();
        block_on(carry_out(&inner, &her(), Order::Revoke(all)));
        lost.join().unwrap();
        let client = heir.join().unwrap();
        assert_eq!((client.seat.client(), client.seat.subscriptions()), (ANN, Vec::new()));
        stage.end([client]);
    });
}

fn her() -> Selection {
    let mut selection = Selection::default();
    selection.add(Condition::Client(ANN));
    selection
}

/// The broker drains: the session goes on for the moment, or is there for another node.
#[test]
fn a_session_that_is_taken_up_while_the_broker_drains_is_not_lost() {
    check(2, |stage| {
        let (mut ann, secret) = stage.ann();
        let (inner, heir) = (stage.inner(), stage.heir(2, &secret));
        let lost = spawn(move || ann.lose());
        let heir = spawn(move || heir.take_up());
        inner.draining.send_replace(true);
        for outbox in inner.registry.outboxes() {
            outbox.finish(CloseReason::new(CloseKind::Draining));
        }
        lost.join().unwrap();
        let mut client = heir.join().unwrap();
        stage.run();
        let said = client.read();
        assert!(said.contains("close:Draining"), "{said}");
        client.lose();
        assert_eq!(stage.parked(), 1, "{said}");
        let lent = inner.parking.lend_some(NodeId::new(9), usize::MAX);
        assert!(lent.iter().any(|parked| parked.client == ANN && parked.subscriptions.len() == 2), "{said}");
        stage.end([client]);
    });
}

/// Another node is given it while it is taken up here: only one of them has it.
#[test]
fn a_session_is_taken_up_here_or_on_another_node() {
    check(3, |stage| {
        let (mut ann, text) = stage.ann();
        let (inner, heir) = (stage.inner(), stage.heir(2, &text));
        let lost = spawn(move || ann.lose());
        let heir = spawn(move || heir.take_up());
        let (secret, there) = (text.parse::<Secret>().unwrap(), NodeId::new(9));
        let lend = inner.lend(ANN, secret.hash(), Some("ann"), there, Duration::ZERO);
        let is_there = block_on(lend).is_some();
        inner.parking.settle(ANN, secret.hash(), there, true);
        lost.join().unwrap();
        let client = [heir.join().unwrap()];
        if is_there {
            stage.assert_nobody_has_it(&client, &text);
        } else {
            stage.assert_one_has_it(&client);
        }
        stage.end(client);
    });
}
