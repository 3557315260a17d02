//! Several topics in one stream, and the cursor that resumes all of them.

use fanfare_core::{
    Broker,
    message::{Epoch, Position},
    policy::Open,
    topic::TopicConfig,
};
use fanfare_sse::Config;
use serde_json::{Value, json};

use crate::support::{App, Version, app_with};

async fn logged() -> App {
    let builder = Broker::builder().policy(Open).topic("log.*", TopicConfig::new().history(100));
    app_with(builder, Config::new()).await
}

async fn publish(app: &App, topic: &str, payload: &str) {
    app.broker.publish(topic, payload).await.unwrap();
}

/// Topic and payload of a message, or the name of what is none.
fn short(name: &str, frame: &Value) -> String {
    match name {
        "message" => format!("{} {}", frame["topic"].as_str().unwrap(), frame["data"].as_str().unwrap()),
        name => format!("{} {name}", frame["topic"].as_str().unwrap()),
    }
}

async fn take(reader: &mut crate::support::Reader, count: usize) -> Vec<String> {
    let mut taken = Vec::new();
    for _ in 0..count {
        let event = reader.next().await;
        taken.push(short(&event.name, &serde_json::from_str(&event.data).unwrap()));
    }
    taken.sort();
    taken
}

#[tokio::test]
async fn the_data_is_the_message_of_v1() {
    let app = logged().await;
    for version in [Version::One, Version::Two] {
        let mut reader = app.open(version, "topic=log.a&topic=b", "").await;
        reader.begun().await;
        app.broker.publish("log.a", "x").event("named").await.unwrap();
        let event = reader.next().await;
        let frame: Value = serde_json::from_str(&event.data).unwrap();
        assert_eq!(event.name, "message", "the name of an event is in its data");
        assert_eq!(
            (&frame["topic"], &frame["event"], &frame["data"]),
            (&json!("log.a"), &json!("named"), &json!("x"))
        );
        publish(&app, "b", "y").await;
        let event = reader.next().await;
        assert_eq!(short(&event.name, &serde_json::from_str(&event.data).unwrap()), "b y");
    }
}

#[tokio::test]
async fn one_cursor_resumes_all_in_any_order_and_with_others() {
    let app = logged().await;
    let mut reader = app.reader("topic=log.a&topic=log.b&topic=eph&topic=log.c").await;
    reader.begun().await;
    let before = reader.parser.last_event_id.clone();
    for (topic, payload) in [("log.a", "1"), ("log.b", "1"), ("log.a", "2"), ("eph", "1")] {
        publish(&app, topic, payload).await;
    }
    assert_eq!(take(&mut reader, 4).await, ["eph 1", "log.a 1", "log.a 2", "log.b 1"]);
    let after = reader.parser.last_event_id.clone();
    drop(reader);
    for (topic, payload) in [("log.b", "2"), ("log.c", "1"), ("log.a", "3"), ("eph", "2"), ("log.d", "1")] {
        publish(&app, topic, payload).await;
    }
    // From the beginning: the cursor that comes before all events.
    let mut again = app.resume("topic=log.a&topic=log.b&topic=eph&topic=log.c", &before).await;
    let all = [
        "log.a $live",
        "log.a 1",
        "log.a 2",
        "log.a 3",
        "log.b $live",
        "log.b 1",
        "log.b 2",
        "log.c $live",
        "log.c 1",
    ];
    assert_eq!(take(&mut again, 9).await, all);
    // Another order, one less, one more: which begins where the request says.
    let mut other = app.resume("last=5&topic=log.c&topic=log.d&topic=eph&topic=log.a", &after).await;
    let rest = ["log.a $live", "log.a 3", "log.c $live", "log.c 1", "log.d $live", "log.d 1"];
    assert_eq!(take(&mut other, 6).await, rest);
    // The same cursor for one of them alone.
    let mut one = app.resume("topic=log.b", &after).await;
    assert_eq!(one.pair().await, ("message".into(), "2".into()));
    // And in the query.
    let mut query = app.reader(&format!("topic=log.b&topic=log.c&after={after}")).await;
    assert_eq!(take(&mut query, 4).await, ["log.b $live", "log.b 2", "log.c $live", "log.c 1"]);
}

#[tokio::test]
async fn each_topic_may_have_its_own_after() {
    let app = logged().await;
    let mut positions = Vec::new();
    for n in 1..=3 {
        for topic in ["log.a", "log.b"] {
            positions.push(app.broker.publish(topic, n.to_string()).await.unwrap().position.unwrap());
        }
    }
    let (a1, b2) = (positions[0], positions[3]);
    let mut reader = app.reader(&format!("topic=log.a&after={a1}&topic=log.b&after={b2}&topic=log.c")).await;
    assert_eq!(take(&mut reader, 5).await, ["log.a $live", "log.a 2", "log.a 3", "log.b $live", "log.b 3"]);
    // What the reader came back with goes before what its address says.
    let id = reader.parser.last_event_id.clone();
    publish(&app, "log.b", "4").await;
    let query = format!("topic=log.a&after={a1}&topic=log.b&after={b2}&topic=log.c");
    let mut again = app.resume(&query, &id).await;
    assert_eq!(take(&mut again, 4).await, ["log.a $live", "log.b $live", "log.b 4", "log.c $live"]);
}

