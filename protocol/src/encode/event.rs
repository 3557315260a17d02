//! What a subscription tells beside its messages, and the last word.

use std::time::Duration;

use bytes::BytesMut;
use fanfare_core::{
    calls::OutgoingCall,
    message::{Gap, PayloadKind, Position},
    session::{CloseKind, CloseReason, ErrorCode, Subscribed},
    topic::TopicName,
};

use super::{Kind, json::Object, message, reply};

pub(super) fn cursor(topic: &TopicName, position: Position, out: &mut BytesMut) {
    let mut object = Object::begin(out);
    object.text("topic", topic.as_str());
    object.position("pos", Some(position));
    object.end();
}

pub(super) fn live(topic: &TopicName, position: Position, out: &mut BytesMut) {
    let mut object = Object::begin(out);
    object.text("topic", topic.as_str());
    object.flag("live", true);
    object.position("pos", Some(position));
    object.end();
}

pub(super) fn gap(topic: &str, gap: &Gap, out: &mut BytesMut) {
    let mut object = Object::begin(out);
    object.text("topic", topic);
    let mut inner = object.object("gap");
    inner.optional_number("missed", gap.missed);
    inner.position("last", gap.last);
    inner.position("next", gap.next);
    inner.text("reason", gap.reason.as_str());
    inner.end();
    object.end();
}

pub(super) fn subscribed(topic: &str, outcome: Subscribed, out: &mut BytesMut) {
    let mut object = Object::begin(out);
    let mut inner = object.object("subscribed");
    inner.text("topic", topic);
    reply::subscribed(outcome, &mut inner);
    inner.end();
    object.end();
}

pub(super) fn unsubscribed(topic: &str, code: ErrorCode, retry: bool, out: &mut BytesMut) {
    let mut object = Object::begin(out);
    let mut inner = object.object("unsubscribed");
    inner.text("topic", topic);
    inner.text("code", code.as_str());
    inner.flag("retry", retry);
    inner.end();
    object.end();
}

pub(super) fn token(expires: Duration, out: &mut BytesMut) {
    let mut object = Object::begin(out);
    let mut inner = object.object("token");
    inner.milliseconds("expires_ms", expires);
    inner.end();
    object.end();
}

/// A binary payload stands behind the call.
pub(super) fn call(call: &OutgoingCall, out: &mut BytesMut) -> Kind {
    let header = |out: &mut BytesMut| {
        let mut object = Object::begin(out);
        let mut inner = object.object("call");
        inner.text("call_id", &call.id.to_string());
        inner.text("method", &call.method);
        message::embed(&call.payload, &mut inner);
        inner.milliseconds("timeout_ms", call.timeout);
        inner.end();
        object.end();
    };
    if call.payload.kind() == PayloadKind::Binary {
        return message::behind_header(&call.payload, out, header);
    }
    header(out);
    Kind::Text
}

pub(super) fn close(reason: &CloseReason, out: &mut BytesMut) -> Kind {
    if reason.kind == CloseKind::Lost {
        return Kind::Nothing;
    }
    let mut object = Object::begin(out);
    let mut inner = object.object("close");
    inner.number("code", reason.code().into());
    inner.text("name", reason.name());
    // The kind's own sentence says no more than its name.
    if reason.message != CloseReason::new(reason.kind).message {
        inner.text("message", shortened(&reason.message, CLOSE_MESSAGE));
    }
    if let Some(after) = reason.retry_after {
        inner.milliseconds("retry_ms", after);
    }
    inner.end();
    object.end();
    Kind::Text
}

/// The longest sentence of a close frame, in bytes: it fits into the Close frame's reason, too (RFC 6455, section
/// 5.5: 125 bytes with the code).
const CLOSE_MESSAGE: usize = 120;

/// The first whole characters that fit into `max` bytes.
fn shortened(text: &str, max: usize) -> &str {
    let end = (0..=max).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    if text.len() <= max { text } else { &text[..end] }
}
