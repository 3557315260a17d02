//! One barrier: nothing of a topic before its subscribe-ok, nothing after its unsubscribe-ok.

use std::sync::Arc;

use fanfare_core::{
    backend::memory::{HubNode, MemoryHub},
    publish::PublishError,
    session::{Command, Start, SubscribeCommand},
    topic::TopicConfig,
};
use futures_util::FutureExt;

use crate::support::{Handle, Node, Remote, deliveries, idle, received};

fn logged() -> TopicConfig {
    TopicConfig::new().history(10)
}

#[tokio::test(start_paused = true)]
async fn rule_3_nothing_before_the_subscribe_ok_and_nothing_after_the_unsubscribe_ok() {
    let node = Node::start(|broker| broker.topic("log", logged())).await;
    for topic in ["eph", "log"] {
        let mut client = node.client().await;
        let publisher = tokio::spawn({
            let broker = node.broker.clone();
            async move {
                for number in 0..400 {
                    broker.publish(topic, number.to_string()).await.unwrap();
                    tokio::task::yield_now().await;
                }
            }
        });
        // Nothing waits between the commands and the publishes.
        for _ in 0..20 {
            for command in [
                Command::Subscribe(SubscribeCommand::live(topic)),
                Command::Unsubscribe { topic: topic.to_owned() },
            ] {
                let id = client.next_id();
                client.session().handle(id, command).await.unwrap();
                for _ in 0..3 {
                    tokio::task::yield_now().await;
                }
            }
        }
        publisher.await.unwrap();
        let mut subscribed = 0_i32;
        let mut messages = 0;
        for line in client.read().await {
            if line.contains(": subscribed") {
                subscribed += 1;
            } else if line.contains(": unsubscribed") {
                subscribed -= 1;
            } else {
                messages += 1;
                assert_eq!(subscribed, 1, "{topic}: {line} came while not subscribed");
            }
        }
        assert!(messages > 0, "{topic}");
        assert_eq!(subscribed, 0, "{topic}");
    }
}

