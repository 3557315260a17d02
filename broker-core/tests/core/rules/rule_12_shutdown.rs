//! Shutdown: one deadline for all, and everything in good order within it.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use fanfare_core::{
    ConnectError, SubscribeError,
    publish::PublishError,
    session::{Command, PublishCommand},
};
use tokio::time::{Instant, timeout};

use crate::support::{Handle, Node, Remote, TestClient, idle};

const WITHIN: Duration = Duration::from_secs(10);

/// Begins to drain; the task says whether all was done in time.
async fn drain(node: &Node) -> tokio::task::JoinHandle<bool> {
    let broker = node.broker.clone();
    let draining = tokio::spawn(async move { broker.drain(WITHIN).await });
    tokio::task::yield_now().await;
    draining
}

/// What a transport does when the outbox is over.
async fn leave(mut client: TestClient) -> Vec<String> {
    for _ in 0..100 {
        if let Some(reason) = client.over().await {
            let lines = client.lines();
            let session = client.into_session();
            session.close(reason).await;
            return lines;
        }
    }
    panic!("the connection was not closed");
}

#[tokio::test(start_paused = true)]
async fn rule_12_new_clients_subscriptions_and_publishes_are_refused() {
    let node = Node::start(|broker| broker).await;
    let mut client = node.client().await;
    client.subscribe("t").await;
    client.wire.shut();
    node.broker.publish("t", "1").await.unwrap();
    let draining = drain(&node).await;
    assert!(node.broker.is_draining());
    let refused = node.connect(fanfare_core::session::Handshake::new("test")).await;
    assert!(matches!(refused.err(), Some(ConnectError::Draining)));
    assert!(matches!(node.broker.publish("t", "2").await, Err(PublishError::Draining)));
    assert!(matches!(node.broker.subscribe("t").await, Err(SubscribeError::Draining)));
    client.wire.open();
    leave(client).await;
    assert!(draining.await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn rule_12_commands_are_refused_as_draining() {
    let remote = Remote::new();
    let node = Node::start(|broker| broker.backend(Handle(remote.clone()))).await;
    let mut client = node.client().await;
    // The acknowledgement that is waited for keeps the connections open.
    remote.acks.shut();
    client.send(Command::Publish(PublishCommand::new("t", "1"))).await.unwrap();
    let draining = drain(&node).await;
    assert_eq!(client.subscribe("t").await, ["2: error draining retry"]);
    remote.acks.open();
    assert_eq!(leave(client).await, ["1: published", "close 4200 draining retry"]);
    assert!(draining.await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn rule_12_acknowledgements_that_come_in_time_reach_their_clients() {
    let remote = Remote::new();
    let node = Node::start(|broker| broker.backend(Handle(remote.clone()))).await;
    let mut client = node.client().await;
    remote.acks.shut();
    for number in 1..=3 {
        client.send(Command::Publish(PublishCommand::new("t", number.to_string()))).await.unwrap();
    }
    let draining = drain(&node).await;
    client.settle().await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(!draining.is_finished());
    remote.acks.open();
    let mut lines = leave(client).await;
    assert_eq!(lines.pop().unwrap(), "close 4200 draining retry");
    lines.sort();
    assert_eq!(lines, ["1: published", "2: published", "3: published"]);
    assert!(draining.await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn rule_12_what_was_accepted_is_fanned_out_and_flushed_before_the_close() {
    let node = Node::start(|broker| broker).await;
    let mut client = node.client().await;
    client.subscribe("t").await;
    client.wire.shut();
    for number in 1..=20 {
        node.broker.try_publish("t", number.to_string()).unwrap();
    }
    let draining = drain(&node).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!draining.is_finished(), "the socket has not taken it yet");
    client.wire.open();
    let lines = leave(client).await;
    assert_eq!(lines[..20], (1..=20).map(|n| format!("t {n}")).collect::<Vec<_>>());
    assert_eq!(lines[20..], ["close 4200 draining retry"]);
    assert!(draining.await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn rule_12_hooks_run_with_the_reason_and_then_the_backend_ends() {
    let remote = Remote::new();
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let (disconnecting, disconnected) = (seen.clone(), seen.clone());
    let node = Node::start(|broker| {
        broker
            .backend(Handle(remote.clone()))
            .on_disconnecting(move |_, topics, reason| {
                disconnecting.lock().unwrap().push(format!("leaving {topics:?} {}", reason.name()));
                async {}
            })
            .on_disconnected(move |_, reason| {
                disconnected.lock().unwrap().push(format!("left {}", reason.name()));
                async {}
            })
    })
    .await;
    let mut client = node.client().await;
    client.subscribe("t").await;
    let draining = drain(&node).await;
    leave(client).await;
    assert!(draining.await.unwrap());
    assert_eq!(*seen.lock().unwrap(), ["leaving [\"t\"] draining", "left draining"]);
    assert_eq!(remote.calls().last().unwrap(), "shutdown");
}

#[tokio::test(start_paused = true)]
async fn rule_12_the_hint_when_to_come_back_is_spread() {
    let node = Node::start(|broker| broker).await;
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(node.client().await);
    }
    let draining = drain(&node).await;
    let mut hints = Vec::new();
    for mut client in clients {
        let reason = loop {
            if let Some(reason) = client.over().await {
                break reason;
            }
        };
        hints.push(reason.retry_after.unwrap());
        client.into_session().close(reason).await;
    }
    assert!(draining.await.unwrap());
    hints.sort();
    hints.dedup();
    assert!(hints.len() > 10, "{hints:?}");
    assert!(*hints.last().unwrap() <= Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn rule_12_a_client_that_does_not_read_cannot_hold_it_up() {
    let node = Node::start(|broker| broker).await;
    let mut client = node.client().await;
    client.subscribe("t").await;
    client.wire.shut();
    node.broker.publish("t", "1").await.unwrap();
    idle().await;
    let begun = Instant::now();
    let in_time = timeout(2 * WITHIN, node.broker.drain(WITHIN)).await.expect("drain has one deadline");
    assert!(!in_time, "not all was done");
    assert!(begun.elapsed() <= WITHIN + Duration::from_millis(100));
    assert_eq!(client.over().await.map(|reason| reason.code()), Some(4200));
}

#[tokio::test(start_paused = true)]
async fn rule_12_acknowledgements_that_do_not_come_cannot_hold_it_up() {
    let remote = Remote::new();
    let node = Node::start(|broker| broker.backend(Handle(remote.clone()))).await;
    let mut client = node.client().await;
    remote.acks.shut();
    client.send(Command::Publish(PublishCommand::new("t", "1"))).await.unwrap();
    let begun = Instant::now();
    let in_time = node.broker.drain(WITHIN).await;
    assert!(!in_time);
    assert!(begun.elapsed() <= WITHIN + Duration::from_millis(100));
}

#[tokio::test(start_paused = true)]
async fn rule_12_draining_nothing_is_done_at_once() {
    let node = Node::start(|broker| broker).await;
    let begun = Instant::now();
    assert!(node.broker.drain(WITHIN).await);
    assert!(begun.elapsed() < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn rule_12_the_last_hook_has_run_before_the_backend_is_stopped() {
    let remote = Remote::new();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (hook, backend) = (seen.clone(), remote.clone());
    let node = Node::start(|broker| {
        broker.backend(Handle(remote.clone())).on_disconnected(move |_, _| {
            let (hook, backend) = (hook.clone(), backend.clone());
            async move {
                tokio::time::sleep(Duration::from_secs(1)).await;
                hook.lock().unwrap().extend(backend.calls());
            }
        })
    })
    .await;
    let client = node.client().await;
    let draining = drain(&node).await;
    leave(client).await;
    assert!(draining.await.unwrap());
    assert!(seen.lock().unwrap().is_empty(), "the hook ran before: {seen:?}");
    assert_eq!(remote.calls(), ["shutdown"]);
}
