//! The policies of topics, as a stream that is not pulled meets them.

use fanfare_core::{
    Broker,
    policy::Open,
    topic::{OverflowPolicy, TopicConfig},
};
use fanfare_sse::{EventBody, EventStream};
use http::Request;
use http_body_util::BodyExt;
use serde_json::Value;

use crate::parser::{Event, Parser};

async fn stalled(topic: TopicConfig) -> (Broker, EventBody) {
    let broker = Broker::builder().policy(Open).topic("t", topic).start().await.unwrap();
    let events = EventStream::new(&broker).unwrap();
    let mut body = events.respond(Request::get("/?topic=t").body(()).unwrap()).await.into_body();
    body.frame().await.unwrap().unwrap();
    (broker, body)
}

async fn publish(broker: &Broker, numbers: std::ops::Range<u64>) {
    for n in numbers {
        let key = (n % 3).to_string();
        broker.publish("t", n.to_string()).key(key).report().await.unwrap();
    }
}

/// Reads until the number has come.
async fn until(body: &mut EventBody, last: u64) -> Vec<Event> {
    let (mut parser, mut read) = (Parser::default(), Vec::<Event>::new());
    while read.iter().all(|event| event.data != last.to_string()) {
        let frame = body.frame().await.expect("it has ended").unwrap();
        read.extend(parser.push(&frame.into_data().unwrap()));
    }
    read
}

fn numbers(events: &[Event]) -> Vec<u64> {
    events.iter().filter(|event| event.name == "message").map(|event| event.data.parse().unwrap()).collect()
}

fn missed(event: &Event) -> u64 {
    assert_eq!(event.name, "$gap");
    let frame: Value = serde_json::from_str(&event.data).unwrap();
    assert_eq!(frame["gap"]["reason"], "slow");
    frame["gap"]["missed"].as_u64().unwrap()
}

#[tokio::test]
async fn the_oldest_give_way_and_are_told() {
    let (broker, mut body) = stalled(TopicConfig::new().queue_messages(4)).await;
    publish(&broker, 0..10).await;
    let events = until(&mut body, 9).await;
    assert_eq!((missed(&events[0]), numbers(&events)), (6, vec![6, 7, 8, 9]));
}

#[tokio::test]
async fn the_newest_give_way_and_are_told() {
    let (broker, mut body) =
        stalled(TopicConfig::new().queue_messages(4).overflow(OverflowPolicy::DropNewest)).await;
    publish(&broker, 0..10).await;
    let events = until(&mut body, 3).await;
    assert_eq!((numbers(&events), missed(&events[4])), (vec![0, 1, 2, 3], 6));
    publish(&broker, 10..11).await;
    assert_eq!(numbers(&until(&mut body, 10).await), [10]);
}

#[tokio::test]
async fn the_newest_of_each_key_is_kept() {
    let config = TopicConfig::new().queue_messages(4).latest(10).overflow(OverflowPolicy::ConflateByKey);
    let (broker, mut body) = stalled(config).await;
    publish(&broker, 0..100).await;
    let events = until(&mut body, 99).await;
    assert!(events.iter().all(|event| event.name == "message"), "{events:?}");
    let mut last = numbers(&events);
    assert!(last.is_sorted() && last.len() <= 4, "{last:?}");
    last.drain(..last.len() - 3);
    assert_eq!(last, [97, 98, 99]);
    // The cursor is the last one's: what gave way is not asked for again.
    let position = broker.publish("t", "100").await.unwrap().position.unwrap();
    assert_eq!(until(&mut body, 100).await[0].last_event_id, position.to_string());
}

#[tokio::test]
async fn a_logged_topic_is_read_again() {
    let (broker, mut body) = stalled(TopicConfig::new().history(1000).queue_messages(4)).await;
    publish(&broker, 0..100).await;
    let events = until(&mut body, 99).await;
    assert_eq!(numbers(&events), (0..100).collect::<Vec<_>>());
    assert!(broker.stats().resyncs > 0);
}

#[tokio::test]
async fn a_slow_reader_is_disconnected_where_that_is_the_policy() {
    let (broker, mut body) =
        stalled(TopicConfig::new().queue_messages(4).overflow(OverflowPolicy::Disconnect)).await;
    publish(&broker, 0..10).await;
    let mut parser = Parser::default();
    let mut events = Vec::new();
    while let Some(frame) = body.frame().await {
        events.extend(parser.push(&frame.unwrap().into_data().unwrap()));
    }
    assert_eq!((events.len(), &*events[0].name), (1, "$close"));
    assert!(events[0].data.contains("slow_consumer"));
    assert_eq!(broker.stats().slow_consumers, 1);
}
