//! Every method of v1, and what is answered to frames that are none.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use fanfare_core::{
    calls::ClientError,
    message::{PayloadKind, Position},
    session::{Command, CommandError, ErrorCode, HistoryFrom, PublishCommand, RequestId, Start},
};
use fanfare_protocol::{DecodeLimits, Decoded, decode_binary, decode_text};

fn ok(frame: &str) -> Decoded {
    decode_text(frame).unwrap_or_else(|error| panic!("{frame}: {error:?}"))
}

fn command(frame: &str) -> Command {
    ok(frame).command
}

fn publish(frame: &str) -> PublishCommand {
    match command(frame) {
        Command::Publish(publish) => publish,
        other => panic!("{frame}: {other:?}"),
    }
}

/// The id, the code and the field of the error.
fn refused(frame: &str) -> (Option<u64>, ErrorCode, Option<&'static str>) {
    let error = decode_text(frame).map(|d| panic!("{frame}: {d:?}")).unwrap_err();
    (error.id.map(RequestId::value), error.error.code, error.error.field)
}

fn position(cursor: &str) -> Position {
    cursor.parse().unwrap()
}

fn binary(header: &str, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(header.len()).unwrap();
    [&length.to_be_bytes(), header.as_bytes(), payload].concat()
}

#[test]
fn connect() {
    let frame = r#"{"id":1,"connect":{"token":"s3cr\"t","session":"x","subscribe":[
        {"topic":"chat.lobby","after":"k3f9:41","presence":true},{"topic":"x.*"},{"topic":"l","latest":true}]}}"#;
    let decoded = ok(frame);
    assert_eq!(decoded.id, RequestId::new(1));
    let Command::Connect(connect) = &decoded.command else { panic!("{decoded:?}") };
    assert_eq!(connect.token.as_deref(), Some("s3cr\"t"));
    let starts: Vec<_> = connect.subscribe.iter().map(|s| (s.topic.as_str(), s.start)).collect();
    assert_eq!(
        starts,
        [("chat.lobby", Start::After(position("k3f9:41"))), ("x.*", Start::Live), ("l", Start::Latest)]
    );
    assert!(connect.subscribe[0].presence && !connect.subscribe[1].presence);
    assert!(!format!("{decoded:?}").contains("s3cr"), "a token reached Debug");

    let Command::Connect(empty) = command(r#"{"connect":{}}"#) else { panic!() };
    assert!(empty.token.is_none() && empty.subscribe.is_empty());
}

