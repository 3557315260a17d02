//! The two forms in which events are written.

use std::borrow::Cow;

use bytes::{BufMut, BytesMut};
use fanfare_core::message::{Encoder, Frame, Message, PayloadKind};
use fanfare_protocol::Kind;

use crate::fields::{self, END};

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
