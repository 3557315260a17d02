//! Recovery: what a client that comes back is told, and what it gets.

use std::{ops::RangeInclusive, time::Duration};

use fanfare_core::{
    backend::memory::MemoryBackend,
    message::{Epoch, Position},
    session::{Command, PublishCommand, Start},
    topic::TopicConfig,
};
use tokio::time::advance;

use crate::support::{Handle, Node, Remote, idle, name, received};

/// Keeps a hundred seconds.
const TTL: Duration = Duration::from_secs(100);

struct Case {
    history: usize,
    published: u64,
    after: u64,
    recovered: bool,
    /// The gap that comes first.
    gap: Option<&'static str>,
    /// What comes then.
    messages: RangeInclusive<u64>,
}

#[allow(clippy::reversed_empty_ranges)]
const CASES: [Case; 7] = [
    Case { history: 10, published: 0, after: 0, recovered: true, gap: None, messages: 1..=0 },
    Case { history: 10, published: 10, after: 8, recovered: true, gap: None, messages: 9..=10 },
    Case {
        history: 10,
        published: 20,
        after: 8,
        recovered: false,
        gap: Some("gap missed=2 8..11 history"),
        messages: 11..=20,
    },
    Case {
        history: 10,
        published: 20,
        after: 108,
        recovered: false,
        gap: Some("gap missed=? 108..11 history"),
        messages: 11..=20,
    },
    Case { history: 10, published: 7, after: 7, recovered: true, gap: None, messages: 1..=0 },
    Case { history: 10, published: 4, after: 0, recovered: true, gap: None, messages: 1..=4 },
    Case { history: 10, published: 10, after: 0, recovered: true, gap: None, messages: 1..=10 },
];

/// What arrives, with a prefix where a client reads the topic's name.
fn expected(case: &Case, prefix: &str) -> Vec<String> {
    let gap = case.gap.map(|gap| format!("{prefix}{gap}"));
    let messages = case.messages.clone().map(|n| format!("log#{n} {n}"));
    let live = format!("{prefix}live #{}", case.published);
    gap.into_iter().chain(messages).chain([live]).collect()
}

async fn publish(case: &Case, watched: bool) -> (Node, Epoch) {
    let config = TopicConfig::new().history(case.history).history_ttl(TTL);
    let node = Node::start(|broker| broker.topic("log", config)).await;
    // A topic that somebody is subscribed to is served from the node's tail, the other from the backend.
    let watcher = node.broker.subscribe("log").await.unwrap();
    let epoch = watcher.outcome().position.unwrap().epoch;
    if watched {
        tokio::spawn(async move {
            let mut watcher = watcher;
            while watcher.recv().await.is_some() {}
        });
    }
    node.publish_numbers("log", 1..=case.published).await;
    idle().await;
    (node, epoch)
}

