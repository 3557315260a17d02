//! The two forms in which events are written.

use std::borrow::Cow;

use bytes::{BufMut, BytesMut};
use fanfare_core::message::{Encoder, Frame, Message, PayloadKind};
use fanfare_protocol::Kind;

use crate::{
    chunk,
    fields::{self, END},
};

/// One topic: `data:` is the payload, `event:` the event's name, `id:` the position.
///
/// Names that begin with `$` are the system's; one of a publisher's that does gets another `$` in front. What cannot be
/// said like that, a binary payload or a name with a line break, comes as a `$message`, in v1.
#[derive(Debug)]
pub(crate) struct Raw;

impl Encoder for Raw {
    fn encode(&self, frame: Frame<'_>, out: &mut BytesMut) {
        match frame {
            Frame::Message(message) => raw(message, out),
            Frame::Cursor { position, .. } => {
                fields::id(position, out);
                out.put_slice(END);
            }
            Frame::Live { position, .. } => {
                fields::id(position, out);
                system(frame, out);
            }
            frame => system(frame, out),
        }
    }

    fn tells_topics(&self) -> bool {
        false
    }
}

/// An encoder's events, each as a chunk of HTTP/1.1 (RFC 9112, section 7.1), and the last chunk behind the last event: for who
/// writes to the socket by himself.
#[derive(Debug)]
pub(crate) struct Chunked<E>(pub(crate) E);

impl<E: Encoder> Encoder for Chunked<E> {
    fn encode(&self, frame: Frame<'_>, out: &mut BytesMut) {
        let mut event = BytesMut::new();
        self.0.encode(frame, &mut event);
        chunk::write(&event, out);
        if matches!(frame, Frame::Close(_)) && !event.is_empty() {
            out.put_slice(chunk::LAST);
        }
    }

    fn tells_topics(&self) -> bool {
        self.0.tells_topics()
    }
}

/// Several topics: `data:` is the frame of v1. The `id:`, which is each reader's own, is written in front of this.
#[derive(Debug)]
pub(crate) struct V1;

impl Encoder for V1 {
    fn encode(&self, frame: Frame<'_>, out: &mut BytesMut) {
        match frame {
            Frame::Message(message) => {
                v1(message, out);
                out.put_slice(END);
            }
            frame => system(frame, out),
        }
    }
}

fn raw(message: &Message, out: &mut BytesMut) {
    if let Some(position) = message.position() {
        fields::id(position, out);
    }
    let payload = message.payload();
    let name = message.event().unwrap_or_default();
    if payload.kind() == PayloadKind::Binary || !fields::can_be_name(name) {
        fields::event("$message", out);
        v1(message, out);
    } else {
        if !name.is_empty() {
            fields::event(&escaped(name), out);
        }
        fields::data(payload.bytes(), out);
    }
    out.put_slice(END);
}

/// A publisher's name, kept apart from the system's.
fn escaped(name: &str) -> Cow<'_, str> {
    if name.starts_with('$') { format!("${name}").into() } else { name.into() }
}

fn v1(message: &Message, out: &mut BytesMut) {
    let mut text = BytesMut::new();
    fanfare_protocol::encode_text_only(message, &mut text);
    // A payload of JSON is embedded as it is, line breaks between its tokens included.
    fields::data(&text, out);
}

