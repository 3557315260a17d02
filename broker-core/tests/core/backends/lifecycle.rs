//! A backend is started until it works, and ended whatever becomes of its broker.

use std::time::Duration;

use fanfare_core::{
    Broker, StartError,
    backend::{Backend, BackendErrorKind, BackendState, memory::MemoryHub},
    policy::Open,
};
use tokio::time::Instant;

use super::soon;
use crate::support::{Faulty, Handle, Node, idle, received};

#[tokio::test(start_paused = true)]
async fn a_backend_that_is_not_there_yet_is_waited_for() {
    let faulty = Faulty::of(&MemoryHub::new());
    faulty.fail("start", 5);
    let broker = Broker::builder().policy(Open).backend(Handle(faulty.clone())).start().await.unwrap();
    assert_eq!(*broker.backend_state().borrow(), BackendState::Up);
    assert_eq!(faulty.calls("start"), 6);
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_does_not_start_says_why_and_is_ended() {
    for kind in [BackendErrorKind::Unavailable, BackendErrorKind::Configuration] {
        let faulty = Faulty::of(&MemoryHub::new());
        faulty.fail_as("start", usize::MAX, kind);
        let began = Instant::now();
        let started = Broker::builder().policy(Open).backend(Handle(faulty.clone())).start().await;
        let Err(StartError::Backend(error)) = started else { panic!("{started:?}") };
        assert_eq!((error.kind(), error.message()), (kind, "it is to fail"));
        let waited = began.elapsed() >= Duration::from_secs(10);
        assert_eq!(waited, kind == BackendErrorKind::Unavailable, "where it can help, it is tried again");
        assert_eq!(faulty.calls("shutdown"), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_hangs_at_its_start_is_ended() {
    let faulty = Faulty::of(&MemoryHub::new());
    faulty.hang("start");
    let started = Broker::builder().policy(Open).backend(Handle(faulty.clone())).start().await;
    let Err(StartError::Backend(error)) = started else { panic!("{started:?}") };
    assert_eq!(error.kind(), BackendErrorKind::Unavailable);
    assert_eq!(faulty.calls("shutdown"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_is_not_waited_for_is_tried_until_it_is_there() {
    let hub = MemoryHub::new();
    let faulty = Faulty::of(&hub);
    faulty.fail("start", 100);
    let backend = Handle(faulty.clone());
    let here = Node::of(Broker::builder().policy(Open).backend(backend).start_degraded().unwrap());
    let there = Node::start(|broker| broker.backend(hub.node())).await;
    let mut topic = here.broker.subscribe("t").await.unwrap();
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(*here.broker.backend_state().borrow(), BackendState::Up);
    there.publish_numbers("t", 1..=1).await;
    assert_eq!(received(&mut topic).await, ["gap missed=? ?..? backend", "t 1"]);
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_is_dropped_ends_its_backend() {
    let faulty = Faulty::of(&MemoryHub::new());
    let node = Node::start(|broker| broker.backend(Handle(faulty.clone()))).await;
    let subscription = node.broker.subscribe("t").await.unwrap();
    drop(node);
    idle().await;
    assert_eq!(faulty.calls("shutdown"), 0, "a subscription keeps it");
    drop(subscription);
    soon().await;
    assert_eq!(faulty.calls("shutdown"), 1);
    assert!(
        faulty
            .hub
            .history(&crate::support::name("t"), fanfare_core::backend::HistoryQuery::Latest)
            .await
            .is_err()
    );
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_has_drained_ends_its_backend_once() {
    let faulty = Faulty::of(&MemoryHub::new());
    let node = Node::start(|broker| broker.backend(Handle(faulty.clone()))).await;
    node.broker.drain(Duration::from_secs(1)).await;
    drop(node);
    soon().await;
    assert_eq!(faulty.calls("shutdown"), 1);
}
