//! What the core tells a client to frames.
//!
//! JSON is written by hand: a message is encoded on the way to its subscribers. Absent fields are left out.

mod event;
mod json;
mod message;
mod presence;
mod reply;

use bytes::BytesMut;
use fanfare_core::message::Frame;

pub use message::encode_text_only;

/// What [`encode`] has written, so that the transport can frame it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Kind {
    /// UTF-8: one JSON object.
    Text,
    /// The length of the header as a big-endian `u32`, the header (a JSON object), the payload.
    Binary,
    /// Nothing: v1 has no such frame. It is so for [`Frame::Ping`], which is the transport's own, for a good reply
    /// to a command without `id`, and for [`CloseKind::Lost`](fanfare_core::session::CloseKind::Lost).
    Nothing,
}

/// Appends a frame to `out`, without the transport's framing; what `out` held before stays.
///
/// The encoding of a message depends on the message alone.
pub fn encode(frame: Frame<'_>, out: &mut BytesMut) -> Kind {
    match frame {
        Frame::Message(message) => return message::message(message, out),
        Frame::Cursor { topic, position } => event::cursor(topic, position, out),
        Frame::Gap { topic, gap } => event::gap(topic, gap, out),
        Frame::Live { topic, position } => event::live(topic, position, out),
        Frame::Reply { id, reply } => return reply::reply(id, reply, out),
        Frame::Subscribed { topic, outcome } => event::subscribed(topic, *outcome, out),
        Frame::Unsubscribed { topic, code, retry } => event::unsubscribed(topic, code, retry, out),
        Frame::Presence { topic, event } => return presence::event(topic, event, out),
        Frame::Token { expires } => event::token(expires, out),
        Frame::Call(call) => return event::call(call, out),
        Frame::Close(reason) => return event::close(reason, out),
        _ => return Kind::Nothing,
    }
    Kind::Text
}
