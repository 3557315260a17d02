//! Frames to lines.

use bytes::{BufMut, BytesMut};
use fanfare_core::message::{Encoder, Frame};

/// One frame of v1 per line.
pub(crate) struct Lines;

impl Encoder for Lines {
    fn encode(&self, frame: Frame<'_>, out: &mut BytesMut) {
        let start = out.len();
        match frame {
            // Binary payloads as base64: a line is text.
            Frame::Message(message) => fanfare_protocol::encode_text_only(message, out),
            // A heartbeat has no form in v1: the line is empty.
            Frame::Ping => {}
            frame => {
                if fanfare_protocol::encode(frame, out) == fanfare_protocol::Kind::Nothing {
                    return;
                }
            }
        }
        // A payload of JSON is embedded as it is. Between its tokens a blank is as good as a line break; within a
        // string there is none.
        for byte in &mut out[start..] {
            if matches!(byte, b'\n' | b'\r') {
                *byte = b' ';
            }
        }
        out.put_u8(b'\n');
    }
}
