//! Frames of the wire format that are no command.

use std::net::SocketAddr;

use crate::refusal::{Refusal, are_refused, binary, bytes, text};
use crate::server::undisturbed;

fn malformed() -> Vec<Refusal> {
    let plain = |frame: &str| text(frame, "bad_request");
    let wrong = [
        "",
        " ",
        "{",
        "}",
        "[",
        "[]",
        "null",
        "true",
        "7",
        "\"ping\"",
        "{]",
        "{}",
        r#"{"id":9}"#,
        r#"{"id":9,}"#,
        "{'id':9}",
        r#"{"ping":{}}}"#,
        r#"{"ping":{}}{"ping":{}}"#,
        r#"{"ping":{}} x"#,
        "\u{FEFF}{\"ping\":{}}",
        "\0",
        r#"{"a":"\u12"}"#,
        r#"{"ping":{}"#,
    ];
    let mut cases: Vec<Refusal> = wrong.into_iter().map(plain).collect();
    // What is wrong inside of a method is said to be there.
    let inside = [
        r#"{"ping"}"#,
        r#"{"ping":}"#,
        r#"{"ping":{"a":"\x"}}"#,
        "{\"ping\":{\"a\":\"\n\"}}",
        r#"{"ping":{"a":01}}"#,
        r#"{"ping":{"a":NaN}}"#,
        r#"{"ping":{"a"#,
    ];
    cases.extend(inside.map(|frame| plain(frame).field("ping")));
    for depth in [200, 30_000] {
        cases.push(text("[".repeat(depth), "bad_request"));
        let deep = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        cases.push(text(format!("{{\"unknown\":{deep}}}"), "unknown_method"));
        let publish = format!(r#"{{"id":9,"publish":{{"topic":"t","data":{deep}}}}}"#);
        cases.push(text(publish, "too_large").field("data").over(100, depth as u64));
    }
    cases
}

fn unknown_methods() -> Vec<Refusal> {
    // Those that only the server says, too.
    let methods = [
        "",
        "x",
        "Ping",
        "PING",
        "ping ",
        "pub",
        "error",
        "ok",
        "close",
        "subscribed",
        "unsubscribed",
        "live",
    ];
    let case = |method| text(format!(r#"{{"id":9,"{method}":{{}}}}"#), "unknown_method");
    let mut cases: Vec<Refusal> = methods.into_iter().map(case).collect();
    cases.push(text(r#"{"id":9,"ping":{},"publish":{}}"#, "bad_request"));
    cases.push(text(r#"{"id":9,"ping":{},"ping":{}}"#, "bad_request"));
    cases
}

fn ids() -> Vec<Refusal> {
    let case = |id: &str| text(format!(r#"{{"id":{id},"ping":{{}}}}"#), "bad_request").field("id");
    let wrong = ["0", "-1", "1.5", "1e3", "\"1\"", "null", "true", "[]", "{}", "99999999999999999999"];
    let mut cases: Vec<Refusal> = wrong.into_iter().map(case).collect();
    cases.push(case("9007199254740992").over(9_007_199_254_740_991, 9_007_199_254_740_992));
    cases.push(text(r#"{"id":1,"id":2,"ping":{}}"#, "bad_request").field("id"));
    cases
}

fn wrong_types() -> Vec<Refusal> {
    let mut cases = Vec::new();
    for method in ["connect", "subscribe", "unsubscribe", "publish", "history", "ping"] {
        for value in ["1", "\"x\"", "null", "[]", "true"] {
            let frame = format!(r#"{{"id":9,"{method}":{value}}}"#);
            cases.push(text(frame, "bad_request").field(method));
        }
    }
    let wrong: [(&str, &str, &str); 41] = [
        ("connect", r#""token":1"#, "token"),
        ("connect", r#""subscribe":{}"#, "subscribe"),
        ("connect", r#""subscribe":[1]"#, "subscribe"),
        ("connect", r#""subscribe":["t"]"#, "subscribe"),
        ("connect", r#""subscribe":[{}]"#, "subscribe.topic"),
        ("connect", r#""subscribe":[{"topic":1}]"#, "subscribe.topic"),
        ("connect", r#""subscribe":[{"topic":"t","last":"x"}]"#, "subscribe.last"),
        ("subscribe", "", "topic"),
        ("subscribe", r#""topic":1"#, "topic"),
        ("subscribe", r#""topic":null"#, "topic"),
        ("subscribe", r#""topic":["t"]"#, "topic"),
        ("subscribe", r#""topic":"\ud800""#, "topic"),
        ("subscribe", r#""topic":"t","topic":"t""#, "topic"),
        ("subscribe", r#""topic":"t","after":5"#, "after"),
        ("subscribe", r#""topic":"t","after":"nonsense""#, "after"),
        ("subscribe", r#""topic":"t","after":"""#, "after"),
        ("subscribe", r#""topic":"t","last":0"#, "last"),
        ("subscribe", r#""topic":"t","last":-1"#, "last"),
        ("subscribe", r#""topic":"t","last":1.5"#, "last"),
        ("subscribe", r#""topic":"t","last":99999999999999999999"#, "last"),
        ("subscribe", r#""topic":"t","latest":1"#, "latest"),
        ("subscribe", r#""topic":"t","latest":true,"last":1"#, "latest"),
        ("unsubscribe", r#""topic":{}"#, "topic"),
        ("publish", r#""data":1"#, "topic"),
        ("publish", r#""topic":"t""#, "data"),
        ("publish", r#""topic":1,"data":1"#, "topic"),
        ("publish", r#""topic":"t","data":1,"event":5"#, "event"),
        ("publish", r#""topic":"t","data":1,"key":[]"#, "key"),
        ("publish", r#""topic":"t","data":1,"message_id":{}"#, "message_id"),
        ("publish", r#""topic":"t","data":1,"echo":1"#, "echo"),
        ("publish", r#""topic":"t","data":"1","text":"yes""#, "text"),
        ("publish", r#""topic":"t","data":1,"data":2"#, "data"),
        ("publish", r#""topic":"t","topics":["t"],"data":1"#, "topics"),
        ("publish", r#""topics":"t","data":1"#, "topics"),
        ("publish", r#""topics":[1],"data":1"#, "topics"),
        ("publish", r#""topics":[],"data":1"#, "topics"),
        ("history", "", "topic"),
        ("history", r#""topic":"t","limit":0"#, "limit"),
        ("history", r#""topic":"t","limit":"all""#, "limit"),
        ("history", r#""topic":"t","before":1"#, "before"),
        ("history", r#""topic":"t","after":{}"#, "after"),
    ];
    for (method, fields, field) in wrong {
        cases.push(text(format!(r#"{{"id":9,"{method}":{{{fields}}}}}"#), "bad_request").field(field));
    }
    let untrue = r#"{"id":9,"publish":{"topic":"t","data":1,"text":true}}"#;
    cases.push(text(untrue, "invalid_payload").field("data"));
    cases
}

fn binaries() -> Vec<Refusal> {
    vec![
        bytes(b"", "bad_request"),
        bytes(b"\0\0\0", "bad_request"),
        bytes(b"\0\0\0\x01", "bad_request").field("header").over(0, 1),
        bytes(b"\0\0\0\x10{}", "bad_request").field("header").over(2, 16),
        bytes(b"\xFF\xFF\xFF\xFF{}", "bad_request").field("header").over(2, u64::from(u32::MAX)),
        bytes(b"\0\0\0\0", "bad_request"),
        bytes(b"\0\0\0\x02\xC3\x28", "bad_request"),
        binary("{", b"", "bad_request"),
        binary(r#"{"id":9,"ping":{}}"#, b"", "bad_request").field("ping"),
        binary(r#"{"id":9,"subscribe":{"topic":"t"}}"#, b"x", "bad_request").field("subscribe"),
        binary(r#"{"id":9,"publish":{"topic":"t","data":1}}"#, b"x", "bad_request").field("data"),
        binary(r#"{"id":9,"publish":{"topic":"t","text":true}}"#, b"x", "bad_request").field("text"),
        binary(r#"{"id":9,"publish":{"topic":"a..b"}}"#, b"x", "invalid_topic").field("topic"),
        binary(r#"{"id":9,"nonsense":{}}"#, b"x", "unknown_method"),
    ]
}

pub(crate) fn all(address: SocketAddr) {
    for cases in [malformed(), unknown_methods(), ids(), wrong_types(), binaries()] {
        are_refused(address, &cases);
    }
}

#[test]
fn a_frame_that_is_no_command_is_answered_by_an_error() {
    undisturbed(&[], |server| all(server.address));
}
