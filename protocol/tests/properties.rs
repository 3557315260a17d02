//! Whatever is published comes out as it went in, and no input makes the decoder panic.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use bytes::BytesMut;
use fanfare_core::{
    message::{Frame, LogPlace, Message, MessageParts, Payload, PayloadKind, Position, Publisher},
    session::{ClientId, Command, PublishCommand},
    topic::TopicName,
};
use fanfare_protocol::{DecodeError, Decoded, Kind, decode_binary, decode_text, encode, encode_text_only};
use proptest::{collection::vec, option, prelude::*};
use serde_json::{Value, json};

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_message_survives_its_frame(message in message()) {
        let mut out = BytesMut::new();
        let kind = encode(Frame::Message(&message), &mut out);
        let payload = message.payload();
        let mut expected = envelope(&message);
        match payload.kind() {
            PayloadKind::Json => expected["data"] = serde_json::from_slice(payload.bytes()).unwrap(),
            PayloadKind::Text => {
                expected["text"] = true.into();
                expected["data"] = payload.as_str().into();
            }
            PayloadKind::Binary => {
                prop_assert_eq!(kind, Kind::Binary);
                let length = usize::try_from(u32::from_be_bytes(out[..4].try_into().unwrap())).unwrap();
                let (header, rest) = out[4..].split_at(length);
                prop_assert_eq!(serde_json::from_slice::<Value>(header).unwrap(), expected.clone());
                prop_assert_eq!(rest, &payload.bytes()[..]);
                out.clear();
                encode_text_only(&message, &mut out);
                use base64::{Engine as _, engine::general_purpose::STANDARD};
                expected["base64"] = STANDARD.encode(payload.bytes()).into();
            }
        }
        prop_assert_eq!(serde_json::from_slice::<Value>(&out).unwrap(), expected);
    }

    #[test]
    fn a_publish_is_read_as_it_was_written(message in message(), id in 1_u64..1 << 53, echo: bool) {
        let payload = message.payload();
        let mut body = json!({"topic": message.topic().as_str(), "echo": echo});
        for (name, value) in
            [("event", message.event()), ("key", message.key()), ("message_id", message.message_id())]
        {
            if let Some(value) = value {
                body[name] = value.into();
            }
        }
        let frame = |body: Value| json!({"publish": body, "id": id}).to_string();
        let decoded = match payload.kind() {
            PayloadKind::Json => {
                // Written with its own spacing, which has to survive.
                body["data"] = "PAYLOAD".into();
                decode_text(&frame(body).replace("\"PAYLOAD\"", payload.as_str().unwrap()))
            }
            PayloadKind::Text => {
                body["text"] = true.into();
                body["data"] = payload.as_str().into();
                decode_text(&frame(body))
            }
            PayloadKind::Binary => decode_binary(&binary(&frame(body), payload.bytes())),
        };
        let decoded = decoded.unwrap();
        prop_assert_eq!(decoded.id.map(|id| id.value()), Some(id));
        let Command::Publish(publish) = decoded.command else { panic!() };
        prop_assert_eq!(&publish.payload, payload);
        prop_assert_eq!(publish.topics, [message.topic().as_str()]);
        prop_assert_eq!(publish.event.as_deref(), message.event());
        prop_assert_eq!(publish.key.as_deref(), message.key());
        prop_assert_eq!(publish.message_id.as_deref(), message.message_id());
        prop_assert_eq!(publish.echo, echo);
    }

    #[test]
    fn any_bytes_are_answered(bytes in vec(any::<u8>(), 0..200)) {
        harmless(decode_binary(&bytes));
        harmless(decode_text(&String::from_utf8_lossy(&bytes)));
    }

    #[test]
    fn any_json_is_answered(value in json_value()) {
        harmless(decode_text(&value.to_string()));
        for method in ["connect", "subscribe", "unsubscribe", "publish", "history", "ping", "id", "call", "answer"] {
            harmless(decode_text(&json!({method: &value, "id": 1}).to_string()));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_frames_are_answered(seed in 0..SEEDS.len(), damage in vec(damage(), 1..6)) {
        let mut frame = SEEDS[seed].as_bytes().to_vec();
        for damage in damage {
            damage.apply(&mut frame);
        }
        harmless(decode_text(&String::from_utf8_lossy(&frame)));
        let length = u32::try_from(frame.len()).unwrap().to_be_bytes();
        harmless(decode_binary(&[&length, &frame[..], b"x"].concat()));
        harmless(decode_binary(&frame));
    }
}

/// What must hold of every outcome: a payload that was taken for JSON spoils no frame that it is embedded in.
fn harmless(outcome: Result<Decoded, DecodeError>) {
    let Ok(Decoded { command: Command::Publish(publish), .. }) = outcome else { return };
    assert!(publish.event.as_ref().is_none_or(|event| event.len() <= 255));
    let PublishCommand { payload, .. } = publish;
    if payload.kind() == PayloadKind::Binary {
        return;
    }
    let mut out = BytesMut::new();
    let message = Message::ephemeral(MessageParts::new(TopicName::new("t").unwrap(), payload));
    assert_eq!(encode(Frame::Message(&message), &mut out), Kind::Text);
    let frame: std::collections::BTreeMap<String, &serde_json::value::RawValue> =
        serde_json::from_slice(&out).unwrap();
    assert!(frame.keys().eq(["data", "time", "topic"].iter()) || frame.contains_key("text"));
}

fn binary(header: &str, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(header.len()).unwrap();
    [&length.to_be_bytes(), header.as_bytes(), payload].concat()
}

fn envelope(message: &Message) -> Value {
    let mut frame = json!({"topic": message.topic().as_str(), "time": message.time_ms()});
    if let Some(position) = message.position() {
        frame["pos"] = position.to_string().into();
    }
    for (name, value) in
        [("event", message.event()), ("key", message.key()), ("message_id", message.message_id())]
    {
        if let Some(value) = value {
            frame[name] = value.into();
        }
    }
    if let Some(publisher) = message.publisher() {
        frame["from"] = json!({"client": publisher.client.to_string()});
        if let Some(user) = &publisher.user {
            frame["from"]["user"] = (&**user).into();
        }
    }
    frame
}

fn message() -> impl Strategy<Value = Message> {
    let short = || option::of(any_text(60));
    let place = option::of((any::<u64>(), any::<u64>()));
    let publisher = option::of((any::<u64>(), option::of(any_text(20))));
    (topic(), payload(), short(), short(), short(), any::<u64>(), place, publisher).prop_map(
        |(topic, payload, event, key, message_id, time, place, publisher)| {
            let mut parts = MessageParts::new(topic, payload);
            parts.event = event.map(Into::into);
            parts.key = key.map(Into::into);
            parts.message_id = message_id.map(Into::into);
            parts.time_ms = time;
            parts.publisher = publisher.map(|(client, user)| Publisher {
                client: ClientId::new(client),
                user: user.map(Into::into),
            });
            match place {
                None => Message::ephemeral(parts),
                Some((epoch, offset)) => {
                    let epoch = fanfare_core::message::Epoch::new(epoch);
                    Message::logged(parts, LogPlace { position: Position::new(epoch, offset), prev: 0 })
                }
            }
        },
    )
}

fn topic() -> impl Strategy<Value = TopicName> {
    vec("[\\PC&&[^ *>.]]{1,8}", 1..4)
        .prop_filter_map("a name", |segments| TopicName::new(segments.join(".")).ok())
}

/// Any characters, and often those that JSON escapes. At most `max` characters.
fn any_text(max: usize) -> impl Strategy<Value = String> {
    let tricky =
        prop::sample::select(vec!['"', '\\', '\n', '\0', '\u{1f}', '\u{7f}', '\u{2028}', '/', '\u{1F600}']);
    vec(prop_oneof![any::<char>(), tricky, prop::char::range(' ', '~')], 0..=max)
        .prop_map(|characters| characters.into_iter().collect())
}

fn payload() -> impl Strategy<Value = Payload> {
    prop_oneof![
        (json_value(), any::<bool>()).prop_map(|(value, pretty)| {
            let text =
                if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
            Payload::parsed_json(text.unwrap()).unwrap()
        }),
        any_text(300).prop_map(Payload::text),
        vec(any::<u8>(), 0..300).prop_map(Payload::binary),
    ]
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u32>().prop_map(|n| Value::from(f64::from(n) / 8.0)),
        any_text(20).prop_map(Value::from),
    ];
    let key = prop_oneof![
        any_text(8),
        prop::sample::select(vec![
            "topic",
            "data",
            "text",
            "after",
            "last",
            "latest",
            "subscribe",
            "topics",
            "token"
        ])
        .prop_map(str::to_owned),
    ];
    leaf.prop_recursive(5, 40, 6, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(key.clone(), inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

const SEEDS: [&str; 9] = [
    r#"{"id":1,"connect":{"token":"s","subscribe":[{"topic":"chat.lobby","after":"k3f9:41"},{"topic":"x.*"}]}}"#,
    r#"{"id":2,"subscribe":{"topic":"chat.lobby","last":20}}"#,
    r#"{"id":3,"publish":{"topic":"t","event":"message","key":"cpu0","message_id":"m-17","echo":false,"data":{"a":[1,-2.5e3,"\u00e9\"",null,true]}}}"#,
    r#"{"id":3,"publish":{"topics":["a","b"],"text":true,"data":"a\ud83d\ude00b"}}"#,
    r#"{"id":4,"unsubscribe":{"topic":"t"}}"#,
    r#"{"id":5,"history":{"topic":"t","before":"k3f9:41","limit":50}}"#,
    r#"{"publish":{"topic":"t"},"id":6}"#,
    r#"{"id":8,"call":{"method":"rename","data":{}}}"#,
    r#"{"answer":{"call_id":"s1","error":{"code":"busy","message":"\u00e9"}}}"#,
];

#[derive(Clone, Debug)]
enum Damage {
    Change(prop::sample::Index, u8),
    Insert(prop::sample::Index, u8),
    Remove(prop::sample::Index),
    Cut(prop::sample::Index),
    Double(prop::sample::Index, prop::sample::Index),
}

fn damage() -> impl Strategy<Value = Damage> {
    let byte = || prop_oneof![prop::sample::select(b"{}[]\",:\\0-+.eEtfn \n\0\xff".to_vec()), any::<u8>()];
    let at = any::<prop::sample::Index>;
    prop_oneof![
        (at(), byte()).prop_map(|(i, b)| Damage::Change(i, b)),
        (at(), byte()).prop_map(|(i, b)| Damage::Insert(i, b)),
        at().prop_map(Damage::Remove),
        at().prop_map(Damage::Cut),
        (at(), at()).prop_map(|(i, j)| Damage::Double(i, j)),
    ]
}

impl Damage {
    fn apply(&self, frame: &mut Vec<u8>) {
        let length = frame.len();
        if length == 0 {
            return;
        }
        match self {
            Self::Change(at, byte) => frame[at.index(length)] = *byte,
            Self::Insert(at, byte) => frame.insert(at.index(length), *byte),
            Self::Remove(at) => drop(frame.remove(at.index(length))),
            Self::Cut(at) => frame.truncate(at.index(length)),
            Self::Double(from, to) => {
                let (from, to) = (from.index(length), to.index(length));
                let part = frame[from.min(to)..from.max(to)].to_vec();
                frame.splice(from..from, part);
            }
        }
    }
}
