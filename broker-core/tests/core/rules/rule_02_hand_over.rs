//! Hand-over: calling `Backend::publish` is the hand-over, and the order of the calls the order of the messages.

use fanfare_core::topic::TopicConfig;

use crate::support::{Handle, Node, Remote, idle, received, waits};

#[tokio::test(start_paused = true)]
async fn rule_2_the_order_of_the_calls_is_the_order_and_late_acknowledgements_change_nothing() {
    let remote = Remote::new();
    let node = Node::start(|broker| broker.backend(Handle(remote.clone()))).await;
    remote.acks.shut();
    let mut publishes: Vec<_> =
        (1..=5).map(|n| node.broker.publish("t", n.to_string()).into_future()).collect();
    for publish in &mut publishes {
        assert!(waits(publish));
    }
    // The acknowledgements are taken in another order.
    publishes.reverse();
    remote.acks.open();
    for publish in publishes {
        publish.await.unwrap();
    }
    assert_eq!(remote.calls(), ["publish t 1", "publish t 2", "publish t 3", "publish t 4", "publish t 5"]);
}

#[tokio::test(start_paused = true)]
async fn rule_2_dropping_the_future_cancels_nothing() {
    let remote = Remote::new();
    let node = Node::start(|broker| {
        broker.backend(Handle(remote.clone())).topic("log", TopicConfig::new().history(10))
    })
    .await;
    let mut log = node.broker.subscribe("log").await.unwrap();
    remote.acks.shut();
    let mut publish = node.broker.publish("log", "kept").into_future();
    assert!(waits(&mut publish));
    drop(publish);
    assert_eq!(received(&mut log).await, ["log#1 kept"], "it comes back from the backend's log");
}

#[tokio::test(start_paused = true)]
async fn rule_2_a_publish_that_was_never_polled_was_never_handed_over() {
    let remote = Remote::new();
    let node = Node::start(|broker| broker.backend(Handle(remote.clone()))).await;
    drop(node.broker.publish("t", "never").into_future());
    idle().await;
    assert!(remote.calls().is_empty());
    assert_eq!(node.broker.stats().published, 0);
}

#[tokio::test(start_paused = true)]
async fn rule_2_an_ephemeral_message_is_served_here_before_the_backend_answers_and_its_echo_is_dropped() {
    let remote = Remote::new();
    let node = Node::start(|broker| broker.backend(Handle(remote.clone()))).await;
    let mut topic = node.broker.subscribe("t").await.unwrap();
    idle().await;
    remote.acks.shut();
    let mut publish = node.broker.publish("t", "1").into_future();
    assert!(waits(&mut publish));
    assert_eq!(received(&mut topic).await, ["t 1"], "once: the backend's echo is this node's own");
    remote.acks.open();
    publish.await.unwrap();
    assert!(received(&mut topic).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn rule_2_a_logged_message_reaches_local_subscribers_in_the_backends_order() {
    let remote = Remote::new();
    let node = Node::start(|broker| {
        broker.backend(Handle(remote.clone())).topic("log", TopicConfig::new().history(10))
    })
    .await;
    let mut log = node.broker.subscribe("log").await.unwrap();
    let theirs = remote.store("log", "theirs");
    let ours = node.broker.publish("log", "ours").await.unwrap();
    remote.ingress().deliver(theirs).await;
    assert_eq!(ours.position.unwrap().offset, 2);
    assert_eq!(received(&mut log).await, ["log#1 theirs", "log#2 ours"]);
}
