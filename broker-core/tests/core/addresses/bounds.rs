//! What a connection that does not read costs, and what it is told.

use std::sync::Arc;

use bytes::BytesMut;
use fanfare_core::{
    message::{Encoder, Frame},
    publish::PublishError,
    session::Handshake,
    topic::TopicConfig,
};

use super::{node, user};
use crate::support::{Node, idle};

/// Payloads alone: who reads this cannot tell of which topic they are.
struct Bare;

impl Encoder for Bare {
    fn encode(&self, frame: Frame<'_>, out: &mut BytesMut) {
        if let Frame::Message(message) = frame {
            out.extend_from_slice(message.payload().bytes());
            out.extend_from_slice(b"\n");
        }
    }

    fn tells_topics(&self) -> bool {
        false
    }
}

#[tokio::test(start_paused = true)]
async fn a_stalled_connection_loses_the_oldest_and_is_told_at_their_place() {
    let node = node(|broker| broker.limits(|limits| limits.queue_messages = 3)).await;
    let (mut stalled, mut other) = (user(&node, "ann").await, user(&node, "ann").await);
    stalled.wire.shut();
    for number in 1..=10 {
        node.broker.publish("$user.ann", number.to_string()).await.unwrap();
    }
    idle().await;
    let stats = node.broker.stats();
    assert_eq!((stats.queued, stats.dropped), (3, 7));
    assert_eq!(other.read().await.len(), 10, "the other tab misses nothing");
    stalled.wire.open();
    let lines = stalled.read().await;
    let expected = ["$direct gap missed=7 ?..? slow", "$user.ann 8", "$user.ann 9", "$user.ann 10"];
    assert_eq!(lines, expected);
    node.broker.publish("$all", "11").await.unwrap();
    assert_eq!(stalled.read().await, ["$all 11"]);
    let stats = node.broker.stats();
    assert_eq!((stats.queued, stats.queued_bytes, stats.gaps), (0, 0, 1));
    let gone = stats.delivered + stats.conflated + stats.dropped + stats.discarded + stats.resynced;
    assert_eq!(stats.offered, gone + stats.hidden);
}

#[tokio::test(start_paused = true)]
async fn the_connections_bytes_are_bounded_with_what_it_is_subscribed_to() {
    let node = node(|broker| {
        broker.topic("t", TopicConfig::new().queue_messages(100)).limits(|limits| limits.queue_bytes = 2000)
    })
    .await;
    let mut ann = user(&node, "ann").await;
    ann.subscribe("t").await;
    ann.wire.shut();
    for _ in 0..30 {
        node.broker.publish("t", "x".repeat(100)).await.unwrap();
        node.broker.publish("$user.ann", "y".repeat(100)).await.unwrap();
    }
    idle().await;
    // One message always fits an empty queue.
    assert!(node.broker.stats().queued_bytes <= 2000 + 200, "{:?}", node.broker.stats());
    ann.wire.open();
    let lines = ann.read().await;
    let has = |start: &str| lines.iter().any(|line| line.starts_with(start));
    assert!(has("t gap") && has("$direct gap") && has("t x") && has("$user.ann y"), "{lines:?}");
}

#[tokio::test(start_paused = true)]
async fn what_waits_when_the_connection_ends_is_counted() {
    let node = node(|broker| broker).await;
    let ann = user(&node, "ann").await;
    ann.wire.shut();
    for _ in 0..5 {
        node.broker.publish("$user.ann", "hello").await.unwrap();
    }
    idle().await;
    assert_eq!(node.broker.stats().queued, 5);
    ann.wire.break_off();
    drop(ann);
    idle().await;
    let stats = node.broker.stats();
    assert_eq!((stats.queued, stats.queued_bytes, stats.offered, stats.discarded), (0, 0, 5, 5));
}

#[tokio::test(start_paused = true)]
async fn who_cannot_tell_topics_apart_gets_only_what_it_is_subscribed_to() {
    let node = node(|broker| broker).await;
    let bare = node.broker.register(Arc::new(Bare)).unwrap();
    let bare = Node { broker: node.broker.clone(), format: bare };
    let mut stream = bare.connect(Handshake::new("test").with_token("ann")).await.unwrap();
    let mut tab = user(&node, "ann").await;
    stream.subscribe("t").await;
    for to in ["$user.ann", "$all", "t"] {
        node.broker.publish(to, to).await.unwrap();
    }
    assert_eq!(stream.read().await, ["t"]);
    assert_eq!(tab.read().await, ["$user.ann $user.ann", "$all $all"]);
    let stats = node.broker.stats();
    assert_eq!((stats.offered, stats.delivered), (3, 3));
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_is_always_busy_does_not_keep_private_messages_waiting() {
    let node = node(|broker| broker).await;
    let mut crowd = Vec::new();
    for _ in 0..300 {
        let mut client = node.client().await;
        client.session().subscribe(fanfare_core::session::SubscribeCommand::live("busy")).await.unwrap();
        crowd.push(client);
    }
    let mut ann = user(&node, "ann").await;
    idle().await;
    // Several turns, each of several slices.
    let busy = |_| node.broker.try_publish("busy", "x".repeat(4000)).unwrap();
    (0..25).for_each(busy);
    node.broker.try_publish("$user.ann", "now").unwrap();
    (0..25).for_each(busy);
    for _ in 0..3 {
        tokio::task::yield_now().await;
    }
    assert_eq!(ann.lines(), ["$user.ann now"]);
    assert!(node.broker.stats().shard_depths[0] > 0, "the busy topic is at it still");
}

#[tokio::test(start_paused = true)]
async fn limits_are_those_of_every_message() {
    let small = TopicConfig::new().max_message(10);
    let node =
        node(|broker| broker.topic("$user.*", small).limits(|limits| limits.topics_per_publish = 2)).await;
    let too_long = node.broker.publish("$user.ann", "x".repeat(11)).await;
    assert!(matches!(too_long, Err(PublishError::TooLarge { limit: 10, value: 11, .. })), "{too_long:?}");
    let too_many = node.broker.publish("$user.a", "x").also("$user.b").also("$user.c").await;
    assert!(matches!(too_many, Err(PublishError::TooManyTopics { limit: 2, value: 3 })), "{too_many:?}");
}
