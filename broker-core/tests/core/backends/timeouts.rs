//! A backend that does not answer holds up nobody for ever.

use fanfare_core::{
    SubscribeError,
    backend::{BackendErrorKind, BackendState},
    publish::PublishError,
    session::{Command, HistoryCommand, PublishCommand},
};
use tokio::time::Instant;

use super::{Two, soon};
use crate::support::{idle, received};

#[tokio::test(start_paused = true)]
async fn a_publish_that_is_not_answered_ends_and_says_what_is_known() {
    let two = Two::start().await;
    two.faulty.hang("publish");
    let limit = two.here.broker.limits().backend_timeout;
    let began = Instant::now();
    let logged = two.here.broker.publish("log.a", "1").await;
    assert!(matches!(logged, Err(PublishError::OutcomeUnknown(_))), "{logged:?}");
    let mut here = two.here.broker.subscribe("t").await.unwrap();
    let ephemeral = two.here.broker.publish("t", "1").await;
    assert!(matches!(ephemeral, Err(PublishError::NotCarried(_))), "{ephemeral:?}");
    assert_eq!(received(&mut here).await, ["t 1"], "who is here has it all the same");
    assert!(began.elapsed() < 3 * limit);
}

#[tokio::test(start_paused = true)]
async fn a_client_gets_an_answer_from_a_backend_that_gives_none() {
    let two = Two::start().await;
    let mut client = two.here.client().await;
    for call in ["publish", "subscribe", "history"] {
        two.faulty.hang(call);
    }
    let limit = two.here.broker.limits().backend_timeout;
    client.send(Command::Publish(PublishCommand::new("log.a", "1"))).await.unwrap();
    tokio::time::sleep(2 * limit).await;
    assert_eq!(client.read().await, ["1: error timeout retry"]);
    assert_eq!(client.subscribe("log.a").await, ["2: error backend_unavailable retry"]);
    assert_eq!(client.subscribe("t").await, ["3: subscribed"]);
    let history = client.call(Command::History(HistoryCommand::newest("log.a"))).await;
    assert_eq!(history, ["4: error backend_unavailable retry"]);
    two.faulty.heal();
    assert_eq!(client.subscribe("log.a").await, ["5: subscribed #0"]);
    soon().await;
    assert_eq!(client.read().await, ["t gap missed=? ?..? backend"], "since nothing could come before");
}

#[tokio::test(start_paused = true)]
async fn a_thousand_who_subscribe_to_what_does_not_answer_wait_for_one_deadline() {
    let two = Two::start().await;
    two.faulty.hang("subscribe");
    let limit = two.here.broker.limits().backend_timeout;
    let began = Instant::now();
    let subscribe =
        |_| tokio::spawn(std::future::IntoFuture::into_future(two.here.broker.subscribe("log.a")));
    for refused in futures_util::future::join_all((0..1000).map(subscribe)).await {
        let error = refused.unwrap().map(|_| ()).unwrap_err();
        assert!(matches!(&error, SubscribeError::Backend(e) if e.retry_can_help()), "{error:?}");
    }
    assert!(began.elapsed() < 2 * limit, "{:?}", began.elapsed());
    assert_eq!(two.faulty.calls("subscribe"), 1);
    two.faulty.heal();
    assert!(two.here.broker.subscribe("log.a").await.is_ok(), "a failure is not kept");
}

#[tokio::test(start_paused = true)]
async fn while_the_backend_is_known_to_be_away_nobody_waits() {
    let two = Two::start().await;
    let mut client = two.here.client().await;
    client.subscribe("t").await;
    for call in ["subscribe", "unsubscribe", "history"] {
        two.faulty.hang(call);
    }
    two.faulty.hub.set_connected(false);
    let began = Instant::now();
    assert_eq!(client.subscribe("log.a").await, ["2: error backend_unavailable retry"]);
    assert_eq!(client.subscribe("u").await, ["3: subscribed"]);
    assert_eq!(client.subscribe("u.*").await, ["4: subscribed"]);
    assert_eq!(client.publish("log.a", "1").await, ["5: error backend_unavailable retry"]);
    // Who is here is served.
    let mut lines = client.publish("t", "2").await;
    lines.sort();
    assert_eq!(lines, ["6: error backend_unavailable retry", "t 2"]);
    assert_eq!(began.elapsed().as_secs(), 0);
    two.faulty.heal();
    two.faulty.hub.set_connected(true);
    let mut gaps = client.read().await;
    gaps.sort();
    let all = ["$direct", "t", "u", "u.*"].map(|topic| format!("{topic} gap missed=? ?..? backend"));
    assert_eq!(gaps, all);
    two.there.publish_numbers("u", 1..=1).await;
    assert_eq!(client.read().await, ["u 1"]);
}

#[tokio::test(start_paused = true)]
async fn who_subscribes_to_a_log_that_is_served_here_is_served_while_the_backend_is_away() {
    let two = Two::start().await;
    let _first = two.here.broker.subscribe("log.a").await.unwrap();
    two.there.publish_numbers("log.a", 1..=2).await;
    idle().await;
    two.faulty.hub.set_connected(false);
    let mut second =
        two.here.broker.subscribe("log.a").start(fanfare_core::session::Start::Earliest).await.unwrap();
    assert_eq!(received(&mut second).await, ["log.a#1 1", "log.a#2 2", "live #2"]);
}

#[tokio::test(start_paused = true)]
async fn draining_ends_although_the_backend_does_not() {
    let two = Two::start().await;
    two.faulty.hang("shutdown");
    let began = Instant::now();
    two.here.broker.drain(std::time::Duration::from_secs(2)).await;
    assert!(began.elapsed().as_secs() < 4);
}

#[tokio::test(start_paused = true)]
async fn a_history_that_is_not_answered_is_an_error_of_the_backend() {
    let two = Two::start().await;
    two.faulty.hang("history");
    let error = two.here.broker.history(HistoryCommand::newest("log.a")).await.unwrap_err();
    let SubscribeError::Backend(error) = error else { panic!("{error:?}") };
    assert_eq!((error.kind(), error.operation()), (BackendErrorKind::OutcomeUnknown, "history"));
    assert_eq!(*two.here.broker.backend_state().borrow(), BackendState::Up, "that is the backend's to say");
}
