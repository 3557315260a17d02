//! Frames that are none, and what they are answered.

use fanfare_core::session::{ErrorCode, RequestId};
use fanfare_protocol::{decode_binary, decode_text};

use crate::{binary, refused};

#[test]
fn binary_frames_that_are_none() {
    let field = |frame: &[u8]| {
        let error = decode_binary(frame).unwrap_err();
        assert_eq!(error.error.code, ErrorCode::BadRequest, "{error:?}");
        error.error.field
    };
    assert_eq!(field(b""), None);
    assert_eq!(field(b"\0\0\0"), None);
    assert_eq!(field(b"\0\0\0\0"), None);
    assert_eq!(field(b"\xff\xff\xff\xff{}"), Some("header"));
    assert_eq!(field(b"\0\0\0\x03{}"), Some("header"));
    assert_eq!(field(b"\0\0\0\x02\xff\xff"), None);
    assert_eq!(field(&binary(r#"{"publish":{"topic":"t","data":1}}"#, b"x")), Some("data"));
    assert_eq!(field(&binary(r#"{"publish":{"topic":"t","data":null}}"#, b"x")), Some("data"));
    assert_eq!(field(&binary(r#"{"publish":{"topic":"t","text":true}}"#, b"x")), Some("text"));
    assert_eq!(field(&binary(r#"{"publish":{}}"#, b"x")), Some("topic"));
    assert_eq!(field(&binary(r#"{"ping":{}}"#, b"")), Some("ping"));
}

#[test]
fn methods_that_are_not_served() {
    for name in ["subscribed", "unsubscribed", "dance", "", "Publish"] {
        let frame = format!(r#"{{"{name}":{{"topic":"t"}},"id":5}}"#);
        assert_eq!(refused(&frame), (Some(5), ErrorCode::UnknownMethod, None), "{name}");
    }
}

#[test]
fn frames_without_a_method_or_with_several() {
    let bad = |id, field| (id, ErrorCode::BadRequest, field);
    assert_eq!(refused("{}"), bad(None, None));
    assert_eq!(refused(r#"{"id":5}"#), bad(Some(5), None));
    assert_eq!(refused(r#"{"ping":{},"subscribe":{"topic":"t"},"id":5}"#), bad(Some(5), None));
    assert_eq!(refused(r#"{"ping":{},"ping":{},"id":5}"#), bad(Some(5), None));
    assert_eq!(refused(r#"{"call":{},"ping":{},"id":5}"#), bad(Some(5), None));
    assert_eq!(refused(r#"{"ping":{},"call":{},"id":5}"#), bad(Some(5), None));
}

#[test]
fn the_id_is_an_integer_in_range() {
    for id in
        ["0", "-1", "1.0", "1e3", "9007199254740992", "18446744073709551616", "\"1\"", "null", "true", "[1]"]
    {
        let frame = format!(r#"{{"id":{id},"ping":{{}}}}"#);
        assert_eq!(refused(&frame), (None, ErrorCode::BadRequest, Some("id")), "{id}");
    }
    assert_eq!(refused(r#"{"id":1,"ping":{},"id":1}"#), (None, ErrorCode::BadRequest, Some("id")));
    let over = decode_text(r#"{"id":9007199254740992,"ping":{}}"#).unwrap_err().error;
    assert_eq!((over.limit, over.value), (Some(RequestId::MAX), Some(RequestId::MAX + 1)));
}

#[test]
fn wrong_values_name_their_field_and_the_id_that_follows() {
    for (body, field) in [
        (r#""publish":{"data":1}"#, "topic"),
        (r#""publish":{"topic":null,"data":1}"#, "topic"),
        (r#""publish":{"topic":7,"data":1}"#, "topic"),
        (r#""publish":{"topic":{"a":[{}]},"data":1}"#, "topic"),
        (r#""publish":{"topic":"t"}"#, "data"),
        (r#""publish":{"topic":"t","topic":"t","data":1}"#, "topic"),
        (r#""publish":{"topic":"t","topics":["t"],"data":1}"#, "topics"),
        (r#""publish":{"topics":"t","data":1}"#, "topics"),
        (r#""publish":{"topics":[],"data":1}"#, "topics"),
        (r#""publish":{"topics":["t",1],"data":1}"#, "topics"),
        (r#""publish":{"topic":"t","data":1,"event":1}"#, "event"),
        (r#""publish":{"topic":"t","data":1,"event":"\ud800"}"#, "event"),
        (r#""publish":{"topic":"t","data":1,"key":[]}"#, "key"),
        (r#""publish":{"topic":"t","data":1,"message_id":17}"#, "message_id"),
        (r#""publish":{"topic":"t","data":1,"echo":"no"}"#, "echo"),
        (r#""publish":{"topic":"t","data":"1","text":1}"#, "text"),
        (r#""publish":[]"#, "publish"),
        (r#""publish":null"#, "publish"),
        (r#""ping":3"#, "ping"),
        (r#""ping":-3"#, "ping"),
        (r#""ping":0.5"#, "ping"),
        (r#""ping":true"#, "ping"),
        (r#""ping":"x""#, "ping"),
        (r#""subscribe":{}"#, "topic"),
        (r#""subscribe":{"topic":"t","after":"nonsense"}"#, "after"),
        (r#""subscribe":{"topic":"t","after":41}"#, "after"),
        (r#""subscribe":{"topic":"t","last":-1}"#, "last"),
        (r#""subscribe":{"topic":"t","last":0}"#, "last"),
        (r#""subscribe":{"topic":"t","last":1.5}"#, "last"),
        (r#""subscribe":{"topic":"t","latest":1}"#, "latest"),
        (r#""subscribe":{"topic":"t","after":"a:1","last":1}"#, "last"),
        (r#""subscribe":{"topic":"t","after":"a:1","latest":true}"#, "latest"),
        (r#""subscribe":{"topic":"t","last":1,"latest":true}"#, "latest"),
        (r#""unsubscribe":{}"#, "topic"),
        (r#""history":{"limit":1}"#, "topic"),
        (r#""history":{"topic":"t","before":"?"}"#, "before"),
        (r#""history":{"topic":"t","before":"a:1","after":"a:1"}"#, "after"),
        (r#""history":{"topic":"t","limit":"1"}"#, "limit"),
        (r#""call":{"data":1}"#, "method"),
        (r#""call":{"method":7}"#, "method"),
        (r#""call":{"method":"m","text":true}"#, "data"),
        (r#""answer":{"data":1}"#, "call_id"),
        (r#""answer":{"call_id":1}"#, "call_id"),
        (r#""answer":{"call_id":"s1","error":"no"}"#, "error"),
        (r#""answer":{"call_id":"s1","error":{"code":1}}"#, "error"),
        (r#""answer":{"call_id":"s1","error":{},"data":1}"#, "error"),
        (r#""connect":{"token":1}"#, "token"),
        (r#""connect":{"subscribe":{}}"#, "subscribe"),
        (r#""connect":{"subscribe":["t"]}"#, "subscribe"),
        (r#""connect":{"subscribe":[{"topic":"t"},{}]}"#, "subscribe.topic"),
        (r#""connect":{"subscribe":[{"topic":"t","after":"?"}]}"#, "subscribe.after"),
        (r#""connect":{"subscribe":[{"topic":"t","topic":"u"}]}"#, "subscribe.topic"),
    ] {
        let frame = format!(r#"{{{body},"id":8}}"#);
        assert_eq!(refused(&frame), (Some(8), ErrorCode::BadRequest, Some(field)), "{frame}");
    }
}

#[test]
fn malformed_json_is_refused_with_the_id_that_came_before() {
    for frame in [
        "",
        "nonsense",
        "[]",
        "null",
        "\"secret\"",
        "7",
        "{",
        "{}{}",
        "{} x",
        "{,}",
        r#"{"ping":{},}"#,
        "\u{feff}{}",
        r#"{'ping':{}}"#,
    ] {
        assert_eq!(refused(frame), (None, ErrorCode::BadRequest, None), "{frame}");
    }
    assert_eq!(refused(r#"{"ping"}"#), (None, ErrorCode::BadRequest, Some("ping")));
    for (frame, field) in [
        (r#"{"id":8,"publish":{"topic":"t","data":}}"#, Some("data")),
        (r#"{"id":8,"publish":{"topic":"t","data":{"a":1]}}"#, Some("data")),
        (r#"{"id":8,"publish":{"topic":"t","data":01}}"#, Some("data")),
        (r#"{"id":8,"publish":{"topic":"t","data":nul}}"#, Some("data")),
        (r#"{"id":8,"publish":{"topic":"t","data":NaN}}"#, Some("data")),
        (r#"{"id":8,"publish":{"topic":"t","data":"\x"}}"#, Some("data")),
        ("{\"id\":8,\"publish\":{\"topic\":\"t\",\"data\":\"a\nb\"}}", Some("data")),
        (r#"{"id":8,"publish":{"topic":"t","data":1"#, Some("publish")),
        (r#"{"id":8,"ping":{}} trailing"#, None),
    ] {
        assert_eq!(refused(frame), (Some(8), ErrorCode::BadRequest, field), "{frame}");
    }
}

#[test]
fn an_error_quotes_nothing_of_the_frame() {
    for frame in [
        r#""hunter2""#,
        r#"{"hunter2":{}}"#,
        r#"{"id":"hunter2"}"#,
        r#"{"connect":{"token":["hunter2"]}}"#,
        r#"{"connect":"hunter2"}"#,
        r#"{"connect":{"token":"hunter2}}"#,
        r#"{"subscribe":{"topic":"t","after":"hunter2"}}"#,
        r#"{"publish":{"topic":"t","text":"hunter2","data":"hunter2"}}"#,
    ] {
        let error = decode_text(frame).unwrap_err();
        assert!(!format!("{error:?} {error}").contains("hunter2"), "{error:?}");
    }
}