#[tokio::test]
async fn a_pattern_has_no_cursor_and_moves_none() {
    let app = logged().await;
    let mut reader = app.reader("topic=log.*").await;
    reader.begun().await;
    publish(&app, "log.x", "1").await;
    assert_eq!(reader.json().await["topic"], "log.x");
    assert_eq!(reader.parser.last_event_id, "");

    let mut reader = app.reader("topic=log.%3E&topic=log.a&last=5").await;
    reader.begun().await;
    assert_eq!(take(&mut reader, 1).await, ["log.a $live"]);
    let before = reader.parser.last_event_id.clone();
    publish(&app, "log.x", "2").await;
    assert_eq!(take(&mut reader, 1).await, ["log.x 2"]);
    assert_eq!(reader.parser.last_event_id, before);
    publish(&app, "log.a", "1").await;
    assert_eq!(take(&mut reader, 1).await, ["log.a 1"]);
    assert_ne!(reader.parser.last_event_id, before);
}

#[tokio::test]
async fn a_log_that_is_gone_is_a_gap_and_then_what_is_retained() {
    let app = logged().await;
    publish(&app, "log.a", "1").await;
    let gone = Position::new(Epoch::new(5), 7).to_string();
    for (query, id) in [
        (format!("topic=log.a&after={gone}"), ""),
        ("topic=log.a".to_owned(), &*gone),
        (format!("topic=log.a&after={gone}&topic=log.b"), ""),
    ] {
        let mut reader = app.resume(&query, id).await;
        let gap = reader.next().await;
        assert_eq!(gap.name, "$gap");
        let frame: Value = serde_json::from_str(&gap.data).unwrap();
        assert_eq!(
            (&frame["topic"], &frame["gap"]["reason"], &frame["gap"]["last"]),
            (&json!("log.a"), &json!("epoch"), &json!(gone))
        );
        let event = reader.next().await;
        assert!(event.data == "1" || event.data.contains("\"data\":\"1\""), "{event:?}");
    }
}

/// A reader that is cut between the head of the answer and the gap would else never hear of it.
#[tokio::test]
async fn the_first_cursor_is_not_ahead_of_a_gap() {
    let app = logged().await;
    publish(&app, "log.a", "1").await;
    let gone = Position::new(Epoch::new(5), 7).to_string();
    let mut reader = app.resume("topic=log.a", &gone).await;
    reader.begun().await;
    let id = reader.parser.last_event_id.clone();
    drop(reader);
    let mut again = app.resume("topic=log.a", &id).await;
    assert_eq!(again.next().await.name, "$gap");
}

#[tokio::test]
async fn latest_begins_again_until_its_first_value_has_come() {
    let builder = Broker::builder().policy(Open).topic("cpu", TopicConfig::new().latest(10));
    let app = app_with(builder, Config::new()).await;
    for (key, value) in [("0", "a"), ("1", "b"), ("0", "c")] {
        app.broker.publish("cpu", value).key(key).await.unwrap();
    }
    let mut reader = app.reader("topic=cpu&latest=true").await;
    reader.begun().await;
    assert_eq!(reader.parser.last_event_id, "");
    assert_eq!(reader.pair().await.1, "b");
    assert_eq!(reader.pair().await.1, "c");
    assert_eq!(reader.next().await.name, "$live");
    let mut last = app.reader("topic=cpu&last=2").await;
    assert_eq!((last.pair().await.1, last.pair().await.1), ("b".into(), "c".into()));
}

#[tokio::test]
async fn what_is_for_the_reader_itself_comes_in_v1_and_nowhere_else() {
    let app = logged().await;
    for version in [Version::One, Version::Two] {
        let mut several = app.open(version, "topic=log.a&topic=b", "").await;
        let mut one = app.open(version, "topic=b&format=v1", "").await;
        let mut none = app.open(version, "format=v1", "").await;
        let mut raw = app.open(version, "topic=b", "").await;
        for reader in [&mut several, &mut one, &mut none, &mut raw] {
            reader.begun().await;
        }
        let before = several.parser.last_event_id.clone();
        app.broker.publish("$all", "everybody").event("note").await.unwrap();
        for reader in [&mut several, &mut one, &mut none] {
            let event = reader.next().await;
            let frame: Value = serde_json::from_str(&event.data).unwrap();
            assert_eq!(
                (&*event.name, &frame["topic"], &frame["event"]),
                ("message", &json!("$all"), &json!("note"))
            );
        }
        assert_eq!(several.parser.last_event_id, before, "no cursor is moved by it");
        publish(&app, "b", "after").await;
        assert_eq!(raw.pair().await, ("message".into(), "after".into()));
    }
    let (status, error) = app.refusal("").await;
    assert_eq!((status, &error["field"]), (400, &json!("topic")));
}
