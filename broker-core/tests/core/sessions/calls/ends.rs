//! How the serving of a call ends, other than with an answer, and what is left behind.

use std::sync::Mutex;

use super::*;
use crate::support::{TestClient, idle};

#[tokio::test(start_paused = true)]
async fn a_method_that_panics_is_an_error_and_the_connection_lives() {
    let node = node(|broker| {
        broker
            .on_call("at.once", |call| {
                assert!(call.payload.is_empty(), "before there is a future");
                async { Ok("".into()) }
            })
            .on_call("later", |_| async {
                tokio::task::yield_now().await;
                panic!("in the future")
            })
    })
    .await;
    let mut client = node.client().await;
    assert_eq!(client.call(call("at.once", "x")).await, ["1: error internal retry"]);
    assert_eq!(client.call(call("later", "x")).await, ["2: error internal retry"]);
    assert_eq!(client.call(call("echo", "alive")).await, ["3: called alive"]);
}

#[tokio::test(start_paused = true)]
async fn a_method_that_takes_too_long_is_dropped_and_answered_timeout() {
    let mut held = None;
    let node = node(|broker| {
        let (broker, permits, running) = holding(broker, CallConfig::new());
        held = Some((permits, running));
        let longer = CallConfig::new().timeout(Duration::from_secs(90));
        broker.on_call_with("longer", longer, |_| async {
            tokio::time::sleep(Duration::from_secs(80)).await;
            Ok("done".into())
        })
    })
    .await;
    let (permits, running) = held.unwrap();
    let mut client = node.client().await;
    client.send(call("hold", "x")).await.unwrap();
    assert_eq!(running.load(Ordering::SeqCst), 1);
    let began = Instant::now();
    let line = loop {
        if let Some(line) = client.read().await.pop() {
            break line;
        }
        assert!(began.elapsed() < Duration::from_secs(31));
    };
    assert_eq!(line, "1: error timeout retry");
    assert!(began.elapsed() >= Duration::from_secs(29));
    assert_eq!(running.load(Ordering::SeqCst), 0, "it was dropped");
    permits.add_permits(1);
    assert!(client.read().await.is_empty(), "it does not answer any more");
    assert!(!client.session().has_pending());

    client.send(call("longer", "x")).await.unwrap();
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(79) {
        assert!(client.read().await.is_empty());
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(client.read().await, ["2: called done"]);
}

#[tokio::test(start_paused = true)]
async fn the_handler_of_a_client_that_leaves_is_dropped_before_the_hooks_run() {
    let journal = Arc::new(Mutex::new(Vec::new()));
    let mut held = None;
    let node = node(|broker| {
        let (broker, permits, running) = holding(broker, CallConfig::new());
        held = Some((permits, running.clone()));
        let journal = journal.clone();
        broker.on_disconnecting(move |_, _, reason| {
            let line = format!("{} {}", reason.name(), running.load(Ordering::SeqCst));
            journal.lock().unwrap().push(line);
            async {}
        })
    })
    .await;
    let (_permits, running) = held.unwrap();
    for close in [true, false] {
        let mut client = node.client().await;
        client.send(call("hold", "x")).await.unwrap();
        assert_eq!(running.load(Ordering::SeqCst), 1);
        let session = client.into_session();
        if close {
            session.close(CloseKind::Normal.into()).await;
        } else {
            drop(session);
        }
        idle().await;
    }
    assert_eq!(*journal.lock().unwrap(), ["normal 0", "lost 0"]);
}

#[tokio::test(start_paused = true)]
async fn draining_waits_for_the_handlers_that_run() {
    let mut held = None;
    let node = node(|broker| {
        let (broker, permits, _) = holding(broker, CallConfig::new().concurrent(2));
        held = Some(permits);
        broker
    })
    .await;
    let permits = held.unwrap();
    let mut client = node.client().await;
    client.send(call("hold", "x")).await.unwrap();
    let broker = node.broker.clone();
    let draining = tokio::spawn(async move { broker.drain(Duration::from_secs(10)).await });
    assert!(client.read().await.is_empty());
    assert_eq!(client.call(call("echo", "x")).await, ["2: error draining retry"]);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(client.read().await.is_empty(), "not even a close");
    permits.add_permits(1);
    let lines = told(&mut client).await;
    assert_eq!(lines, ["1: called x", "close 4200 draining retry"]);
    client.into_session().close(CloseKind::Draining.into()).await;
    assert!(draining.await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn draining_does_not_wait_for_ever() {
    let mut held = None;
    let node = node(|broker| {
        let (broker, permits, running) = holding(broker, CallConfig::new());
        held = Some((permits, running));
        broker
    })
    .await;
    let (_permits, running) = held.unwrap();
    let mut client = node.client().await;
    client.send(call("hold", "x")).await.unwrap();
    let broker = node.broker.clone();
    let draining = tokio::spawn(async move { broker.drain(Duration::from_secs(3)).await });
    while client.over().await.is_none() {}
    client.into_session().close(CloseKind::Draining.into()).await;
    assert!(!draining.await.unwrap(), "not all was done");
    assert_eq!(running.load(Ordering::SeqCst), 0);
}

/// All lines until the connection is over.
async fn told(client: &mut TestClient) -> Vec<String> {
    let mut lines = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(60);
    while client.over().await.is_none() {
        assert!(Instant::now() < deadline);
    }
    lines.extend(client.lines());
    lines
}
