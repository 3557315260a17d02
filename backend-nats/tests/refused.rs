//! What a server refuses while nodes are connected: it fails alone, and what is allowed again works again.

mod support;

use std::time::Duration;

use fanfare_core::backend::{Backend, BackendError, BackendErrorKind, BackendState, Interest};
use fanfare_nats::NatsBackend;
use fanfare_testkit::{
    faults::{Lone, Told},
    server::Program,
};
use support::{PATIENCE, Setup, accounts, lone, on_both, topic};
use tokio::time::{Instant, sleep};

on_both! {
    one_subscription_too_many_is_refused_alone
    a_subject_that_is_taken_away_is_heard_when_it_is_given_back
    who_asks_again_for_what_is_refused_is_refused_again
}

const JETSTREAM: &str = "jetstream { store_dir: \"{dir}/jetstream\" }";

fn interest(name: &str) -> Interest {
    Interest::Topic { name: topic(name), retention: None }
}

async fn subscribe(node: &Lone<NatsBackend>, name: &str) -> Result<(), BackendError> {
    node.backend.subscribe(&interest(name)).await.map(drop)
}

/// Messages come by a topic, from now on.
async fn hears(node: &Lone<NatsBackend>, publisher: &Lone<NatsBackend>, name: &str, text: &str) {
    publisher.hand_over(name, text, None).await.expect("it is carried");
    node.until(text, |told| told.contains(&Told::Message(name.into(), text.into()))).await;
}

async fn one_subscription_too_many_is_refused_alone(program: Program) {
    let Some(setup) = Setup::with(program, &["max_subscriptions: 20"]).await else { return };
    let (node, publisher) = (lone(setup.builder()).await, lone(setup.builder()).await);
    let connections = setup.proxy.accepted();
    let names: Vec<_> = (0..30).map(|n| format!("t.{n}")).collect();
    let mut refused = 0;
    for name in &names {
        if let Err(error) = subscribe(&node, name).await {
            assert!(error.to_string().contains("max_subscriptions"), "{error}");
            assert_eq!(error.kind(), BackendErrorKind::Refused);
            node.backend.unsubscribe(&interest(name)).await.expect("it is given up");
            refused += 1;
        }
    }
    assert!((10..20).contains(&refused), "{refused} are refused of 30 where a connection may have 20");
    hears(&node, &publisher, &names[0], "the first one").await;
    // Several at once.
    let all = names.iter().rev().take(5).map(|name| subscribe(&node, name));
    assert!(futures_util::future::join_all(all).await.iter().all(Result::is_err));
    for name in names.iter().rev().take(5) {
        node.backend.unsubscribe(&interest(name)).await.expect("it is given up");
    }
    // There is room again.
    node.backend.unsubscribe(&interest(&names[1])).await.expect("an end");
    subscribe(&node, "another").await.expect("there is room");
    hears(&node, &publisher, "another", "the other one").await;
    assert_eq!(setup.proxy.accepted(), connections, "the connection stays");
    for node in [node, publisher] {
        assert!(!node.told().contains(&Told::State(BackendState::Down)), "{:?}", node.told());
        node.end().await;
    }
}

/// The lines of a server whose users may not subscribe to a topic, or may.
fn lines(may: bool) -> [String; 2] {
    let denied = "permissions: { subscribe: { deny: [\"fanfare.m.t.a\", \"fanfare.m.t.p.>\"] } }, password:";
    let accounts = if may { accounts() } else { accounts().replacen("password:", denied, 1) };
    [JETSTREAM.to_owned(), accounts]
}

async fn a_subject_that_is_taken_away_is_heard_when_it_is_given_back(program: Program) {
    let Some(mut setup) = Setup::start(program).await else { return };
    let builder = || setup.builder().ping_every(Duration::from_millis(100));
    let (node, publisher) = (lone(builder()).await, lone(builder()).await);
    node.subscribe("a", None).await;
    node.subscribe_pattern("p.>").await;
    node.subscribe("b", None).await;
    let mut round = 0;
    for may in [false, true, false, true] {
        setup.server.reconfigure(lines(may)).expect("a file");
        setup.server.reload().expect("a signal");
        let lost = [Told::Lost(Some("a".into())), Told::Lost(None)];
        round += 1;
        // When it is taken away, and when it is given back.
        let is_told =
            |told: &[Told]| lost.iter().all(|lost| told.iter().filter(|told| *told == lost).count() >= round);
        node.until("both losses", is_told).await;
        hears(&node, &publisher, "b", &format!("b {round}")).await;
        if may {
            hears(&node, &publisher, "a", &format!("a {round}")).await;
            hears(&node, &publisher, "p.x", &format!("p {round}")).await;
        }
    }
    for node in [node, publisher] {
        assert!(!node.told().contains(&Told::State(BackendState::Down)), "{:?}", node.told());
        node.end().await;
    }
}

async fn who_asks_again_for_what_is_refused_is_refused_again(program: Program) {
    let Some(mut setup) = Setup::start(program).await else { return };
    setup.server.reconfigure(lines(false)).expect("a file");
    setup.server.restart().await.expect("a server");
    let node = lone(setup.builder()).await;
    for _ in 0..3 {
        let error = subscribe(&node, "a").await.expect_err("it is denied");
        assert_eq!(error.kind(), BackendErrorKind::Refused, "{error}");
    }
    setup.server.reconfigure(lines(true)).expect("a file");
    setup.server.reload().expect("a signal");
    let deadline = Instant::now() + PATIENCE;
    while subscribe(&node, "a").await.is_err() {
        assert!(Instant::now() < deadline, "it is allowed now");
        sleep(Duration::from_millis(20)).await;
    }
    let publisher = lone(setup.builder()).await;
    hears(&node, &publisher, "a", "at last").await;
    for node in [node, publisher] {
        node.end().await;
    }
}
