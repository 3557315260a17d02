//! Reserve, then commit: a publish happens whole or not at all, and all subscribers see one order.

use fanfare_core::publish::PublishError;
use futures_util::FutureExt;

use crate::support::{Node, TestClient, idle, received, waits};

/// A broker whose one shard takes two messages at once.
async fn narrow() -> Node {
    Node::start(|broker| {
        broker.limits(|limits| {
            limits.topics_per_publish = 1;
            limits.inbox_messages = 2;
        })
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn rule_1_a_publish_that_waits_for_a_permit_and_is_dropped_leaves_nothing() {
    let node = narrow().await;
    let mut news = node.broker.subscribe("news").await.unwrap();
    idle().await;
    node.broker.try_publish("news", "1").unwrap();
    node.broker.try_publish("news", "2").unwrap();
    assert!(matches!(node.broker.try_publish("news", "3"), Err(PublishError::Busy)));
    let mut waiting = node.broker.publish("news", "4").into_future();
    assert!(waits(&mut waiting), "there is no permit left");
    drop(waiting);

    assert_eq!(received(&mut news).await, ["news 1", "news 2"]);
    let stats = node.broker.stats();
    assert_eq!((stats.published, stats.shard_depths), (2, vec![0]), "every permit is back");
}

#[tokio::test(start_paused = true)]
async fn rule_1_a_publish_that_waits_gets_the_permit_of_what_was_fanned_out() {
    let node = narrow().await;
    let mut news = node.broker.subscribe("news").await.unwrap();
    idle().await;
    node.broker.try_publish("news", "1").unwrap();
    node.broker.try_publish("news", "2").unwrap();
    let mut waiting = node.broker.publish("news", "3").into_future();
    assert!(waits(&mut waiting));
    waiting.await.unwrap();
    assert_eq!(received(&mut news).await, ["news 1", "news 2", "news 3"]);
}

#[tokio::test(start_paused = true)]
async fn rule_1_after_the_commit_dropping_the_future_takes_nothing_back() {
    let remote = crate::support::Remote::new();
    let backend = crate::support::Handle(remote.clone());
    let node = Node::start(|broker| broker.backend(backend)).await;
    let mut news = node.broker.subscribe("news").await.unwrap();
    idle().await;
    remote.acks.shut();
    let mut publish = node.broker.publish("news", "1").into_future();
    assert!(waits(&mut publish), "the acknowledgement is held up");
    drop(publish);
    assert_eq!(received(&mut news).await, ["news 1"]);
}

#[tokio::test(start_paused = true)]
async fn rule_1_bytes_are_permits_too_and_one_message_always_fits() {
    let node = Node::start(|broker| broker.limits(|limits| limits.inbox_bytes = 100)).await;
    let mut news = node.broker.subscribe("news").await.unwrap();
    idle().await;
    node.broker.try_publish("news", "x".repeat(60)).unwrap();
    assert!(matches!(node.broker.try_publish("news", "y".repeat(60)), Err(PublishError::Busy)));
    idle().await;
    // Larger than the whole inbox: it takes all of it.
    node.broker.try_publish("news", "z".repeat(1000)).unwrap();
    assert!(matches!(node.broker.try_publish("news", ""), Err(PublishError::Busy)));
    assert_eq!(received(&mut news).await.len(), 2);
    node.broker.try_publish("news", "again").unwrap();
}

#[tokio::test(start_paused = true)]
async fn rule_1_a_permit_of_a_shard_that_is_behind_is_waited_for_before_anything_is_committed() {
    let node = Node::start(|broker| {
        broker.shards(2).limits(|limits| {
            limits.topics_per_publish = 1;
            limits.inbox_messages = 1;
        })
    })
    .await;
    // One subscriber on each shard.
    let mut first = node.broker.subscribe("both").await.unwrap();
    let mut second = node.broker.subscribe("both").await.unwrap();
    let mut other = node.broker.subscribe("one").await.unwrap();
    let _shard_of_second = node.broker.subscribe("none").await.unwrap();
    idle().await;
    // `one` is on the first shard: its inbox is full now.
    node.broker.try_publish("one", "1").unwrap();
    let mut waiting = node.broker.publish("both", "2").into_future();
    assert!(waits(&mut waiting));
    // Nothing went to the shard that had room.
    assert_eq!(node.broker.stats().shard_depths.iter().sum::<usize>(), 1);
    waiting.await.unwrap();
    assert_eq!(received(&mut first).await, ["both 2"]);
    assert_eq!(received(&mut second).await, ["both 2"]);
    assert_eq!(received(&mut other).await, ["one 1"]);
}

#[tokio::test(start_paused = true)]
async fn rule_1_all_subscribers_of_a_node_see_one_order_also_across_publishers_and_shards() {
    let node = Node::start(|broker| broker.shards(4).limits(|limits| limits.inbox_messages = 3)).await;
    let mut clients = Vec::new();
    for _ in 0..8 {
        let mut client = node.client().await;
        client.subscribe("t").await;
        clients.push(client);
    }
    let publishers = (0..10).map(|publisher| {
        let broker = node.broker.clone();
        tokio::spawn(async move {
            for number in 0..20 {
                broker.publish("t", format!("{publisher}-{number}")).await.unwrap();
                tokio::task::yield_now().await;
            }
        })
    });
    for publisher in publishers.collect::<Vec<_>>() {
        publisher.await.unwrap();
    }
    let first = clients[0].read().await;
    assert_eq!(first.len(), 200);
    for client in &mut clients[1..] {
        assert_eq!(client.read().await, first);
    }
    for publisher in 0..10 {
        let own: Vec<_> = first.iter().filter(|line| line.starts_with(&format!("t {publisher}-"))).collect();
        let sent: Vec<_> = (0..20).map(|number| format!("t {publisher}-{number}")).collect();
        assert!(own.iter().copied().eq(&sent), "in the order of its calls: {own:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn rule_1_offsets_are_the_order_of_the_commits() {
    let node =
        Node::start(|broker| broker.topic("log", fanfare_core::topic::TopicConfig::new().history(100))).await;
    let mut client: TestClient = node.client().await;
    client.subscribe("log").await;
    let publishes = (1..=50).map(|number| {
        let publish = node.broker.publish("log", number.to_string());
        async move { (number, publish.await.unwrap().position.unwrap().offset) }.boxed()
    });
    let offsets = futures_util::future::join_all(publishes).await;
    assert!(offsets.iter().all(|(number, offset)| number == offset), "{offsets:?}");
    let expected: Vec<_> = (1..=50).map(|number| format!("log#{number} {number}")).collect();
    assert_eq!(client.read().await, expected);
}

#[tokio::test(start_paused = true)]
async fn rule_1_messages_of_another_node_commit_the_same_way() {
    let hub = fanfare_core::backend::memory::MemoryHub::new();
    let here = Node::start(|broker| broker.backend(hub.node())).await;
    let there = Node::start(|broker| broker.backend(hub.node()).limits(|l| l.inbox_messages = 1)).await;
    let mut all: Vec<_> = Vec::new();
    for _ in 0..3 {
        let mut client = there.client().await;
        client.subscribe("t").await;
        all.push(client);
    }
    here.publish_numbers("t", 1..=100).await;
    let expected: Vec<_> = (1..=100).map(|number| format!("t {number}")).collect();
    for client in &mut all {
        assert_eq!(client.read().await, expected);
    }
    assert_eq!(there.broker.stats().shard_depths, [0]);
}