#[test]
fn subscribe_begins_where_it_says() {
    let start = |rest: &str| match command(&format!(r#"{{"id":2,"subscribe":{{"topic":"t"{rest}}}}}"#)) {
        Command::Subscribe(s) => {
            assert_eq!(s.topic, "t");
            s.start
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(start(""), Start::Live);
    assert_eq!(start(r#","after":"k3f9:41""#), Start::After(position("k3f9:41")));
    assert_eq!(start(r#","last":20"#), Start::Last(20));
    assert_eq!(start(r#","latest":true"#), Start::Latest);
    assert_eq!(start(r#","latest":false,"last":1"#), Start::Last(1));
    assert_eq!(start(r#","after":null,"last":null,"latest":null"#), Start::Live);
}

#[test]
fn unsubscribe_and_ping() {
    assert!(
        matches!(command(r#"{"unsubscribe":{"topic":"a.*"}}"#), Command::Unsubscribe { topic } if topic == "a.*")
    );
    let ping = ok(" \n{ \"ping\" : { \"x\":1 } , \"id\" : 9007199254740991 } ");
    assert!(matches!(ping.command, Command::Ping));
    assert_eq!(ping.id.map(RequestId::value), Some(9_007_199_254_740_991));
    assert_eq!(ok(r#"{"ping":{}}"#).id, None);
}

#[test]
fn a_session_is_taken_up_and_a_token_refreshed() {
    let connect = r#"{"connect":{"session":"0a","token":"s3cret"},"id":1}"#;
    let Command::Connect(connect) = command(connect) else { panic!("{connect}") };
    assert_eq!((connect.session.as_deref(), connect.token.as_deref()), (Some("0a"), Some("s3cret")));
    assert!(!format!("{connect:?}").contains("0a"), "a session is a secret");
    let refresh = command(r#"{"refresh":{"token":"s3cret"}}"#);
    assert!(!format!("{refresh:?}").contains("s3cret"), "a token is a secret");
    assert!(matches!(refresh, Command::Refresh { token } if token == "s3cret"));
    assert_eq!(refused(r#"{"refresh":{},"id":5}"#), (Some(5), ErrorCode::BadRequest, Some("token")));
    let number = r#"{"connect":{"session":7},"id":5}"#;
    assert_eq!(refused(number), (Some(5), ErrorCode::BadRequest, Some("session")));
}

#[test]
fn history() {
    let read = |rest: &str| match command(&format!(r#"{{"history":{{"topic":"t"{rest}}}}}"#)) {
        Command::History(h) => (h.topic, h.from, h.limit),
        other => panic!("{other:?}"),
    };
    let t = || "t".to_owned();
    assert_eq!(read(""), (t(), HistoryFrom::Newest, None));
    assert_eq!(read(r#","before":"a:5","limit":50"#), (t(), HistoryFrom::Before(position("a:5")), Some(50)));
    assert_eq!(read(r#","after":"a:5""#), (t(), HistoryFrom::After(position("a:5")), None));
}

#[test]
fn presence() {
    let read = |rest: &str| match command(&format!(r#"{{"id":3,"presence":{{"topic":"t"{rest}}}}}"#)) {
        Command::Presence(p) => (p.topic, p.limit, p.after.map(|after| after.to_string())),
        other => panic!("{other:?}"),
    };
    let t = || "t".to_owned();
    assert_eq!(read(""), (t(), None, None));
    assert_eq!(read(r#","limit":0,"next":null"#), (t(), Some(0), None));
    let next = "0000000000007";
    assert_eq!(read(&format!(r#","limit":100,"next":"{next}""#)), (t(), Some(100), Some(next.to_owned())));
    let field = |frame: &str| refused(frame).2;
    assert_eq!(field(r#"{"presence":{}}"#), Some("topic"));
    assert_eq!(field(r#"{"presence":{"topic":"t","limit":-1}}"#), Some("limit"));
    assert_eq!(field(r#"{"presence":{"topic":"t","next":"7"}}"#), Some("next"));
    assert_eq!(field(r#"{"subscribe":{"topic":"t","presence":"yes"}}"#), Some("presence"));
    assert_eq!(
        field(r#"{"connect":{"subscribe":[{"topic":"t","presence":1}]}}"#),
        Some("subscribe.presence")
    );
    let wants = |frame: &str| matches!(command(frame), Command::Subscribe(s) if s.presence);
    assert!(wants(r#"{"subscribe":{"topic":"t","presence":true,"last":3}}"#));
    assert!(!wants(r#"{"subscribe":{"topic":"t","presence":false}}"#));
}

#[test]
fn publish_takes_json_byte_for_byte() {
    for data in [
        "{}",
        "null",
        "0.10",
        "-1e999",
        "12345678901234567890123",
        r#""\ud800 \u0041""#,
        "{ \"a\" :\t[ 1 ,\n2 ] , \"a\":{} }",
        "\"é\u{1F600}\"",
    ] {
        let got = publish(&format!(r#"{{"publish":{{"topic":"t","data": {data} }}}}"#));
        assert_eq!((got.payload.kind(), got.payload.as_str()), (PayloadKind::Json, Some(data)));
    }
}

#[test]
fn publish_reads_every_field() {
    let got = publish(
        r#"{"id":3,"publish":{"event":"message","key":"cpu\u0030","x":{"y":[1]},"message_id":"m-17","echo":false,
            "data":{},"topic":"a\tb"},"trace":"ignored"}"#,
    );
    assert_eq!(got.topics, ["a\tb"]);
    assert_eq!(got.event.as_deref(), Some("message"));
    assert_eq!(got.key.as_deref(), Some("cpu0"));
    assert_eq!(got.message_id.as_deref(), Some("m-17"));
    assert!(!got.echo);

    let got = publish(r#"{"publish":{"topics":["a","b"],"data":1,"event":null,"topic":null}}"#);
    assert_eq!(got.topics, ["a", "b"]);
    assert!(got.echo && got.event.is_none() && got.key.is_none() && got.message_id.is_none());
}

#[test]
fn text_is_unescaped_and_stays_text() {
    let got = publish(r#"{"publish":{"topic":"t","data":"a\"\n\ud83d\ude00","text":true}}"#);
    assert_eq!((got.payload.kind(), got.payload.as_str()), (PayloadKind::Text, Some("a\"\n\u{1F600}")));
    let got = publish(r#"{"publish":{"topic":"t","data":"a","text":false}}"#);
    assert_eq!((got.payload.kind(), got.payload.as_str()), (PayloadKind::Json, Some("\"a\"")));
}

#[test]
fn a_binary_frame_is_a_publish_with_any_bytes() {
    for payload in [&b""[..], b"\0\xff{", &[7; 70_000]] {
        let frame = binary(r#"{"id":4,"publish":{"topic":"t","event":"e"}}"#, payload);
        let decoded = decode_binary(&frame).unwrap();
        assert_eq!(decoded.id, RequestId::new(4));
        let Command::Publish(publish) = decoded.command else { panic!() };
        assert_eq!(publish.payload.kind(), PayloadKind::Binary);
        assert_eq!(&publish.payload.bytes()[..], payload);
        assert_eq!(publish.event.as_deref(), Some("e"));
    }
}

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
fn a_call_names_its_method() {
    let call = |frame: &str| match command(frame) {
        Command::Call(call) => (call.method, call.payload.kind(), call.payload.as_str().map(str::to_owned)),
        other => panic!("{frame}: {other:?}"),
    };
    let expected = |kind, text: &str| ("a.b".to_owned(), kind, Some(text.to_owned()));
    assert_eq!(
        call(r#"{"call":{"method":"a.b","data":{"x": 1}}}"#),
        expected(PayloadKind::Json, r#"{"x": 1}"#)
    );
    assert_eq!(
        call(r#"{"call":{"method":"a.b","data":"hi","text":true}}"#),
        expected(PayloadKind::Text, "hi")
    );
    for empty in ["", r#","data":null"#] {
        assert_eq!(
            call(&format!(r#"{{"call":{{"method":"a.b"{empty}}}}}"#)),
            expected(PayloadKind::Json, "null")
        );
    }
    let decoded = decode_binary(&binary(r#"{"id":1,"call":{"method":"m"}}"#, b"\0\xff")).unwrap();
    let Command::Call(call) = decoded.command else { panic!() };
    assert_eq!((call.payload.kind(), &call.payload.bytes()[..]), (PayloadKind::Binary, &b"\0\xff"[..]));
}

#[test]
fn an_answer_is_a_payload_or_an_error() {
    let answer = |frame: &str| match command(frame) {
        Command::Answer(answer) => (answer.call_id, answer.result),
        other => panic!("{frame}: {other:?}"),
    };
    let (id, result) = answer(r#"{"answer":{"call_id":"s1","data":[1]}}"#);
    assert_eq!((id.as_str(), result.unwrap().as_str()), ("s1", Some("[1]")));
    let (_, result) = answer(r#"{"answer":{"call_id":"s1","error":null}}"#);
    assert_eq!(result.unwrap().as_str(), Some("null"));
    let (_, result) =
        answer(r#"{"answer":{"call_id":"s1","error":{"code":"busy","message":"not \"now\"","x":1}}}"#);
    assert_eq!(result.unwrap_err(), ClientError::new("busy", "not \"now\""));
    let (_, result) = answer(r#"{"answer":{"call_id":"s1","error":{}}}"#);
    assert_eq!(result.unwrap_err(), ClientError::new("", ""));
    let decoded = decode_binary(&binary(r#"{"answer":{"call_id":"s1"}}"#, b"\xff")).unwrap();
    let Command::Answer(answer) = decoded.command else { panic!() };
    assert_eq!(answer.result.unwrap().bytes(), &b"\xff"[..]);
}

#[test]
fn text_that_is_no_string_is_an_invalid_payload() {
    for data in ["1", "{}", "null", r#""\udc00""#] {
        let frame = format!(r#"{{"publish":{{"topic":"t","data":{data},"text":true}},"id":8}}"#);
        assert_eq!(refused(&frame), (Some(8), ErrorCode::InvalidPayload, Some("data")), "{frame}");
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
fn what_is_over_a_limit_is_named_with_the_limit_and_the_value() {
    let named = |frame: &str| {
        let CommandError { code, field, limit, value, .. } = decode_text(frame).unwrap_err().error;
        (code, field, limit, value)
    };
    for field in ["event", "key", "message_id"] {
        let frame = |text: &str| format!(r#"{{"publish":{{"topic":"t","data":1,"{field}":"{text}"}}}}"#);
        assert!(decode_text(&frame(&"x".repeat(255))).is_ok());
        // Bytes count, escapes do not.
        assert!(decode_text(&frame(&"\\u0041".repeat(255))).is_ok());
        assert_eq!(named(&frame(&"é".repeat(128))), (ErrorCode::TooLarge, Some(field), Some(255), Some(256)));
    }
    let topics = |n| format!(r#"{{"publish":{{"topics":[{}],"data":1}}}}"#, vec!["\"t\""; n].join(","));
    assert_eq!(publish(&topics(16)).topics.len(), 16);
    assert_eq!(named(&topics(17)), (ErrorCode::LimitExceeded, Some("topics"), Some(16), Some(17)));
    assert_eq!(named(&topics(9_000)), (ErrorCode::LimitExceeded, Some("topics"), Some(16), Some(9_000)));
    let entries = |n| format!(r#"{{"connect":{{"subscribe":[{}]}}}}"#, vec![r#"{"topic":"t"}"#; n].join(","));
    assert!(decode_text(&entries(128)).is_ok());
    assert_eq!(named(&entries(129)), (ErrorCode::LimitExceeded, Some("subscribe"), Some(128), Some(129)));
    let small = DecodeLimits { subscribe: 1, ..DecodeLimits::default() };
    assert!(small.decode_text(&entries(1)).is_ok());
    assert!(small.decode_text(&entries(2)).is_err());
}

#[test]
fn deep_nesting_neither_overflows_nor_reaches_a_subscriber() {
    const DEEP: usize = 60 * 1024;
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    let frame = |data: &str| format!(r#"{{"id":1,"publish":{{"topic":"t","data":{data}}}}}"#);
    for open in ["[", "{\"a\":", "[{\"a\":"] {
        let deep = open.repeat(DEEP / open.len());
        assert!(decode_text(&deep).is_err());
        assert!(decode_text(&frame(&deep)).is_err());
        for key in ["ping", "x", "id", "call", "publish", "connect"] {
            assert!(decode_text(&format!(r#"{{"{key}":{deep}"#)).is_err());
        }
    }
    // Where nothing is kept, depth does no harm.
    assert!(decode_text(&format!(r#"{{"ping":{{}},"x":{}}}"#, nested(DEEP))).is_ok());
    assert!(decode_text(&format!(r#"{{"ping":{{"x":{}}}}}"#, nested(DEEP))).is_ok());
    assert_eq!(refused(&format!(r#"{{"ping":{}}}"#, nested(DEEP))).1, ErrorCode::BadRequest);
    assert_eq!(
        refused(&format!(r#"{{"connect":{{"subscribe":{}}}}}"#, nested(DEEP))).1,
        ErrorCode::BadRequest
    );

    assert!(decode_text(&frame(&nested(100))).is_ok());
    let error = decode_text(&frame(&nested(101))).unwrap_err().error;
    assert_eq!(error.code, ErrorCode::TooLarge);
    assert_eq!((error.field, error.limit, error.value), (Some("data"), Some(100), Some(101)));
    assert_eq!(refused(&frame(&nested(DEEP))).1, ErrorCode::TooLarge);
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
