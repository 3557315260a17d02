//! The methods but for `publish`.

use fanfare_core::{
    calls::ClientError,
    message::PayloadKind,
    session::{Command, ErrorCode, HistoryFrom, RequestId, Start},
};
use fanfare_protocol::decode_binary;

use crate::{binary, command, ok, position, refused};

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
