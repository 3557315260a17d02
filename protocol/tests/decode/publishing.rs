//! What is published, in each of its forms.

use fanfare_core::{
    message::PayloadKind,
    session::{Command, ErrorCode, RequestId},
};
use fanfare_protocol::decode_binary;

use crate::{binary, publish, refused};

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
fn text_that_is_no_string_is_an_invalid_payload() {
    for data in ["1", "{}", "null", r#""\udc00""#] {
        let frame = format!(r#"{{"publish":{{"topic":"t","data":{data},"text":true}},"id":8}}"#);
        assert_eq!(refused(&frame), (Some(8), ErrorCode::InvalidPayload, Some("data")), "{frame}");
    }
}
