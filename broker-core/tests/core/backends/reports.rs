//! The report of a logged message is that of its fan-out, which comes with its return from the backend.

use std::time::Duration;

use fanfare_core::{
    backend::{BackendErrorKind, Incoming},
    topic::TopicConfig,
};
use tokio::time::Instant;

use super::Two;
use crate::support::{Handle, Node, Remote, idle, waits};

#[tokio::test(start_paused = true)]
async fn a_report_waits_for_the_message_to_come_back() {
    let two = Two::start().await;
    let _by_name = two.here.broker.subscribe("log.a").await.unwrap();
    let _by_pattern = two.here.broker.subscribe_pattern("log.*").await.unwrap();
    let _elsewhere = two.there.broker.subscribe("log.a").await.unwrap();
    for offset in 1..=3 {
        let report = two.here.broker.publish("log.a", "1").report().await.unwrap();
        assert_eq!((report.matched, report.queued, report.counted), (2, 2, true));
        assert_eq!(report.position.unwrap().offset, offset);
    }
}

#[tokio::test(start_paused = true)]
async fn where_nobody_is_subscribed_nothing_is_waited_for() {
    let two = Two::start().await;
    let began = Instant::now();
    let report = two.here.broker.publish("log.a", "1").report().await.unwrap();
    assert_eq!((report.matched, report.counted), (0, true));
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_duplicate_has_nothing_to_report() {
    let two = Two::start().await;
    let _log = two.here.broker.subscribe("log.a").await.unwrap();
    let began = Instant::now();
    for is_duplicate in [false, true] {
        let report = two.here.broker.publish("log.a", "1").message_id("x").report().await.unwrap();
        assert_eq!((report.duplicate, report.counted), (is_duplicate, true));
        assert_eq!(report.matched, u64::from(!is_duplicate));
    }
    assert!(began.elapsed() < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_message_that_does_not_come_back_is_waited_for_no_longer_than_the_limit() {
    let two = Two::start().await;
    let _log = two.here.broker.subscribe("log.a").await.unwrap();
    two.faulty.deafen(true);
    let began = Instant::now();
    let report = two.here.broker.publish("log.a", "1").report().await.unwrap();
    assert_eq!((report.matched, report.counted), (0, false));
    assert!(report.position.is_some(), "it was stored");
    assert_eq!(began.elapsed(), two.here.broker.limits().backend_timeout);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_was_not_stored_is_an_error_at_once() {
    let two = Two::start().await;
    let _log = two.here.broker.subscribe("log.a").await.unwrap();
    two.faulty.fail_as("publish", 1, BackendErrorKind::Refused);
    let began = Instant::now();
    assert!(two.here.broker.publish("log.a", "1").report().await.is_err());
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_read_again_with_what_was_missing_before_it_is_counted() {
    let two = Two::start().await;
    let _log = two.here.broker.subscribe("log.a").await.unwrap();
    two.faulty.deafen(true);
    two.there.publish_numbers("log.a", 1..=2).await;
    idle().await;
    two.faulty.deafen(false);
    let report = two.here.broker.publish("log.a", "3").report().await.unwrap();
    assert_eq!((report.matched, report.counted), (1, true));
    assert_eq!(report.position.unwrap().offset, 3);
}

#[tokio::test(start_paused = true)]
async fn the_message_may_come_back_before_its_acknowledgement() {
    let remote = Remote::new();
    let config = TopicConfig::new().history(10);
    let node = Node::start(|broker| broker.backend(Handle(remote.clone())).topic("log", config)).await;
    let _log = node.broker.subscribe("log").await.unwrap();
    remote.acks.shut();
    let mut reporting = Box::pin(node.broker.publish("log", "1").report());
    assert!(waits(&mut reporting));
    idle().await;
    assert!(waits(&mut reporting));
    remote.acks.open();
    let report = reporting.await.unwrap();
    assert_eq!((report.matched, report.counted), (1, true));
    // A repeat of it is nobody's.
    let again: Incoming = remote.store("log", "2");
    remote.ingress().deliver(again).await;
}
