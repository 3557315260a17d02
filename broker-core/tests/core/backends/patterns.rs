//! Who is subscribed by a pattern learns of what is missing, too.

use std::sync::Arc;

use fanfare_core::{
    backend::Incoming,
    message::{Epoch, LogPlace, MessageParts, Position},
    topic::{OverflowPolicy, TopicConfig},
};

use super::{Two, soon};
use crate::support::{Handle, Node, Remote, idle, name, received};

async fn remote_log() -> (Arc<Remote>, Node) {
    let remote = Remote::new();
    let backend = Handle(remote.clone());
    let config = TopicConfig::new().history(100);
    (remote, Node::start(|broker| broker.backend(backend).topic("log.*", config)).await)
}

fn at(epoch: u64, offset: u64, payload: &str) -> Incoming {
    let place = LogPlace { position: Position::new(Epoch::new(epoch), offset), prev: offset - 1 };
    Incoming::logged(MessageParts::new(name("log.a"), payload), place)
}

#[tokio::test(start_paused = true)]
async fn a_hole_of_a_log_that_nobody_is_subscribed_to_by_name_is_told() {
    let (remote, node) = remote_log().await;
    let mut pattern = node.broker.subscribe_pattern("log.*").await.unwrap();
    let ingress = remote.ingress();
    for incoming in [at(7, 3, "3"), at(7, 4, "4"), at(7, 4, "4"), at(7, 8, "8")] {
        ingress.deliver(incoming).await;
    }
    let expected = ["log.a#3 3", "log.a#4 4", "gap missed=3 4..8 backend", "log.a#8 8"];
    assert_eq!(received(&mut pattern).await, expected, "nothing is known of what was before the first");
    ingress.deliver(at(9, 1, "new")).await;
    assert_eq!(received(&mut pattern).await, ["gap missed=? 8..1 epoch", "log.a#1 new"]);
}

#[tokio::test(start_paused = true)]
async fn what_there_is_no_room_to_receive_is_told() {
    let remote = Remote::new();
    let backend = Handle(remote.clone());
    let config = TopicConfig::new().history(100);
    let node = Node::start(|broker| {
        broker.backend(backend).topic("log.*", config).limits(|limits| limits.topics = 1)
    });
    let node = node.await;
    let _room = node.broker.subscribe("log.b").await.unwrap();
    let mut pattern = node.broker.subscribe_pattern("log.*").await.unwrap();
    let ingress = remote.ingress();
    for incoming in [at(7, 1, "1"), at(7, 2, "2")] {
        ingress.deliver(incoming).await;
    }
    assert_eq!(received(&mut pattern).await, ["gap missed=? ?..? backend"]);
}

#[tokio::test(start_paused = true)]
async fn a_hole_that_cannot_be_filled_is_told_by_name_and_by_pattern() {
    let (remote, node) = remote_log().await;
    let mut by_name = node.broker.subscribe("log.a").await.unwrap();
    let mut pattern = node.broker.subscribe_pattern("log.*").await.unwrap();
    node.publish_numbers("log.a", 1..=1).await;
    idle().await;
    remote.store("log.a", "2");
    remote.store("log.a", "3");
    let fourth = remote.store("log.a", "4");
    remote.evict("log.a", 3);
    remote.ingress().deliver(fourth).await;
    let expected = ["log.a#1 1", "gap missed=2 1..4 backend", "log.a#4 4"];
    assert_eq!(received(&mut by_name).await, expected);
    assert_eq!(received(&mut pattern).await, expected);
}

#[tokio::test(start_paused = true)]
async fn a_hole_before_the_first_message_that_a_pattern_gets_is_told_to_it() {
    let (remote, node) = remote_log().await;
    let _by_name = node.broker.subscribe("log.a").await.unwrap();
    node.publish_numbers("log.a", 1..=1).await;
    idle().await;
    let mut pattern = node.broker.subscribe_pattern("log.*").await.unwrap();
    remote.store("log.a", "2");
    remote.store("log.a", "3");
    let fourth = remote.store("log.a", "4");
    remote.evict("log.a", 3);
    remote.ingress().deliver(fourth).await;
    assert_eq!(received(&mut pattern).await, ["gap missed=? ?..? backend", "log.a#4 4"]);
}

#[tokio::test(start_paused = true)]
async fn what_a_pattern_got_last_is_known_when_who_is_subscribed_by_name_leaves() {
    let (remote, node) = remote_log().await;
    let mut pattern = node.broker.subscribe_pattern("log.*").await.unwrap();
    node.publish_numbers("log.a", 1..=1).await;
    idle().await;
    drop(node.broker.subscribe("log.a").await.unwrap());
    idle().await;
    remote.store("log.a", "2");
    let third = remote.store("log.a", "3");
    remote.ingress().deliver(third).await;
    assert_eq!(received(&mut pattern).await, ["log.a#1 1", "gap missed=1 1..3 backend", "log.a#3 3"]);
}