#[tokio::test(start_paused = true)]
async fn rule_3_what_is_queued_does_not_follow_the_unsubscribe_ok() {
    let node = Node::start(|broker| broker).await;
    let mut client = node.client().await;
    client.subscribe("t").await;
    client.wire.shut();
    node.publish_numbers("t", 1..=5).await;
    client.settle().await;
    client.send(Command::Unsubscribe { topic: "t".to_owned() }).await.unwrap();
    client.wire.open();
    assert_eq!(client.read().await, ["2: unsubscribed"]);
    let stats = node.broker.stats();
    assert_eq!((stats.discarded, stats.queued, stats.subscriptions), (5, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn rule_3_the_ok_waits_for_the_backend() {
    let remote = Remote::new();
    let node = Node::start(|broker| broker.backend(Handle(remote.clone()))).await;
    let mut client = node.client().await;
    remote.subscribes.shut();
    for topic in ["t", "p.*"] {
        let id = client.next_id();
        let subscribe = client.session().handle(id, Command::Subscribe(SubscribeCommand::live(topic)));
        let mut subscribe = std::pin::pin!(subscribe);
        tokio::select! {
            biased;
            _ = &mut subscribe => panic!("{topic}: the backend has not answered"),
            () = idle() => {}
        }
        remote.subscribes.open();
        subscribe.await.unwrap();
        remote.subscribes.shut();
    }
    assert_eq!(client.read().await, ["1: subscribed", "2: subscribed"]);
    assert_eq!(remote.calls(), ["subscribe t", "subscribe p.*"]);
}

#[tokio::test(start_paused = true)]
async fn rule_3_the_second_subscriber_waits_for_the_backend_as_well() {
    for topic in ["t", "p.*"] {
        let remote = Remote::new();
        let node = Node::start(|broker| broker.backend(Handle(remote.clone()))).await;
        remote.subscribes.shut();
        let subscribe = || async {
            match topic.contains('*') {
                true => node.broker.subscribe_pattern(topic).await,
                false => node.broker.subscribe(topic).await,
            }
        };
        let mut first = std::pin::pin!(subscribe());
        let mut second = std::pin::pin!(subscribe());
        assert!(first.as_mut().now_or_never().is_none());
        assert!(second.as_mut().now_or_never().is_none(), "{topic}: the backend knows nothing of it yet");
        remote.subscribes.open();
        let _both = (first.await.unwrap(), second.await.unwrap());
        assert_eq!(remote.calls(), [format!("subscribe {topic}")], "one flight for both");
    }
}

#[tokio::test(start_paused = true)]
async fn rule_3_with_the_backend_down_an_ephemeral_subscribe_succeeds_and_gets_a_gap_on_return() {
    let remote = Remote::new();
    let node = Node::start(|broker| broker.backend(Handle(remote.clone())).topic("log", logged())).await;
    remote.go_down();
    let mut client = node.client().await;
    assert_eq!(client.subscribe("t").await, ["1: subscribed"]);
    // Local fan-out goes on.
    let local = node.broker.publish("t", "local").await;
    assert!(matches!(local, Err(PublishError::NotCarried(_))), "{local:?}");
    assert_eq!(client.read().await, ["t local"]);
    remote.calls();
    remote.come_up();
    let mut gaps = client.read().await;
    gaps.sort();
    assert_eq!(gaps, ["$direct gap missed=? ?..? backend", "t gap missed=? ?..? backend"]);
    // The other nodes are told of what did not reach them.
    assert_eq!(remote.calls(), ["subscribe t", "control"]);
    node.broker.publish("t", "after").await.unwrap();
    assert_eq!(client.read().await, ["t after"]);
}

#[tokio::test(start_paused = true)]
async fn rule_3_with_the_backend_down_a_logged_subscribe_fails_and_says_retry() {
    let remote = Remote::new();
    let node = Node::start(|broker| broker.backend(Handle(remote.clone())).topic("log", logged())).await;
    remote.go_down();
    let mut client = node.client().await;
    assert_eq!(client.subscribe("log").await, ["1: error backend_unavailable retry"]);
    assert_eq!(node.broker.stats().subscriptions, 0);
    remote.come_up();
    assert_eq!(client.subscribe("log").await[0], "2: subscribed #0");
}

#[tokio::test(start_paused = true)]
async fn rule_3_a_pattern_is_told_of_the_gap_on_return_too() {
    let hub = MemoryHub::new();
    let cut: Arc<HubNode> = Arc::new(hub.node());
    let here = Node::start(|broker| broker.backend(Handle(cut.clone()))).await;
    let there = Node::start(|broker| broker.backend(hub.node())).await;
    let mut pattern = here.broker.subscribe_pattern("p.*").await.unwrap();
    cut.set_connected(false);
    there.publish_numbers("p.a", 1..=3).await;
    idle().await;
    cut.set_connected(true);
    assert_eq!(received(&mut pattern).await, ["gap missed=? ?..? backend"]);
    there.publish_numbers("p.a", 4..=4).await;
    assert_eq!(received(&mut pattern).await, ["p.a 4"]);
}

#[tokio::test(start_paused = true)]
async fn rule_3_what_nobody_wants_any_more_is_given_up_at_the_backend_once() {
    let remote = Remote::new();
    let node = Node::start(|broker| broker.backend(Handle(remote.clone()))).await;
    let first = node.broker.subscribe("t").await.unwrap();
    let second = node.broker.subscribe("t").await.unwrap();
    let pattern = node.broker.subscribe_pattern("p.>").await.unwrap();
    drop(first);
    idle().await;
    assert_eq!(remote.calls(), ["subscribe t", "subscribe p.>"]);
    drop(second);
    idle().await;
    assert_eq!(remote.calls(), ["unsubscribe t"]);
    drop(pattern);
    idle().await;
    assert_eq!(remote.calls(), ["unsubscribe p.>"]);
    let stats = node.broker.stats();
    assert_eq!((stats.subscriptions, stats.topics), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn rule_3_many_subscribes_and_unsubscribes_settle_on_what_is_wanted() {
    let remote = Remote::new();
    let node = Node::start(|broker| broker.backend(Handle(remote.clone())).topic("log", logged())).await;
    for topic in ["eph", "log"] {
        let mut last = None;
        for _ in 0..20 {
            last = Some(node.broker.subscribe(topic).await.unwrap());
            tokio::task::yield_now().await;
        }
        let mut last = last.unwrap();
        idle().await;
        let calls = remote.calls();
        let wanted = calls.iter().rev().find(|c| c.ends_with(&format!("subscribe {topic}"))).unwrap();
        assert_eq!(wanted, &format!("subscribe {topic}"), "the last word is that it is wanted");
        node.broker.publish(topic, "here").await.unwrap();
        let got = received(&mut last).await;
        assert!(got.len() == 1 && got[0].ends_with("here"), "{got:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn rule_3_subscribing_anew_replaces_the_subscription() {
    let node = Node::start(|broker| broker.topic("log", logged())).await;
    let mut client = node.client().await;
    client.subscribe("log").await;
    node.publish_numbers("log", 1..=3).await;
    assert_eq!(client.read().await, ["log#1 1", "log#2 2", "log#3 3"]);
    let again = client.subscribe_from("log", Start::Last(1)).await;
    assert_eq!(again, ["2: subscribed #2", "log#3 3", "log live #3"]);
    node.publish_numbers("log", 4..=4).await;
    assert_eq!(deliveries(client.read().await), ["log#4 4"], "once");
    assert_eq!(node.broker.stats().subscriptions, 1);
}
