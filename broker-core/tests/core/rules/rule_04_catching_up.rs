//! Catching up is one mechanism: for a start in the past, for a slow reader, for what was missed.

use fanfare_core::{
    message::Position,
    session::{Command, Start},
    topic::{OverflowPolicy, TopicConfig},
};

use crate::support::{Handle, Node, Remote, deliveries, idle, received};

fn numbers(topic: &str, range: std::ops::RangeInclusive<u64>) -> Vec<String> {
    range.map(|n| format!("{topic}#{n} {n}")).collect()
}

async fn with_log(config: TopicConfig) -> Node {
    Node::start(|broker| broker.topic("log", config)).await
}

#[tokio::test(start_paused = true)]
async fn rule_4_pages_are_pulled_only_when_the_queue_is_empty_and_nothing_piles_up() {
    let node = with_log(TopicConfig::new().history(100).queue_messages(4)).await;
    let beginning = node.at("log", 0).await;
    node.publish_numbers("log", 1..=50).await;
    let mut client = node.client().await;
    client.wire.shut();
    client.subscribe_from("log", Start::After(beginning)).await;
    assert_eq!(node.broker.stats().queued, 4, "one page, and not the log");
    node.publish_numbers("log", 51..=60).await;
    client.settle().await;
    assert_eq!(node.broker.stats().queued, 4, "who catches up is skipped");
    client.wire.open();
    let mut expected = vec!["1: subscribed recovered #0".to_owned()];
    expected.extend(numbers("log", 1..=60));
    expected.push("log live #60".to_owned());
    assert_eq!(client.read().await, expected);
    node.publish_numbers("log", 61..=62).await;
    assert_eq!(client.read().await, numbers("log", 61..=62));
}

#[tokio::test(start_paused = true)]
async fn rule_4_a_page_holds_at_most_64_kib() {
    let node = with_log(TopicConfig::new().history(100)).await;
    let beginning = node.at("log", 0).await;
    for _ in 0..10 {
        node.broker.publish("log", "x".repeat(20_000)).await.unwrap();
    }
    let mut client = node.client().await;
    client.wire.shut();
    client.subscribe_from("log", Start::After(beginning)).await;
    assert_eq!(node.broker.stats().queued, 3);
    client.wire.open();
    assert_eq!(client.read().await.len(), 12);
}

#[tokio::test(start_paused = true)]
async fn rule_4_a_slow_reader_of_a_log_reads_it_again_and_loses_nothing() {
    let node = with_log(TopicConfig::new().history(1000).queue_messages(4)).await;
    let mut client = node.client().await;
    client.subscribe("log").await;
    node.publish_numbers("log", 1..=3).await;
    assert_eq!(client.read().await, numbers("log", 1..=3));
    client.wire.shut();
    node.publish_numbers("log", 4..=200).await;
    client.settle().await;
    assert!(node.broker.stats().queued <= 4);
    assert_eq!(node.broker.stats().resyncs, 1);
    client.wire.open();
    let mut expected = numbers("log", 4..=200);
    expected.push("log live #200".to_owned());
    assert_eq!(client.read().await, expected);
    node.publish_numbers("log", 201..=203).await;
    assert_eq!(client.read().await, numbers("log", 201..=203));
}

#[tokio::test(start_paused = true)]
async fn rule_4_resync_begins_with_the_first_unsent_also_after_an_interrupted_frame() {
    let node = with_log(TopicConfig::new().history(1000).queue_messages(2)).await;
    let mut client = node.client().await;
    client.subscribe("log").await;
    client.wire.shut();
    client.wire.allow(11);
    node.publish_numbers("log", 1..=30).await;
    client.settle().await;
    assert_eq!(client.lines(), numbers("log", 1..=1), "the second is interrupted");
    client.wire.open();
    let mut expected = numbers("log", 2..=30);
    expected.push("log live #30".to_owned());
    assert_eq!(client.read().await, expected);
}

#[tokio::test(start_paused = true)]
async fn rule_4_what_the_log_gave_up_meanwhile_is_one_gap() {
    let node = with_log(TopicConfig::new().history(5).queue_messages(2)).await;
    let mut client = node.client().await;
    client.subscribe("log").await;
    node.publish_numbers("log", 1..=3).await;
    client.read().await;
    client.wire.shut();
    node.publish_numbers("log", 4..=50).await;
    client.settle().await;
    client.wire.open();
    let mut expected = vec!["log gap missed=42 3..46 slow".to_owned()];
    expected.extend(numbers("log", 46..=50));
    expected.push("log live #50".to_owned());
    assert_eq!(client.read().await, expected);
}

