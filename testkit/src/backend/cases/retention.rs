//! What logs retain.

use std::time::Duration;

use fanfare_core::{
    backend::{HistoryQuery, Page},
    message::MessageParts,
    topic::TopicConfig,
};
use tokio::time::{Instant, sleep};

use crate::backend::{
    Cluster,
    node::{Node, numbers, texts},
    subject::Subject,
};

pub(in crate::backend) async fn retention_by_messages(cluster: Cluster) {
    let node = cluster.node().await;
    for keep in [1, 2, 7] {
        let subject = Subject::retaining(&format!("logged.keep{keep}"), TopicConfig::new().history(keep));
        for n in 1..=20_u64 {
            node.say(&subject, n.to_string()).await;
            let first = n.saturating_sub(keep as u64) + 1;
            assert_eq!(node.retained(&subject).await, numbers(first..=n), "of {n} messages");
        }
    }
}

pub(in crate::backend) async fn retention_by_bytes(cluster: Cluster) {
    const KEEP: usize = 20_000;
    let node = cluster.node().await;
    let subject = Subject::retaining("logged.t", TopicConfig::new().history(10_000).history_bytes(KEEP));
    let long = "x".repeat(990);
    for n in 0..200 {
        node.say(&subject, format!("{n:>10}{long}")).await;
    }
    let page = node.read_all(&subject).await;
    let bytes: usize = page.messages.iter().map(|message| message.payload().len()).sum();
    assert!(bytes <= 2 * KEEP, "{bytes} bytes are retained, twice {KEEP} are allowed");
    assert!(bytes >= KEEP / 2, "{bytes} bytes are retained of {KEEP}");
    assert!(
        texts(&page).last().is_some_and(|text| text.trim_start().starts_with("199")),
        "the newest are retained"
    );
    // The newest whatever its size.
    node.say(&subject, "y".repeat(3 * KEEP)).await;
    let page = node.read_all(&subject).await;
    assert_eq!(page.messages.last().map(|message| message.payload().len()), Some(3 * KEEP));
}

pub(in crate::backend) async fn retention_by_time(cluster: Cluster) {
    let node = cluster.node().await;
    let ttl = Duration::from_millis(1500);
    let subject = Subject::retaining("logged.t", TopicConfig::new().history(1000).history_ttl(ttl));
    let mut published = Vec::new();
    let began = Instant::now();
    let mut n = 0_u64;
    while began.elapsed() < 2 * ttl {
        n += 1;
        let before = Instant::now();
        node.say(&subject, n.to_string()).await;
        published.push((n, before, Instant::now()));
        let asked = Instant::now();
        let page = node.read_all(&subject).await;
        let answered = Instant::now();
        let retained: Vec<u64> = texts(&page).iter().filter_map(|text| text.parse().ok()).collect();
        for (n, before, after) in &published {
            // A clock that is a little off is allowed: 0.4 s.
            let is_young = answered < *before + ttl - Duration::from_millis(400);
            let is_old = asked > *after + ttl + Duration::from_millis(400);
            assert!(!is_young || retained.contains(n), "message {n} is gone before its time");
            assert!(!is_old || !retained.contains(n), "message {n} is read after its time");
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// Publishes with a key.
async fn set(node: &Node, subject: &Subject, key: Option<&str>, text: &str) {
    let mut parts = MessageParts::new(subject.name.clone(), text);
    parts.key = key.map(Into::into);
    let accepted = node.within("publish", node.hand_over(subject, parts)).await;
    accepted.unwrap_or_else(|error| panic!("{text:?} is not accepted: {error:?}"));
}

async fn latest(node: &Node, subject: &Subject) -> Page {
    node.history(subject, HistoryQuery::Latest).await
}

pub(in crate::backend) async fn latest_is_the_last_of_each_key(cluster: Cluster) {
    let node = cluster.node().await;
    let subject = Subject::retaining("logged.t", TopicConfig::new().history(100).latest(100));
    for (key, text) in
        [("a", "a1"), ("b", "b1"), ("a", "a2"), ("", "empty"), ("c", "c1"), ("b", "b2"), ("a", "a3")]
    {
        set(&node, &subject, Some(key), text).await;
    }
    set(&node, &subject, None, "without a key").await;
    let page = latest(&node, &subject).await;
    assert_eq!(texts(&page), ["empty", "c1", "b2", "a3"], "in the log's order");
    let keys: Vec<_> = page.messages.iter().filter_map(|message| message.key().map(str::to_owned)).collect();
    assert_eq!(keys, ["", "c", "b", "a"]);
    let log = node.read_all(&subject).await;
    let is_in_log = |message: &std::sync::Arc<fanfare_core::message::Message>| {
        log.messages.iter().any(|m| m.position() == message.position() && m.payload() == message.payload())
    };
    assert!(page.messages.iter().all(is_in_log), "a key's last value has the place that it has in the log");
    assert_eq!((page.epoch, page.last), (log.epoch, log.last));
}

pub(in crate::backend) async fn latest_outlives_the_history(cluster: Cluster) {
    let node = cluster.node().await;
    let subject = Subject::retaining("logged.t", TopicConfig::new().history(2).latest(3));
    for (key, text) in [("a", "a1"), ("b", "b1"), ("c", "c1")] {
        set(&node, &subject, Some(key), text).await;
    }
    for n in 0..5 {
        set(&node, &subject, None, &n.to_string()).await;
    }
    assert_eq!(node.retained(&subject).await, ["3", "4"]);
    assert_eq!(texts(&latest(&node, &subject).await), ["a1", "b1", "c1"]);
    // The key that was written longest ago gives way.
    set(&node, &subject, Some("a"), "a2").await;
    set(&node, &subject, Some("d"), "d1").await;
    assert_eq!(texts(&latest(&node, &subject).await), ["c1", "a2", "d1"]);
}
