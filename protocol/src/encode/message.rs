//! Messages, as subscribers and history pages see them.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::{BufMut, BytesMut};
use fanfare_core::message::{Message, Payload, PayloadKind};

use super::{Kind, json::Object};

/// Appends a message as one JSON object where only text can travel: in history pages and in server-sent events. A
/// binary payload is written as `base64` (RFC 4648, section 4, with padding) in place of `data`.
pub fn encode_text_only(message: &Message, out: &mut BytesMut) {
    let mut object = envelope(message, out);
    match message.payload().kind() {
        PayloadKind::Binary => base64(message.payload().bytes(), object.key("base64")),
        _ => embed(message.payload(), &mut object),
    }
    object.end();
}

/// Writes JSON or text into the object that holds it; binary payloads are not written.
pub(super) fn embed(payload: &Payload, object: &mut Object<'_>) {
    match payload.kind() {
        PayloadKind::Json => object.key("data").put_slice(payload.bytes()),
        PayloadKind::Text => {
            object.flag("text", true);
            object.text("data", payload.as_str().unwrap_or_default());
        }
        PayloadKind::Binary => {}
    }
}

pub(super) fn message(message: &Message, out: &mut BytesMut) -> Kind {
    let payload = message.payload();
    if payload.kind() != PayloadKind::Binary {
        encode_text_only(message, out);
        return Kind::Text;
    }
    behind_header(payload, out, |out| envelope(message, out).end())
}

/// Writes a header, and a binary payload behind it.
pub(super) fn behind_header(
    payload: &Payload,
    out: &mut BytesMut,
    header: impl FnOnce(&mut BytesMut),
) -> Kind {
    let at = out.len();
    out.put_u32(0);
    header(out);
    // Every part of a header is bounded far below 4 GiB.
    let length = u32::try_from(out.len() - at - LENGTH).unwrap_or(u32::MAX);
    if let Some(prefix) = out.get_mut(at..at + LENGTH) {
        prefix.copy_from_slice(&length.to_be_bytes());
    }
    out.put_slice(payload.bytes());
    Kind::Binary
}

/// The bytes of the header's length.
const LENGTH: usize = size_of::<u32>();

/// All of a message but its payload; the object is still open.
fn envelope<'a>(message: &Message, out: &'a mut BytesMut) -> Object<'a> {
    out.reserve(ENVELOPE + message.payload().len());
    let mut object = Object::begin(out);
    object.text("topic", message.topic().as_str());
    object.position("pos", message.position());
    object.optional_text("event", message.event());
    object.optional_text("key", message.key());
    if let Some(publisher) = message.publisher() {
        let mut from = object.object("from");
        from.client("client", publisher.client);
        from.optional_text("user", publisher.user.as_deref());
        from.end();
    }
    object.number("time", message.time_ms());
    object.optional_text("message_id", message.message_id());
    object
}

/// What most envelopes need: bytes to reserve.
const ENVELOPE: usize = 192;

fn base64(bytes: &[u8], out: &mut BytesMut) {
    out.put_u8(b'"');
    let at = out.len();
    // Three bytes are four characters.
    out.resize(at + bytes.len().div_ceil(3) * 4, 0);
    let written = out.get_mut(at..).map_or(Ok(0), |room| STANDARD.encode_slice(bytes, room));
    debug_assert_eq!(written, Ok(out.len() - at), "the room is exact");
    out.put_u8(b'"');
}

/// Appends an array of messages.
pub(super) fn array<'m>(messages: impl IntoIterator<Item = &'m Message>, out: &mut BytesMut) {
    out.put_u8(b'[');
    for (index, message) in messages.into_iter().enumerate() {
        if index > 0 {
            out.put_u8(b',');
        }
        encode_text_only(message, out);
    }
    out.put_u8(b']');
}