#[tokio::test(start_paused = true)]
async fn rule_4_a_queue_smaller_than_a_page_gets_on_all_the_same() {
    let node = with_log(TopicConfig::new().history(100)).await;
    let beginning = node.at("log", 0).await;
    node.publish_numbers("log", 1..=20).await;
    let mut small =
        node.broker.subscribe("log").start(Start::After(beginning)).queue_messages(3).await.unwrap();
    let mut expected = numbers("log", 1..=20);
    expected.push("live #20".to_owned());
    assert_eq!(received(&mut small).await, expected);
}

#[tokio::test(start_paused = true)]
async fn rule_4_a_connection_with_few_bytes_gets_on_all_the_same() {
    let config = TopicConfig::new().history(100);
    let node = Node::start(|broker| broker.topic("log", config).limits(|l| l.queue_bytes = 300)).await;
    let beginning = node.at("log", 0).await;
    node.publish_numbers("log", 1..=20).await;
    let mut client = node.client().await;
    client.wire.shut();
    client.subscribe_from("log", Start::After(beginning)).await;
    assert!(node.broker.stats().queued_bytes <= 300);
    client.wire.open();
    let mut expected = vec!["1: subscribed recovered #0".to_owned()];
    expected.extend(numbers("log", 1..=20));
    expected.push("log live #20".to_owned());
    assert_eq!(client.read().await, expected);
}

#[tokio::test(start_paused = true)]
async fn rule_4_last_values_come_whole_through_a_small_queue() {
    let node = with_log(TopicConfig::new().history(5).latest(100)).await;
    for key in 0..20 {
        node.broker.publish("log", "old").key(format!("k{key:02}")).await.unwrap();
        node.broker.publish("log", "new").key(format!("k{key:02}")).await.unwrap();
    }
    let mut small = node.broker.subscribe("log").start(Start::Latest).queue_messages(3).await.unwrap();
    let mut expected: Vec<_> = (0..20).map(|key| format!("log#{} new key=k{key:02}", 2 * key + 2)).collect();
    expected.push("live #40".to_owned());
    assert_eq!(received(&mut small).await, expected);
}

