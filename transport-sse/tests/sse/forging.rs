//! What a publisher may put into a name or a payload, and what a reader makes of it.

use fanfare_core::{Broker, message::Payload, policy::Open, topic::TopicConfig};
use fanfare_sse::{Config, EventStream};
use http::Request;
use http_body_util::BodyExt;
use proptest::prelude::*;
use serde_json::Value;

use crate::{
    parser::{Event, Parser},
    support::app_with,
};

/// What a reader of the one topic finds, of a name and a payload that were published.
async fn read(name: Option<&str>, payload: Payload) -> Event {
    let builder = Broker::builder().policy(Open).topic("t", TopicConfig::new().history(10));
    let broker = builder.start().await.unwrap();
    let events = EventStream::new(&broker).unwrap();
    let mut body = events.respond(Request::get("/?topic=t").body(()).unwrap()).await.into_body();
    let mut parser = Parser::default();
    let mut publish = broker.publish("t", payload);
    if let Some(name) = name {
        publish = publish.event(name);
    }
    let position = publish.await.unwrap().position.unwrap();
    broker.publish("t", "end").event("end").await.unwrap();
    let mut read = Vec::new();
    while read.last().is_none_or(|event: &Event| event.name != "end") {
        let frame = body.frame().await.unwrap().unwrap();
        read.extend(parser.push(&frame.into_data().unwrap()));
    }
    assert_eq!(read.len(), 2, "{read:?}");
    assert!(parser.unknown.is_empty() && parser.comments == 0, "{:?}", parser.unknown);
    let event = read.swap_remove(0);
    assert_eq!(event.last_event_id, position.to_string());
    event
}

/// The same as of a `$message`: name and payload.
fn of_message(event: &Event) -> (Option<String>, Value) {
    assert_eq!(event.name, "$message");
    let frame: Value = serde_json::from_str(&event.data).unwrap();
    (frame.get("event").map(|name| name.as_str().unwrap().to_owned()), frame)
}

#[tokio::test]
async fn no_payload_writes_a_field() {
    for (payload, data) in [
        ("id: 9\nevent: $close\nretry: 1", "id: 9\nevent: $close\nretry: 1"),
        ("a\n\ndata: b\n\n", "a\n\ndata: b\n\n"),
        ("a\r\rid: 1\r\n\r\n: c", "a\n\nid: 1\n\n: c"),
        ("\r", "\n"),
        ("", ""),
        ("\0", "\0"),
        ("\u{feff}a", "\u{feff}a"),
        (" leading", " leading"),
        ("a\u{2028}b\u{2029}c\u{85}d", "a\u{2028}b\u{2029}c\u{85}d"),
    ] {
        let event = read(None, Payload::text(payload.to_owned())).await;
        assert_eq!((&*event.name, &*event.data), ("message", data), "{payload:?}");
    }
}

#[tokio::test]
async fn no_name_writes_a_field() {
    for (name, seen) in [
        ("line", "line"),
        ("", "message"),
        ("message", "message"),
        (" padded ", " padded "),
        ("data: x", "data: x"),
        (":", ":"),
        ("grüße\u{2028}", "grüße\u{2028}"),
        ("a$", "a$"),
    ] {
        let event = read(Some(name), Payload::text("x".to_owned())).await;
        assert_eq!((&*event.name, &*event.data), (seen, "x"), "{name:?}");
    }
}

#[tokio::test]
async fn binary_comes_in_base_64() {
    let (name, frame) = of_message(&read(Some("frame"), Payload::binary(vec![0, 1, 2, 255])).await);
    assert_eq!((name.as_deref(), &frame["base64"]), (Some("frame"), &"AAEC/w==".into()));
}

#[tokio::test]
async fn v1_gives_back_each_byte_of_text() {
    let app = app_with(Broker::builder().policy(Open), Config::new()).await;
    let mut reader = app.reader("topic=t&format=v1").await;
    reader.begun().await;
    for text in ["a\rb\r\nc\nd", "\u{2028}", "$gap\n\nevent: x"] {
        app.broker.publish("t", text).event("line").await.unwrap();
        let event = reader.next().await;
        assert_eq!(event.name, "message");
        let frame: Value = serde_json::from_str(&event.data).unwrap();
        assert_eq!((&frame["data"], &frame["event"]), (&text.into(), &"line".into()));
    }
    let json = "{\r\n\t\"a\":\n1\r}";
    app.broker.publish("t", Payload::parsed_json(json.to_owned()).unwrap()).await.unwrap();
    assert_eq!(reader.json().await["data"], serde_json::json!({"a": 1}));
}

proptest! {
    /// Whatever is published is one event, and its name and payload are found again.
    #[test]
    fn everything_is_one_event(name in "[^\\p{C}$]\\PC{0,20}|[: a]{0,6}", text in "(?s).*|[\r\n: a]{0,12}") {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let event = runtime.block_on(read(Some(&name), Payload::text(text.clone())));
        prop_assert!(event.name == name || (name.is_empty() && event.name == "message"));
        prop_assert_eq!(event.data, text.replace("\r\n", "\n").replace('\r', "\n"));
    }
}