#[tokio::test(start_paused = true)]
async fn a_client_recovers_what_is_retained_and_is_told_the_rest() {
    for (number, case) in CASES.iter().enumerate() {
        for watched in [true, false] {
            let (node, epoch) = publish(case, watched).await;
            let mut client = node.client().await;
            let start = Start::After(Position::new(epoch, case.after));
            let mut lines = client.subscribe_from("log", start).await;
            let recovered = if case.recovered { "recovered" } else { "not recovered" };
            let floor = if case.recovered { case.after } else { *case.messages.start() - 1 };
            assert_eq!(lines.remove(0), format!("1: subscribed {recovered} #{floor}"), "case {number}");
            assert_eq!(lines, expected(case, "log "), "case {number}");
            let next = case.published + 1;
            node.publish_numbers("log", next..=next).await;
            assert_eq!(client.read().await, [format!("log#{next} {next}")], "case {number}: then it is live");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_in_process_subscription_recovers_the_same() {
    for (number, case) in CASES.iter().enumerate() {
        for watched in [true, false] {
            let (node, epoch) = publish(case, watched).await;
            let start = Start::After(Position::new(epoch, case.after));
            let mut log = node.broker.subscribe("log").start(start).await.unwrap();
            assert_eq!(log.outcome().recovered, Some(case.recovered), "case {number}");
            assert_eq!(received(&mut log).await, expected(case, ""), "case {number}");
            let next = case.published + 1;
            node.publish_numbers("log", next..=next).await;
            assert_eq!(received(&mut log).await, [format!("log#{next} {next}")], "case {number}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_behind_what_expired_does_not_recover_and_who_is_at_the_top_does() {
    for watched in [true, false] {
        let case = Case { history: 10, published: 5, after: 0, recovered: true, gap: None, messages: 1..=5 };
        let (node, epoch) = publish(&case, watched).await;
        advance(2 * TTL).await;
        let at = |offset| Start::After(Position::new(epoch, offset));
        let mut behind = node.broker.subscribe("log").start(at(3)).await.unwrap();
        assert_eq!(behind.outcome().recovered, Some(false));
        assert_eq!(received(&mut behind).await, ["gap missed=2 3..? history", "live #5"]);
        let mut at_the_top = node.broker.subscribe("log").start(at(5)).await.unwrap();
        assert_eq!(at_the_top.outcome().recovered, Some(true));
        assert_eq!(received(&mut at_the_top).await, ["live #5"]);
        node.publish_numbers("log", 6..=6).await;
        assert_eq!(received(&mut behind).await, ["log#6 6"]);
        assert_eq!(received(&mut at_the_top).await, ["log#6 6"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_does_not_outlive_its_time_because_somebody_subscribed() {
    let remote = Remote::new();
    let config = TopicConfig::new().history(10).history_ttl(TTL);
    let node = Node::start(|broker| broker.backend(Handle(remote.clone())).topic("log", config)).await;
    remote.store_aged("log", "1", TTL - Duration::from_secs(10));
    remote.store_aged("log", "2", Duration::ZERO);
    // The tail is read from the backend now.
    let watcher = node.broker.subscribe("log").await.unwrap();
    let start = Start::After(Position::new(watcher.outcome().position.unwrap().epoch, 0));
    let in_time = node.broker.subscribe("log").start(start).await.unwrap();
    assert_eq!(in_time.outcome().recovered, Some(true));
    advance(Duration::from_secs(20)).await;
    let mut late = node.broker.subscribe("log").start(start).await.unwrap();
    assert_eq!(received(&mut late).await, ["gap missed=1 0..2 history", "log#2 2", "live #2"]);
}

#[tokio::test(start_paused = true)]
async fn another_epoch_does_not_recover() {
    let backend = std::sync::Arc::new(MemoryBackend::new());
    let config = TopicConfig::new().history(10);
    let node = Node::start(|broker| broker.backend(Handle(backend.clone())).topic("log", config)).await;
    node.publish_numbers("log", 1..=5).await;
    let old = node.at("log", 5).await;
    idle().await;
    backend.forget(&name("log"));
    node.publish_numbers("log", 1..=3).await;
    let mut client = node.client().await;
    let lines = client.subscribe_from("log", Start::After(old)).await;
    let expected = [
        "1: subscribed not recovered #0",
        "log gap missed=? 5..1 epoch",
        "log#1 1",
        "log#2 2",
        "log#3 3",
        "log live #3",
    ];
    assert_eq!(lines, expected);
}

#[tokio::test(start_paused = true)]
async fn messages_published_while_a_slow_history_is_read_arrive_once() {
    let remote = Remote::new();
    let config = TopicConfig::new().history(100);
    let node = Node::start(|broker| broker.backend(Handle(remote.clone())).topic("log", config)).await;
    for number in 1..=5 {
        remote.store("log", &number.to_string());
    }
    let old = Position::new(remote.store("log", "6").log.unwrap().position.epoch, 2);
    remote.reads.shut();
    let subscribe = tokio::spawn(node.broker.subscribe("log").start(Start::After(old)).into_future());
    idle().await;
    // These are seen while the page is on its way, and are not in it.
    node.publish_numbers("log", 7..=9).await;
    idle().await;
    remote.reads.open();
    let mut log = subscribe.await.unwrap().unwrap();
    node.publish_numbers("log", 10..=11).await;
    let messages = (3..=11).map(|n| format!("log#{n} {n}"));
    let got = received(&mut log).await;
    let only_messages: Vec<_> = got.iter().filter(|line| line.starts_with("log#")).cloned().collect();
    assert_eq!(only_messages, messages.collect::<Vec<_>>(), "{got:?}");
    assert_eq!(got.len(), only_messages.len() + 1, "and one that says it is live: {got:?}");
}

#[tokio::test(start_paused = true)]
async fn a_client_at_10_that_meets_a_message_after_11_first_gets_a_gap() {
    let remote = Remote::new();
    let config = TopicConfig::new().history(100);
    let node = Node::start(|broker| broker.backend(Handle(remote.clone())).topic("log", config)).await;
    let mut log = node.broker.subscribe("log").await.unwrap();
    for number in 1..=10 {
        let incoming = remote.store("log", &number.to_string());
        remote.ingress().deliver(incoming).await;
    }
    assert_eq!(received(&mut log).await.len(), 10);
    remote.store("log", "11");
    let twelfth = remote.store("log", "12");
    remote.evict("log", 11);
    remote.ingress().deliver(twelfth).await;
    assert_eq!(received(&mut log).await, ["gap missed=1 10..12 backend", "log#12 12"]);
}

#[tokio::test(start_paused = true)]
async fn after_echo_off_nothing_comes_twice() {
    let node = Node::start(|broker| broker.topic("log", TopicConfig::new().history(10))).await;
    let epoch = node.epoch("log").await;
    let mut client = node.client().await;
    client.subscribe("log").await;
    node.publish_numbers("log", 1..=1).await;
    let mut mine = PublishCommand::new("log", "mine");
    mine.echo = false;
    let mut lines = client.call(Command::Publish(mine)).await;
    lines.sort();
    assert_eq!(lines, ["2: published #2", "log#1 1", "log#2 hidden"]);
    // It comes back as another connection, and resumes after the last position that it was told.
    let mut again = node.client().await;
    let start = Start::After(Position::new(epoch, 2));
    assert_eq!(again.subscribe_from("log", start).await, ["1: subscribed recovered #2", "log live #2"]);
}

#[tokio::test(start_paused = true)]
async fn with_an_overlapping_pattern_nothing_comes_twice() {
    let config = TopicConfig::new().history(10);
    let node = Node::start(|broker| broker.topic("log.*", config)).await;
    let epoch = node.epoch("log.a").await;
    node.publish_numbers("log.a", 1..=4).await;
    idle().await;
    for pattern_first in [true, false] {
        let mut client = node.client().await;
        let start = Start::After(Position::new(epoch, 2));
        let mut lines = Vec::new();
        if pattern_first {
            lines.extend(client.subscribe("log.*").await);
            node.broker.publish("log.b", "other").await.unwrap();
            lines.extend(client.subscribe_from("log.a", start).await);
        } else {
            lines.extend(client.subscribe_from("log.a", start).await);
            lines.extend(client.subscribe("log.*").await);
        }
        node.broker.publish("log.a", "live").await.unwrap();
        lines.extend(client.read().await);
        let got: Vec<_> = lines.iter().filter(|line| line.starts_with("log.a#")).collect();
        let mut once = got.clone();
        once.dedup();
        assert_eq!(got, once);
        assert!(got[0] == "log.a#3 3" && got.last().unwrap().ends_with(" live"), "{got:?}");
    }
}
