//! Every frame that the server sends, byte for byte.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::{sync::Arc, time::Duration};

use bytes::BytesMut;
use fanfare_core::{
    calls::{CallId, OutgoingCall},
    message::{Frame, Gap, GapReason, LogPlace, Message, MessageParts, Payload, Position, Publisher},
    session::{
        ClientId, CloseKind, CloseReason, CommandError, Connected, ErrorCode, HistoryPage, Published, Reply,
        RequestId, Subscribed,
    },
    topic::TopicName,
};
use fanfare_protocol::{Kind, encode, encode_text_only};

fn text(frame: Frame<'_>) -> String {
    let mut out = BytesMut::from("before");
    assert_eq!(encode(frame, &mut out), Kind::Text);
    String::from_utf8(out.to_vec()).unwrap().strip_prefix("before").unwrap().to_owned()
}

fn nothing(frame: Frame<'_>) {
    let mut out = BytesMut::new();
    assert_eq!(encode(frame, &mut out), Kind::Nothing);
    assert!(out.is_empty());
}

fn ok(reply: Reply) -> String {
    text(Frame::Reply { id: RequestId::new(9), reply: &reply })
}

fn position(cursor: &str) -> Position {
    cursor.parse().unwrap()
}

fn topic() -> TopicName {
    TopicName::new("chat.lobby").unwrap()
}

fn client() -> ClientId {
    "2c7h4n2k9qvdx".parse().unwrap()
}

fn parts(payload: Payload) -> MessageParts {
    let mut parts = MessageParts::new(topic(), payload);
    parts.time_ms = 1_732_175_000_123;
    parts
}

fn json(json: &'static str) -> Payload {
    Payload::parsed_json(json).unwrap()
}

fn full(payload: Payload) -> Message {
    let mut parts = parts(payload);
    parts.event = Some("message".into());
    parts.key = Some("k".into());
    parts.message_id = Some("m-17".into());
    parts.publisher = Some(Publisher { client: client(), user: Some("ann".into()) });
    Message::logged(parts, LogPlace { position: position("k3f9:42"), prev: 41 })
}

const FULL: &str = concat!(
    r#""topic":"chat.lobby","pos":"k3f9:42","event":"message","key":"k","#,
    r#""from":{"client":"2c7h4n2k9qvdx","user":"ann"},"time":1732175000123,"message_id":"m-17""#
);