#[tokio::test(start_paused = true)]
async fn rule_4_every_start() {
    let node = with_log(TopicConfig::new().history(100).latest(10)).await;
    let epoch = node.epoch("log").await;
    for (key, value) in [("a", "1"), ("b", "2"), ("a", "3")] {
        node.broker.publish("log", value).key(key).await.unwrap();
    }
    let at = |offset| Start::After(Position::new(epoch, offset));
    let cases: [(Start, &[&str]); 8] = [
        (Start::Live, &["1: subscribed #3"]),
        (Start::Last(2), &["1: subscribed #1", "log#2 2 key=b", "log#3 3 key=a", "log live #3"]),
        (Start::Last(0), &["1: subscribed #3", "log live #3"]),
        (
            Start::Last(9),
            &["1: subscribed #0", "log#1 1 key=a", "log#2 2 key=b", "log#3 3 key=a", "log live #3"],
        ),
        (
            Start::Earliest,
            &["1: subscribed #0", "log#1 1 key=a", "log#2 2 key=b", "log#3 3 key=a", "log live #3"],
        ),
        (Start::Latest, &["1: subscribed #3", "log#2 2 key=b", "log#3 3 key=a", "log live #3"]),
        (at(2), &["1: subscribed recovered #2", "log#3 3 key=a", "log live #3"]),
        (at(3), &["1: subscribed recovered #3", "log live #3"]),
    ];
    for (start, expected) in cases {
        let mut client = node.client().await;
        assert_eq!(client.subscribe_from("log", start).await, expected, "{start:?}");
    }
    node.broker.publish("log", "4").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn rule_4_unsubscribing_while_catching_up_ends_it() {
    let node = with_log(TopicConfig::new().history(100).queue_messages(4)).await;
    let beginning = node.at("log", 0).await;
    node.publish_numbers("log", 1..=50).await;
    let mut client = node.client().await;
    client.wire.shut();
    client.subscribe_from("log", Start::After(beginning)).await;
    client.send(Command::Unsubscribe { topic: "log".to_owned() }).await.unwrap();
    client.wire.open();
    assert_eq!(client.read().await, ["1: subscribed recovered #0", "2: unsubscribed"]);
    // The same place in the outbox is used again: no page of the old one comes.
    client.subscribe("log").await;
    node.publish_numbers("log", 51..=51).await;
    assert_eq!(client.read().await, numbers("log", 51..=51));
}

#[tokio::test(start_paused = true)]
async fn rule_4_a_new_epoch_is_a_gap_and_then_the_new_log() {
    let remote = Remote::new();
    let config = TopicConfig::new().history(100);
    let node = Node::start(|broker| broker.backend(Handle(remote.clone())).topic("log", config)).await;
    let mut client = node.client().await;
    client.subscribe("log").await;
    node.publish_numbers("log", 1..=3).await;
    client.read().await;
    remote.lose("log");
    node.broker.publish("log", "new").await.unwrap();
    assert_eq!(client.read().await, ["log gap missed=? 3..? epoch", "log#1 new"]);
    node.broker.publish("log", "newer").await.unwrap();
    assert_eq!(client.read().await, ["log#2 newer"]);
}

#[tokio::test(start_paused = true)]
async fn rule_4_a_new_epoch_ends_what_was_being_caught_up() {
    let remote = Remote::new();
    let config = TopicConfig::new().history(100).queue_messages(4);
    let node = Node::start(|broker| broker.backend(Handle(remote.clone())).topic("log", config)).await;
    let beginning = node.at("log", 0).await;
    node.publish_numbers("log", 1..=20).await;
    let mut client = node.client().await;
    client.wire.shut();
    client.subscribe_from("log", Start::After(beginning)).await;
    remote.lose("log");
    node.broker.publish("log", "new").await.unwrap();
    client.settle().await;
    client.wire.open();
    let lines = deliveries(client.read().await);
    assert_eq!(lines[..4], numbers("log", 1..=4));
    assert_eq!(lines[4..], ["log gap missed=? 4..? epoch", "log#1 new", "log live #1"]);
}

#[tokio::test(start_paused = true)]
async fn rule_4_continuity_counts_from_the_position_that_was_asked_for() {
    let remote = Remote::new();
    let config = TopicConfig::new().history(100);
    let node = Node::start(|broker| broker.backend(Handle(remote.clone())).topic("log", config)).await;
    for number in 1..=10 {
        remote.store("log", &number.to_string());
    }
    let at_10 = node.at("log", 10).await;
    let mut client = node.client().await;
    let resumed = client.subscribe_from("log", Start::After(at_10)).await;
    assert_eq!(resumed, ["1: subscribed recovered #10", "log live #10"]);
    let _lost = remote.store("log", "11");
    let next = remote.store("log", "12");
    remote.evict("log", 11);
    remote.ingress().deliver(next).await;
    assert_eq!(client.read().await, ["log gap missed=1 10..12 backend", "log#12 12"]);
}

#[tokio::test(start_paused = true)]
async fn rule_4_patterns_are_live_only_and_their_overflow_is_never_a_resync() {
    let config = TopicConfig::new().history(100).overflow(OverflowPolicy::Resync);
    let node = Node::start(|broker| broker.topic("log.*", config).limits(|l| l.queue_messages = 3)).await;
    let mut client = node.client().await;
    let past = client.subscribe_from("log.*", Start::Last(1)).await;
    assert_eq!(past, ["1: error bad_request topic"]);
    assert_eq!(client.subscribe("log.*").await, ["2: subscribed"]);
    client.wire.shut();
    node.publish_numbers("log.a", 1..=10).await;
    client.settle().await;
    client.wire.open();
    let mut expected = vec!["log.* gap missed=7 ?..? slow".to_owned()];
    expected.extend(numbers("log.a", 8..=10));
    assert_eq!(client.read().await, expected);
    assert_eq!(node.broker.stats().resyncs, 0);
}

#[tokio::test(start_paused = true)]
async fn rule_4_one_flight_reads_the_backend_for_all_who_subscribe_at_once() {
    let remote = Remote::new();
    let config = TopicConfig::new().history(100);
    let node = Node::start(|broker| broker.backend(Handle(remote.clone())).topic("log", config)).await;
    for number in 1..=10 {
        remote.store("log", &number.to_string());
    }
    remote.reads.shut();
    let subscribes: Vec<_> = (0..50)
        .map(|_| tokio::spawn(node.broker.subscribe("log").start(Start::Earliest).into_future()))
        .collect();
    idle().await;
    remote.reads.open();
    let mut expected = numbers("log", 1..=10);
    expected.push("live #10".to_owned());
    for subscribe in subscribes {
        assert_eq!(received(&mut subscribe.await.unwrap().unwrap()).await, expected);
    }
    let reads = remote.calls().iter().filter(|call| call.starts_with("history")).count();
    assert_eq!(reads, 1, "the node reads once, not once per client");
}
