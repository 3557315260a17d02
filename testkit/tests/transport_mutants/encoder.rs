//! Frames to lines of v1, right or wrong.

use bytes::{BufMut, BytesMut};
use fanfare_core::{
    message::{Encoder, Frame, Message, PayloadKind},
    session::CloseReason,
};
use fanfare_testkit::v1::V1;

use crate::fault::Fault;

pub(crate) struct Lines(pub(crate) Fault);

impl Encoder for Lines {
    fn encode(&self, frame: Frame<'_>, out: &mut BytesMut) {
        let mut line = BytesMut::new();
        match (self.0, frame) {
            (Fault::SwallowsGaps, Frame::Gap { .. }) | (Fault::NoCloseFrame, Frame::Close(_)) => return,
            (Fault::NoRetryHint, Frame::Close(reason)) => {
                let reason = CloseReason::new(reason.kind);
                let _ = fanfare_protocol::encode(Frame::Close(&reason), &mut line);
            }
            (fault, Frame::Message(message)) => encode_message(fault, message, &mut line),
            (_, frame) => {
                if fanfare_protocol::encode(frame, &mut line) == fanfare_protocol::Kind::Nothing {
                    return;
                }
            }
        }
        for byte in line.iter_mut() {
            if matches!(byte, b'\n' | b'\r') {
                *byte = b' ';
            }
        }
        out.put_slice(&line);
        out.put_u8(b'\n');
    }
}

fn encode_message(fault: Fault, message: &Message, line: &mut BytesMut) {
    let payload = message.payload();
    let mut parts = message.parts().clone();
    let text = payload.as_str().filter(|_| payload.kind() == PayloadKind::Text);
    match (fault, text) {
        (Fault::BreaksLines, Some(text)) => {
            parts.payload = fanfare_core::message::Payload::text(text.replace("\r\n", "\n"));
        }
        (Fault::AllIsJson, Some(text)) => {
            let json = serde_json::to_string(text).unwrap();
            parts.payload = fanfare_core::message::Payload::parsed_json(json).unwrap();
        }
        (Fault::CutsLarge, Some(text)) if text.len() > 65_000 => {
            parts.payload = fanfare_core::message::Payload::text(&text[..65_000]);
        }
        _ => return fanfare_protocol::encode_text_only(message, line),
    }
    let changed = match message.place() {
        Some(place) => Message::logged(parts, place),
        None => Message::ephemeral(parts),
    };
    fanfare_protocol::encode_text_only(&changed, line);
}

/// The number in front of a message's text, read from its line.
pub(crate) fn is_message(line: &[u8]) -> bool {
    let text = std::str::from_utf8(line).unwrap_or_default();
    use fanfare_testkit::{transport::Event, v1::Frame};
    matches!(V1::new().read(text.trim()), Frame::Event(Event::Message { .. }))
}
