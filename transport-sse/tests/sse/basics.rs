//! What one reader of one topic sees.

use fanfare_core::{Broker, message::Payload, policy::Open, presence::PresenceConfig, topic::TopicConfig};
use fanfare_sse::Config;

use crate::support::{Version, app, app_with};

#[tokio::test]
async fn a_payload_is_an_event_over_both_versions() {
    let app = app().await;
    for version in [Version::One, Version::Two] {
        let mut reader = app.open(version, "topic=t", "").await;
        reader.begun().await;
        app.broker.publish("t", "hello").await.unwrap();
        app.broker.publish("t", "two\nlines").event("line").await.unwrap();
        app.broker.publish("t", "").await.unwrap();
        assert_eq!(reader.pair().await, ("message".into(), "hello".into()));
        assert_eq!(reader.pair().await, ("line".into(), "two\nlines".into()));
        assert_eq!(reader.pair().await, ("message".into(), String::new()));
        assert_eq!(reader.parser.last_event_id, "");
        assert!((1000..=3000).contains(&reader.parser.retry.unwrap()));
        assert!(reader.parser.unknown.is_empty());
        assert_eq!(reader.headers["cache-control"], "no-cache, no-transform");
        assert_eq!(reader.headers["x-accel-buffering"], "no");
    }
}

#[tokio::test]
async fn a_logged_topic_is_resumed_by_the_last_id() {
    let builder = Broker::builder().policy(Open).topic("log", TopicConfig::new().history(10));
    let app = app_with(builder, Config::new()).await;
    let mut reader = app.reader("topic=log").await;
    reader.begun().await;
    assert_ne!(reader.parser.last_event_id, "", "who is cut before the first event resumes as well");
    app.broker.publish("log", "1").await.unwrap();
    let first = reader.next().await;
    assert_eq!(first.data, "1");
    drop(reader);
    app.broker.publish("log", "2").await.unwrap();
    app.broker.publish("log", Payload::parsed_json("{\"n\":\r3}").unwrap()).await.unwrap();
    let mut again = app.resume("topic=log", &first.last_event_id).await;
    assert_eq!(again.pair().await, ("message".into(), "2".into()));
    assert_eq!(again.pair().await, ("message".into(), "{\"n\":\n3}".into()));
    assert_eq!(again.next().await.name, "$live");
}

#[tokio::test]
async fn readers_may_be_asked_never_to_come_back() {
    let never = std::time::Duration::MAX;
    let app = app_with(Broker::builder().policy(Open), Config::new().retry(never)).await;
    let mut reader = app.reader("topic=t").await;
    reader.begun().await;
    assert!(reader.parser.retry.unwrap() >= 12 * 60 * 60 * 1000);
}

#[tokio::test]
async fn a_stream_is_told_who_is_there() {
    let rooms = TopicConfig::new().presence(PresenceConfig::new());
    let app = app_with(Broker::builder().policy(Open).topic("room.*", rooms), Config::new()).await;
    let mut one = app.reader("topic=room.a&presence=1").await;
    one.begun().await;
    let event = one.next().await;
    assert_eq!(event.name, "$presence");
    let frame: serde_json::Value = serde_json::from_str(&event.data).unwrap();
    assert_eq!(frame["topic"], "room.a");
    assert!(frame["presence"]["snapshot"].is_array(), "{frame}");
    // Who is told of several topics is told in the same way, and is a member as well.
    let mut several = app.reader("topic=room.a&topic=room.b&presence=1").await;
    several.begun().await;
    let mut topics = Vec::new();
    while topics.len() < 2 {
        let event = several.next().await;
        assert_eq!(event.name, "$presence");
        let frame: serde_json::Value = serde_json::from_str(&event.data).unwrap();
        if frame["presence"].get("snapshot").is_some() {
            topics.push(frame["topic"].as_str().unwrap().to_owned());
        }
    }
    assert_eq!(topics, ["room.a", "room.b"]);
    loop {
        let event = one.next().await;
        let frame: serde_json::Value = serde_json::from_str(&event.data).unwrap();
        if frame["presence"]["clients"] == 2 {
            break;
        }
    }
    assert_eq!(app.refusal("topic=news&presence=1").await.0, 400);
}
