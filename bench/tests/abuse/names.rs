//! Topics that may not be, and values that are too long or too many.

use std::net::SocketAddr;

use serde_json::json;

use crate::client::Client;
use crate::refusal::{Refusal, are_refused, text};
use crate::server::undisturbed;

fn command(method: &str, topic: &str) -> String {
    let mut fields = json!({ "topic": topic });
    if method == "publish" {
        fields["data"] = json!(1);
    }
    // The id comes first.
    format!(r#"{{"id":9,"{method}":{fields}}}"#)
}

/// Topics that no command may name.
fn topics(method: &str) -> Vec<Refusal> {
    let invalid = |topic: &str| text(command(method, topic), "invalid_topic").field("topic");
    let forbidden = |topic| text(command(method, topic), "forbidden").field("topic");
    let wrong = ["", ".", "a.", ".a", "a..b", "a b", " ", "a\tb", "a\0b", "a\u{7F}b", "a\u{85}b", "a\u{A0}b"];
    let mut cases: Vec<Refusal> = wrong.into_iter().map(invalid).collect();
    cases.push(invalid(&"a".repeat(256)).over(255, 256));
    cases.push(invalid(&"é".repeat(128)).over(255, 256));
    cases.push(invalid(&"a".repeat(60_000)).over(255, 60_000));
    cases.extend(["$SYS", "$all"].map(forbidden));
    if method != "publish" {
        cases.extend(["$client.c1", "$user.ann"].map(forbidden));
    }
    if method != "subscribe" {
        cases.extend(["*", ">", "a.*", "a.>", "a*", "a.>.b"].map(invalid));
    }
    cases
}

fn subscriptions() -> Vec<Refusal> {
    let mut cases = Vec::new();
    for pattern in ["a*", "*a.b", "a.>.b", ">.a", "a..*", ".*", "a. .*"] {
        cases.push(text(command("subscribe", pattern), "invalid_topic").field("topic"));
    }
    cases.push(text(command("subscribe", "$SYS.>"), "forbidden").field("topic"));
    cases.push(text(command("unsubscribe", "never"), "not_subscribed").field("topic"));
    cases.push(text(command("unsubscribe", "a..b"), "not_subscribed").field("topic"));
    cases
}

fn labels() -> Vec<Refusal> {
    let mut cases = Vec::new();
    for field in ["event", "key", "message_id"] {
        for (value, length) in [("a".repeat(256), 256), ("é".repeat(128), 256), ("a".repeat(50_000), 50_000)]
        {
            let frame = format!(r#"{{"id":9,"publish":{{"topic":"t","data":1,"{field}":"{value}"}}}}"#);
            cases.push(text(frame, "too_large").field(field).over(255, length));
        }
    }
    cases
}

fn publish_to(count: usize) -> String {
    let topics: Vec<String> = (0..count).map(|n| format!("t{n}")).collect();
    format!(r#"{{"id":9,"publish":{{"topics":{},"data":1}}}}"#, json!(topics))
}

fn ephemeral() -> Vec<Refusal> {
    vec![
        text(publish_to(17), "limit_exceeded").field("topics").over(16, 17),
        text(publish_to(5000), "limit_exceeded").field("topics").over(16, 5000),
        text(r#"{"id":9,"publish":{"topics":["t","a..b"],"data":1}}"#, "invalid_topic").field("topics"),
        text(r#"{"id":9,"publish":{"topic":"t","data":1,"message_id":"m"}}"#, "bad_request")
            .field("message_id"),
        text(r#"{"id":9,"subscribe":{"topic":"t.*","last":1}}"#, "bad_request").field("topic"),
        text(r#"{"id":9,"history":{"topic":"t"}}"#, "bad_request").field("topic"),
    ]
}

pub(crate) fn all(address: SocketAddr) {
    for cases in [topics("subscribe"), topics("publish"), subscriptions(), labels(), ephemeral()] {
        are_refused(address, &cases);
    }
    // As many as a connection may read at once.
    topics("history").chunks(10).for_each(|cases| are_refused(address, cases));
}

#[test]
fn names_and_labels_are_held_to_their_rules() {
    undisturbed(&[], |server| all(server.address));
}

#[test]
fn what_is_just_within_the_limits_is_accepted() {
    undisturbed(&[], |server| {
        let mut client = Client::v1(server.address);
        let label = "a".repeat(255);
        for command in [
            command("subscribe", &"a".repeat(255)),
            publish_to(16),
            format!(r#"{{"id":9,"publish":{{"topic":"t","data":1,"event":"{label}","key":"{label}"}}}}"#),
            format!(r#"{{"id":9,"publish":{{"topic":"t","data":{}{}}}}}"#, "[".repeat(100), "]".repeat(100)),
        ] {
            assert_eq!(client.ask(&command), json!({"id":9,"ok":{}}), "{command}");
        }
    });
}

#[test]
fn logged_topics_are_published_to_one_at_a_time() {
    undisturbed(&["--history", "10"], |server| {
        let case = text(r#"{"id":9,"publish":{"topics":["a","b"],"data":1}}"#, "bad_request").field("topics");
        are_refused(server.address, &[case]);
    });
}