#[tokio::test(start_paused = true)]
async fn a_hole_that_is_filled_is_told_to_nobody() {
    let (remote, node) = remote_log().await;
    let _by_name = node.broker.subscribe("log.a").await.unwrap();
    let mut pattern = node.broker.subscribe_pattern("log.*").await.unwrap();
    node.publish_numbers("log.a", 1..=1).await;
    idle().await;
    remote.store("log.a", "2");
    let third = remote.store("log.a", "3");
    remote.ingress().deliver(third).await;
    assert_eq!(received(&mut pattern).await, ["log.a#1 1", "log.a#2 2", "log.a#3 3"]);
}

#[tokio::test(start_paused = true)]
async fn what_a_tail_is_filled_with_is_not_kept_from_who_is_subscribed_by_a_pattern() {
    let (remote, node) = remote_log().await;
    let mut pattern = node.broker.subscribe_pattern("log.*").await.unwrap();
    let first = remote.store("log.a", "1");
    remote.ingress().deliver(first).await;
    let second = remote.store("log.a", "2");
    // The tail holds the second message before it arrives.
    let mut by_name = node.broker.subscribe("log.a").await.unwrap();
    assert_eq!(by_name.outcome().position.unwrap().offset, 2);
    remote.ingress().deliver(second.clone()).await;
    remote.ingress().deliver(second).await;
    assert_eq!(received(&mut pattern).await, ["log.a#1 1", "log.a#2 2"]);
    assert!(received(&mut by_name).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn who_comes_later_is_not_told_of_what_came_before() {
    let (remote, node) = remote_log().await;
    let first = node.broker.subscribe_pattern("log.*").await.unwrap();
    remote.ingress().deliver(at(7, 1, "1")).await;
    idle().await;
    drop(first);
    idle().await;
    // Nobody here wants these.
    remote.ingress().deliver(at(7, 2, "2")).await;
    let mut second = node.broker.subscribe_pattern("log.*").await.unwrap();
    remote.ingress().deliver(at(7, 4, "4")).await;
    assert_eq!(received(&mut second).await, ["log.a#4 4"]);
}

#[tokio::test(start_paused = true)]
async fn a_log_that_is_replaced_does_not_keep_other_logs_from_a_pattern() {
    let two = Two::start().await;
    let mut pattern = two.here.broker.subscribe_pattern("log.*").await.unwrap();
    let _by_name = two.here.broker.subscribe("log.a").await.unwrap();
    two.there.publish_numbers("log.a", 1..=1).await;
    two.there.publish_numbers("log.b", 1..=1).await;
    idle().await;
    two.forget("log.a");
    two.there.publish_numbers("log.a", 1..=1).await;
    idle().await;
    two.there.publish_numbers("log.b", 2..=2).await;
    let got = received(&mut pattern).await;
    let expected = ["log.a#1 1", "log.b#1 1", "gap missed=? 1..? epoch", "log.a#1 1", "log.b#2 2"];
    assert_eq!(got, expected);
}

#[tokio::test(start_paused = true)]
async fn what_a_pattern_lost_is_one_gap() {
    let two = Two::start().await;
    let mut pattern = two.here.broker.subscribe_pattern("log.*").await.unwrap();
    two.there.publish_numbers("log.a", 1..=1).await;
    idle().await;
    two.faulty.hub.set_connected(false);
    two.there.publish_numbers("log.a", 2..=3).await;
    two.faulty.hub.set_connected(true);
    soon().await;
    two.there.publish_numbers("log.a", 4..=4).await;
    let got = received(&mut pattern).await;
    assert_eq!(got.len(), 3, "{got:?}");
    assert_eq!((&*got[0], &*got[2]), ("log.a#1 1", "log.a#4 4"));
    assert!(got[1].starts_with("gap missed=?"), "{got:?}");
}

#[tokio::test(start_paused = true)]
async fn a_pattern_behaves_as_its_topics_are_configured() {
    let closing = TopicConfig::new().overflow(OverflowPolicy::Disconnect).queue_messages(2);
    let newest = TopicConfig::new().overflow(OverflowPolicy::DropNewest).queue_messages(3);
    let default = TopicConfig::new().queue_messages(4);
    let node =
        Node::start(|broker| broker.topic("a.>", newest).topic("a.b.*", closing).default_topic(default))
            .await;
    // The configuration of the very pattern, of the most specific one that covers it, or the default.
    let mut closed = node.broker.subscribe_pattern("a.b.*").await.unwrap();
    let mut covered = node.broker.subscribe_pattern("a.*.c").await.unwrap();
    let mut all = node.broker.subscribe_pattern(">").await.unwrap();
    node.publish_numbers("a.b.c", 1..=6).await;
    idle().await;
    assert_eq!(received(&mut covered).await, ["a.b.c 1", "a.b.c 2", "a.b.c 3", "gap missed=3 ?..? slow"]);
    let dropped = ["gap missed=2 ?..? slow", "a.b.c 3", "a.b.c 4", "a.b.c 5", "a.b.c 6"];
    assert_eq!(received(&mut all).await, dropped);
    while let Some(delivery) = closed.try_recv() {
        assert!(matches!(delivery, fanfare_core::subscription::Delivery::Message(_)), "{delivery:?}");
    }
    assert!(closed.recv().await.is_none(), "a slow consumer is disconnected");
}