/// What is no message: a named event with the frame of v1 in it.
fn system(frame: Frame<'_>, out: &mut BytesMut) {
    let name = match frame {
        Frame::Gap { .. } => "$gap",
        Frame::Live { .. } => "$live",
        Frame::Cursor { .. } => "$cursor",
        Frame::Subscribed { .. } => "$subscribed",
        Frame::Unsubscribed { .. } => "$unsubscribed",
        Frame::Presence { .. } => "$presence",
        Frame::Token { .. } => "$token",
        Frame::Close(_) => "$close",
        Frame::Ping => return fields::comment(out),
        _ => return,
    };
    let mut text = BytesMut::new();
    if fanfare_protocol::encode(frame, &mut text) != Kind::Text {
        return;
    }
    fields::event(name, out);
    fields::data(&text, out);
    if let Frame::Close(reason) = frame
        && let Some(after) = reason.retry_after
    {
        // From here on the reader's own, also for when the connection breaks without a word.
        fields::retry(after, out);
    }
    out.put_slice(END);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use fanfare_core::{
        message::{Epoch, Gap, GapReason, LogPlace, MessageParts, Payload, Position},
        session::{CloseKind, CloseReason},
        topic::TopicName,
    };

    use super::*;

    fn topic() -> TopicName {
        TopicName::new("t").unwrap()
    }

    fn position() -> Position {
        Position::new(Epoch::new(20), 7)
    }

    fn encoded(encoder: &dyn Encoder, frame: Frame<'_>) -> String {
        let mut out = BytesMut::new();
        encoder.encode(frame, &mut out);
        // What was there before stays.
        let mut after = BytesMut::from(&b"before"[..]);
        encoder.encode(frame, &mut after);
        assert_eq!(after, [&b"before"[..], &out].concat());
        String::from_utf8(out.to_vec()).unwrap()
    }

    fn message(event: Option<&str>, payload: impl Into<Payload>) -> Message {
        let mut parts = MessageParts::new(topic(), payload);
        parts.time_ms = 5;
        parts.event = event.map(Into::into);
        Message::logged(parts, LogPlace { position: position(), prev: 6 })
    }

    #[test]
    fn a_message_in_both_forms() {
        let message = message(Some("line"), "a\nb");
        assert_eq!(encoded(&Raw, Frame::Message(&message)), "id: k:7\nevent: line\ndata: a\ndata: b\n\n");
        assert_eq!(
            encoded(&V1, Frame::Message(&message)),
            "data: {\"topic\":\"t\",\"pos\":\"k:7\",\"event\":\"line\",\"time\":5,\"text\":true,\"data\":\"a\\nb\"}\n\n"
        );
    }

    /// No broker accepts such names, but a backend may bring one.
    #[test]
    fn a_name_like_the_systems_is_kept_apart() {
        for (name, written) in [("$gap", "$$gap"), ("$message", "$$message"), ("$$", "$$$")] {
            let event = encoded(&Raw, Frame::Message(&message(Some(name), "x")));
            assert_eq!(event, format!("id: k:7\nevent: {written}\ndata: x\n\n"));
        }
    }

    #[test]
    fn a_name_with_a_line_break_comes_in_v1() {
        for name in ["a\ndata: forged\n\nid: 1", "\r", "a\0"] {
            let event = encoded(&Raw, Frame::Message(&message(Some(name), "x")));
            let data = event.strip_prefix("id: k:7\nevent: $message\ndata: ").unwrap();
            let frame: serde_json::Value = serde_json::from_str(data.strip_suffix("\n\n").unwrap()).unwrap();
            assert_eq!((frame["event"].as_str(), frame["data"].as_str()), (Some(name), Some("x")));
        }
    }

    #[test]
    fn each_event_may_be_a_chunk() {
        let message = message(None, "x".repeat(300));
        let whole = encoded(&Raw, Frame::Message(&message));
        let chunked = encoded(&Chunked(Raw), Frame::Message(&message));
        assert_eq!(chunked, format!("{:x}\r\n{whole}\r\n", whole.len()));
        assert_eq!(chunk::content(&chunked.into()), whole);
        assert_eq!(encoded(&Chunked(Raw), Frame::Ping), "3\r\n:\n\n\r\n");
        let close = CloseReason::new(CloseKind::Kicked);
        let whole = encoded(&Raw, Frame::Close(&close));
        let chunked = encoded(&Chunked(Raw), Frame::Close(&close));
        assert_eq!(chunked, format!("{:x}\r\n{whole}\r\n0\r\n\r\n", whole.len()));
        assert_eq!(chunk::content(&chunked.into()), whole);
        assert_eq!(encoded(&Chunked(Raw), Frame::Close(&CloseReason::new(CloseKind::Lost))), "");
    }

    #[test]
    fn what_the_system_says() {
        let (topic, position) = (topic(), position());
        let gap = Gap::new(GapReason::Slow, Some(3));
        let gap = Frame::Gap { topic: "t", gap: &gap };
        let reason = CloseReason::new(CloseKind::Draining).retry_after(Duration::from_millis(1234));
        let both: [&dyn Encoder; 2] = [&Raw, &V1];
        for encoder in both {
            let data = r#"{"topic":"t","gap":{"missed":3,"reason":"slow"}}"#;
            assert_eq!(encoded(encoder, gap), format!("event: $gap\ndata: {data}\n\n"));
            let data = r#"{"close":{"code":4200,"name":"draining","retry_ms":1234}}"#;
            let close = format!("event: $close\ndata: {data}\nretry: 1234\n\n");
            assert_eq!(encoded(encoder, Frame::Close(&reason)), close);
            assert_eq!(encoded(encoder, Frame::Close(&CloseReason::new(CloseKind::Lost))), "");
            assert_eq!(encoded(encoder, Frame::Ping), ":\n\n");
        }
        let live = Frame::Live { topic: &topic, position };
        let data = r#"{"topic":"t","live":true,"pos":"k:7"}"#;
        assert_eq!(encoded(&Raw, live), format!("id: k:7\nevent: $live\ndata: {data}\n\n"));
        assert_eq!(encoded(&V1, live), format!("event: $live\ndata: {data}\n\n"));
        let hidden = Frame::Cursor { topic: &topic, position };
        assert_eq!(encoded(&Raw, hidden), "id: k:7\n\n");
        let data = r#"{"topic":"t","pos":"k:7"}"#;
        assert_eq!(encoded(&V1, hidden), format!("event: $cursor\ndata: {data}\n\n"));
    }
}
