//! The two formats that this transport speaks, framed for WebSocket.

use bytes::{Buf, BufMut, BytesMut};
use fanfare_core::{
    message::{Encoder, Frame, PayloadKind},
    session::{CloseKind, CloseReason},
};
use fanfare_protocol::Kind;

use crate::frame::{Opcode, encode};

/// What an envelope of v1 takes beside its payload, more or less: bytes to reserve.
const ENVELOPE: usize = 256;

/// The wire format v1: one frame of it per WebSocket message.
#[derive(Debug)]
pub(crate) struct V1;

impl Encoder for V1 {
    fn encode(&self, frame: Frame<'_>, out: &mut BytesMut) {
        match frame {
            Frame::Ping => encode::ping(out),
            Frame::Close(reason) => {
                framed(frame, out);
                close(reason, out);
            }
            frame => framed(frame, out),
        }
    }
}

/// Plain mode: messages are their payloads, and nothing else is told.
#[derive(Debug)]
pub(crate) struct Plain;

impl Encoder for Plain {
    fn encode(&self, frame: Frame<'_>, out: &mut BytesMut) {
        match frame {
            Frame::Message(message) => {
                let payload = message.payload();
                let opcode = match payload.kind() {
                    PayloadKind::Binary => Opcode::Binary,
                    _ => Opcode::Text,
                };
                encode::frame(opcode, payload.bytes(), out);
            }
            Frame::Ping => encode::ping(out),
            Frame::Close(reason) => close(reason, out),
            _ => {}
        }
    }

    fn tells_topics(&self) -> bool {
        false
    }
}

/// A frame of v1 behind its WebSocket header.
///
/// The payload's length is known when it is written, so room for the longest header comes first, and what the header
/// does not need of it is cut off the front: nothing is written twice.
fn framed(frame: Frame<'_>, out: &mut BytesMut) {
    let mut body = if out.is_empty() { std::mem::take(out) } else { BytesMut::new() };
    let payload = if let Frame::Message(message) = frame { message.payload().len() } else { 0 };
    body.reserve(encode::MAX_HEADER + ENVELOPE + payload);
    body.put_bytes(0, encode::MAX_HEADER);
    let opcode = match fanfare_protocol::encode(frame, &mut body) {
        Kind::Text => Opcode::Text,
        Kind::Binary => Opcode::Binary,
        Kind::Nothing => return,
    };
    let header = encode::Header::new(opcode, body.len() - encode::MAX_HEADER);
    let spare = encode::MAX_HEADER - header.as_slice().len();
    body.advance(spare);
    body[..header.as_slice().len()].copy_from_slice(header.as_slice());
    if out.is_empty() {
        *out = body;
    } else {
        out.put_slice(&body);
    }
}

/// The Close frame, unless the connection is lost anyway.
fn close(reason: &CloseReason, out: &mut BytesMut) {
    if reason.kind != CloseKind::Lost {
        encode::close(reason.code(), &reason.message, out);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use fanfare_core::{
        message::{Message, MessageParts, Payload},
        topic::TopicName,
    };

    use super::*;

    fn message(payload: impl Into<Payload>) -> Message {
        let mut parts = MessageParts::new(TopicName::new("news").unwrap(), payload);
        parts.time_ms = 5;
        Message::ephemeral(parts)
    }

    fn encoded(encoder: &dyn Encoder, frame: Frame<'_>) -> Vec<u8> {
        let mut out = BytesMut::new();
        encoder.encode(frame, &mut out);
        // What was there before stays.
        let mut after = BytesMut::from(&b"before"[..]);
        encoder.encode(frame, &mut after);
        assert_eq!(after, [&b"before"[..], &out].concat());
        out.to_vec()
    }

    #[test]
    fn the_header_says_the_length_whatever_form_it_takes() {
        for length in [0, 1, 60, 70, 80, 90, 200, 65_400, 65_480, 65_500, 70_000] {
            let message = message("x".repeat(length));
            let mut body = BytesMut::new();
            assert_eq!(fanfare_protocol::encode(Frame::Message(&message), &mut body), Kind::Text);
            let mut expected = BytesMut::new();
            encode::frame(Opcode::Text, &body, &mut expected);
            assert_eq!(encoded(&V1, Frame::Message(&message)), expected, "{length}");
        }
    }

    #[test]
    fn the_opcode_is_the_payloads() {
        assert_eq!(encoded(&V1, Frame::Message(&message(vec![1u8, 2])))[0], 0x82);
        assert_eq!(encoded(&Plain, Frame::Message(&message(vec![1u8, 2]))), [0x82, 2, 1, 2]);
        assert_eq!(encoded(&Plain, Frame::Message(&message("hi"))), b"\x81\x02hi");
    }

    #[test]
    fn the_close_frame_comes_last() {
        let reason = CloseReason::new(CloseKind::Draining).retry_after(Duration::from_millis(7));
        let json = br#"{"close":{"code":4200,"name":"draining","retry_ms":7}}"#;
        let bytes = encoded(&V1, Frame::Close(&reason));
        assert_eq!(bytes[..2], [0x81, json.len() as u8]);
        assert_eq!(&bytes[2..2 + json.len()], json);
        let close = &bytes[2 + json.len()..];
        assert_eq!((close[0], u16::from_be_bytes([close[2], close[3]])), (0x88, 4200));
        assert_eq!(encoded(&Plain, Frame::Close(&reason)), close);
        let lost = CloseReason::new(CloseKind::Lost);
        assert!(encoded(&V1, Frame::Close(&lost)).is_empty());
    }
}