#[test]
fn messages() {
    let message = full(json("{ \"a\": [1] }"));
    assert_eq!(text(Frame::Message(&message)), format!(r#"{{{FULL},"data":{{ "a": [1] }}}}"#));

    let message = Message::ephemeral(parts(json("null")));
    let short = r#"{"topic":"chat.lobby","time":1732175000123,"data":null}"#;
    assert_eq!(text(Frame::Message(&message)), short);

    let mut anonymous = parts(json("1"));
    anonymous.publisher = Some(Publisher { client: client(), user: None });
    let from = r#"{"topic":"chat.lobby","from":{"client":"2c7h4n2k9qvdx"},"time":1732175000123,"data":1}"#;
    assert_eq!(text(Frame::Message(&Message::ephemeral(anonymous))), from);
}

#[test]
fn text_is_escaped() {
    let every = "plain \" \\ / \u{0}\u{1f}\u{8}\u{c}\n\r\t \u{7f} é \u{2028} \u{1F600}";
    let message = full(Payload::text(every));
    let escaped = "plain \\\" \\\\ / \\u0000\\u001f\\b\\f\\n\\r\\t \u{7f} é \u{2028} \u{1F600}";
    assert_eq!(text(Frame::Message(&message)), format!(r#"{{{FULL},"text":true,"data":"{escaped}"}}"#));
    assert_eq!(serde_json::from_str::<String>(&format!("\"{escaped}\"")).unwrap(), every);
}

#[test]
fn binary_goes_behind_its_header() {
    let mut out = BytesMut::from("before");
    assert_eq!(encode(Frame::Message(&full(Payload::binary(vec![0, 255, 123]))), &mut out), Kind::Binary);
    let header = format!("{{{FULL}}}");
    let length = u32::try_from(header.len()).unwrap().to_be_bytes();
    assert_eq!(&out[..], [b"before", &length[..], header.as_bytes(), &[0, 255, 123]].concat());
}

#[test]
fn binary_is_base64_where_only_text_can_travel() {
    for (bytes, base64) in
        [(&b""[..], ""), (b"\0", "AA=="), (b"\0\x01\x02\xff", "AAEC/w=="), (b"abc", "YWJj")]
    {
        let mut out = BytesMut::new();
        encode_text_only(&full(Payload::binary(bytes.to_vec())), &mut out);
        assert_eq!(out, format!(r#"{{{FULL},"base64":"{base64}"}}"#));
    }
}

#[test]
fn what_a_subscription_tells() {
    let topic = topic();
    let cursor = Frame::Cursor { topic: &topic, position: position("k3f9:62") };
    assert_eq!(text(cursor), r#"{"topic":"chat.lobby","pos":"k3f9:62"}"#);
    let live = Frame::Live { topic: &topic, position: position("k3f9:61") };
    assert_eq!(text(live), r#"{"topic":"chat.lobby","live":true,"pos":"k3f9:61"}"#);

    let gap = |gap: Gap| text(Frame::Gap { topic: "x.*", gap: &gap });
    let between = (Some(position("k3f9:43")), Some(position("k3f9:51")));
    assert_eq!(
        gap(Gap::new(GapReason::Slow, Some(7)).between(between.0, between.1)),
        r#"{"topic":"x.*","gap":{"missed":7,"last":"k3f9:43","next":"k3f9:51","reason":"slow"}}"#
    );
    for reason in [GapReason::Slow, GapReason::History, GapReason::Backend, GapReason::Epoch] {
        let expected = format!(r#"{{"topic":"x.*","gap":{{"reason":"{}"}}}}"#, reason.as_str());
        assert_eq!(gap(Gap::new(reason, None)), expected);
    }
}

#[test]
fn replies() {
    assert_eq!(ok(Reply::Pong), r#"{"id":9,"ok":{}}"#);
    assert_eq!(ok(Reply::Unsubscribed), r#"{"id":9,"ok":{}}"#);
    let pos = Some(position("k3f9:41"));
    assert_eq!(ok(Reply::Subscribed(Subscribed::new(None, None))), r#"{"id":9,"ok":{}}"#);
    assert_eq!(
        ok(Reply::Subscribed(Subscribed::new(Some(false), pos))),
        r#"{"id":9,"ok":{"recovered":false,"pos":"k3f9:41"}}"#
    );
    assert_eq!(ok(Reply::Published(Published::new(None, false))), r#"{"id":9,"ok":{}}"#);
    assert_eq!(
        ok(Reply::Published(Published::new(pos, true))),
        r#"{"id":9,"ok":{"pos":"k3f9:41","duplicate":true}}"#
    );
}

#[test]
fn connected() {
    let mut reply = Connected::new(client(), Duration::from_secs(25));
    assert_eq!(
        ok(Reply::Connected(Box::new(reply.clone()))),
        r#"{"id":9,"ok":{"client":"2c7h4n2k9qvdx","ping_ms":25000}}"#
    );
    reply.user = Some("ann".into());
    reply.expires = Some(Duration::from_secs(3600));
    let forbidden = CommandError::new(ErrorCode::Forbidden, "no");
    reply.subscribed = vec![
        ("chat.lobby".into(), Ok(Subscribed::new(Some(true), Some(position("k3f9:41"))))),
        ("x.*".into(), Ok(Subscribed::new(None, None))),
        ("a\"".into(), Err(forbidden)),
    ];
    assert_eq!(
        ok(Reply::Connected(Box::new(reply))),
        concat!(
            r#"{"id":9,"ok":{"client":"2c7h4n2k9qvdx","user":"ann","ping_ms":25000,"expires_ms":3600000,"subscribed":["#,
            r#"{"topic":"chat.lobby","recovered":true,"pos":"k3f9:41"},{"topic":"x.*"},"#,
            r#"{"topic":"a\"","error":{"code":"forbidden","message":"no","retry":false}}]}}"#
        )
    );
}

#[test]
fn history_pages_embed_messages_of_every_kind() {
    let payloads = [json("[1]"), Payload::text("a"), Payload::binary(&b"\0\x01\x02\xff"[..])];
    let messages: Vec<_> = payloads.into_iter().map(|payload| Arc::new(full(payload))).collect();
    assert_eq!(
        ok(Reply::History(HistoryPage::new(messages, true))),
        format!(
            concat!(
                r#"{{"id":9,"ok":{{"messages":[{{{0},"data":[1]}},{{{0},"text":true,"data":"a"}},"#,
                r#"{{{0},"base64":"AAEC/w=="}}],"more":true}}}}"#
            ),
            FULL
        )
    );
    assert_eq!(
        ok(Reply::History(HistoryPage::new(vec![], false))),
        r#"{"id":9,"ok":{"messages":[],"more":false}}"#
    );
}

#[test]
fn errors() {
    let error = CommandError::new(ErrorCode::TooLarge, "too \"long\"").field("data").limit(65_536, 70_001);
    let reply = Reply::from(error);
    let body = r#""error":{"code":"too_large","message":"too \"long\"","field":"data","limit":65536,"value":70001,"retry":false}}"#;
    assert_eq!(text(Frame::Reply { id: RequestId::new(1), reply: &reply }), format!("{{\"id\":1,{body}"));
    assert_eq!(text(Frame::Reply { id: None, reply: &reply }), format!("{{{body}"));

    let later = CommandError::new(ErrorCode::RateLimited, "slow").retry_after(Duration::from_micros(240_900));
    assert_eq!(
        ok(later.into()),
        r#"{"id":9,"error":{"code":"rate_limited","message":"slow","retry":true,"retry_ms":240}}"#
    );
}

#[test]
fn what_the_server_does_to_subscriptions_and_says_of_tokens() {
    let outcome = Subscribed::new(None, None);
    let frame = Frame::Subscribed { topic: "a.\"b\"", outcome: &outcome };
    assert_eq!(text(frame), r#"{"subscribed":{"topic":"a.\"b\""}}"#);
    let frame = Frame::Unsubscribed { topic: "a.*", code: ErrorCode::Revoked, retry: false };
    assert_eq!(text(frame), r#"{"unsubscribed":{"topic":"a.*","code":"revoked","retry":false}}"#);
    let frame = Frame::Token { expires: Duration::from_secs(60) };
    assert_eq!(text(frame), r#"{"token":{"expires_ms":60000}}"#);
    let hour = Some(Duration::from_secs(3600));
    assert_eq!(ok(Reply::Refreshed { expires: hour }), r#"{"id":9,"ok":{"expires_ms":3600000}}"#);
    assert_eq!(ok(Reply::Refreshed { expires: None }), r#"{"id":9,"ok":{}}"#);
    let mut connected = Connected::new(ClientId::new(0), Duration::from_secs(25));
    (connected.session, connected.resumed) = (Some("0a".to_owned()), true);
    assert_eq!(
        ok(Reply::Connected(Box::new(connected))),
        r#"{"id":9,"ok":{"client":"0000000000000","session":"0a","resumed":true,"ping_ms":25000}}"#
    );
}

#[test]
fn without_an_id_only_an_error_is_answered() {
    nothing(Frame::Reply { id: None, reply: &Reply::Pong });
    nothing(Frame::Reply { id: None, reply: &Reply::Published(Published::new(None, false)) });
}

#[test]
fn the_last_word() {
    let close = |reason: CloseReason| text(Frame::Close(&reason));
    assert_eq!(
        close(CloseReason::new(CloseKind::Draining).retry_after(Duration::from_millis(3817))),
        r#"{"close":{"code":4200,"name":"draining","retry_ms":3817}}"#
    );
    assert_eq!(
        close(CloseReason::with_message(CloseKind::Kicked, "bye \"ann\"")),
        r#"{"close":{"code":4005,"name":"kicked","message":"bye \"ann\""}}"#
    );
    for (sentence, kept) in
        [("x".repeat(121), 120), ("é".repeat(60), 120), ("€".repeat(41), 120), ("x€".repeat(31), 120)]
    {
        let frame: serde_json::Value =
            serde_json::from_str(&close(CloseReason::with_message(CloseKind::Kicked, sentence.clone())))
                .unwrap();
        assert_eq!(frame["close"]["message"], sentence[..kept]);
    }
    // 4-byte characters: 120 is one more than a boundary.
    let odd = format!("x{}", "\u{1F600}".repeat(40));
    let frame = close(CloseReason::with_message(CloseKind::Kicked, odd.clone()));
    assert!(frame.contains(&format!("\"{}\"", &odd[..117])), "{frame}");

    nothing(Frame::Close(&CloseReason::new(CloseKind::Lost)));
    nothing(Frame::Ping);
}

#[test]
fn the_answer_to_a_call_is_what_the_method_gave() {
    assert_eq!(ok(Reply::Called(json("[1, 2]"))), r#"{"id":9,"ok":{"data":[1, 2]}}"#);
    assert_eq!(ok(Reply::Called(Payload::text("a\"b"))), r#"{"id":9,"ok":{"text":true,"data":"a\"b"}}"#);
    assert_eq!(ok(Reply::Answered), r#"{"id":9,"ok":{}}"#);
    let reply = Reply::Called(Payload::binary(vec![0u8, 255]));
    assert_eq!(
        binary(Frame::Reply { id: RequestId::new(9), reply: &reply }),
        (r#"{"id":9,"ok":{}}"#.into(), vec![0, 255])
    );
    nothing(Frame::Reply { id: None, reply: &reply });
}

#[test]
fn a_call_says_how_long_it_waits() {
    let call = |payload| OutgoingCall::new(CallId::new(7), "se\"en", payload, Duration::from_millis(1500));
    let frame = call(json("{}"));
    assert_eq!(
        text(Frame::Call(&frame)),
        r#"{"call":{"call_id":"s7","method":"se\"en","data":{},"timeout_ms":1500}}"#
    );
    let header = r#"{"call":{"call_id":"s7","method":"se\"en","timeout_ms":1500}}"#;
    assert_eq!(binary(Frame::Call(&call(Payload::binary(vec![1u8])))), (header.into(), vec![1]));
}

/// The header and the payload of a binary frame.
fn binary(frame: Frame<'_>) -> (String, Vec<u8>) {
    let mut out = BytesMut::from("before");
    assert_eq!(encode(frame, &mut out), Kind::Binary);
    let (length, rest) = out["before".len()..].split_first_chunk().unwrap();
    let (header, payload) = rest.split_at(u32::from_be_bytes(*length) as usize);
    (String::from_utf8(header.to_vec()).unwrap(), payload.to_vec())
}
