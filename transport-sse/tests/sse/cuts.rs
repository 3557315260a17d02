//! A reader that is cut at random, in the middle of an event as well, while messages are published: each comes once, in order.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use fanfare_core::{Broker, policy::Open, topic::TopicConfig};
use fanfare_sse::Config;
use serde_json::Value;

use crate::{
    parser::{Event, Parser},
    support::{App, Version, app_with},
};

const CUTS: usize = 200;

/// Publishes numbers to the topics in turn, 200 a second, until told to stop; gives how many each got.
fn publish(
    app: &App,
    topics: &'static [&'static str],
    stop: Arc<AtomicBool>,
) -> tokio::task::JoinHandle<u64> {
    let broker = app.broker.clone();
    tokio::spawn(async move {
        let mut interval = tokio::time::interval(Duration::from_millis(5));
        let mut count = 0;
        while !stop.load(Ordering::Relaxed) {
            for topic in topics {
                interval.tick().await;
                broker.publish(*topic, count.to_string()).await.unwrap();
            }
            count += 1;
        }
        count
    })
}

/// What has come so far, by topic.
#[derive(Default)]
struct Seen(HashMap<String, u64>);

impl Seen {
    fn take(&mut self, event: &Event) {
        assert_ne!(event.name, "$gap", "{event:?}");
        if event.name != "message" {
            return;
        }
        let (topic, number) = match serde_json::from_str(&event.data).unwrap() {
            Value::Number(number) => (String::new(), number.as_u64().unwrap()),
            frame => {
                let number = frame["data"].as_str().unwrap().parse().unwrap();
                (frame["topic"].as_str().unwrap().to_owned(), number)
            }
        };
        let next = self.0.entry(topic).or_default();
        assert_eq!(number, *next, "{event:?}");
        *next += 1;
    }
}

/// Each connection is read for up to so many bytes.
async fn cut_at_random(version: Version, query: &str, topics: &'static [&'static str], most: usize) {
    let builder = Broker::builder().policy(Open).topic("log.*", TopicConfig::new().history(10_000));
    let app = app_with(builder, Config::new()).await;
    let mut seen = Seen::default();
    let mut first = app.open(version, query, "").await;
    first.begun().await;
    let mut last_id = first.parser.last_event_id.clone();
    drop(first);
    let stop = Arc::new(AtomicBool::new(false));
    let publisher = publish(&app, topics, stop.clone());
    for _ in 0..CUTS {
        let mut reader = app.open(version, query, &last_id).await;
        let mut parser = Parser::resuming(&last_id);
        let mut budget = fastrand::usize(0..most);
        while budget > 0 {
            let bytes = reader.chunk().await;
            let part = bytes.len().min(budget);
            budget -= part;
            parser.push(&bytes[..part]).iter().for_each(|event| seen.take(event));
        }
        last_id = parser.last_event_id;
    }
    stop.store(true, Ordering::Relaxed);
    let published = publisher.await.unwrap();
    let mut reader = app.open(version, query, &last_id).await;
    while seen.0.len() < topics.len() || seen.0.values().any(|seen| *seen < published) {
        let event = reader.next().await;
        seen.take(&event);
    }
    assert!(published as usize * topics.len() > CUTS, "{published}");
    drop(reader);
    app.until("closed", |stats| stats.connections == 0 && stats.subscriptions == 0 && stats.queued == 0)
        .await;
}

#[tokio::test]
async fn one_topic() {
    cut_at_random(Version::One, "topic=log.a", &["log.a"], 700).await;
}

#[tokio::test]
async fn several_topics() {
    cut_at_random(
        Version::One,
        "topic=log.a&topic=log.b&topic=eph&topic=log.c",
        &["log.a", "log.b", "log.c"],
        2500,
    )
    .await;
}

#[tokio::test]
async fn several_topics_over_http_2() {
    cut_at_random(Version::Two, "topic=log.a&topic=log.b", &["log.a", "log.b"], 2500).await;
}
