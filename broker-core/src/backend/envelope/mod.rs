//! How a message travels between nodes: one binary form for all remote backends.
//!
//! ```text
//! bare     version u8 = 0xF5
//!          kind    u8          0 JSON, 1 text, 2 binary
//!          flags   u8          which of the optional fields follow
//!          time    u64         milliseconds since 1970
//!          origin  u64 u64 n   node, stream, number
//!          topic   n bytes
//!          event   n bytes     flag 0x01
//!          key     n bytes     flag 0x02
//!          id      n bytes     flag 0x04: message_id
//!          client  u64         flag 0x08: the publisher's connection
//!          user    n bytes     flag 0x10: the publisher's user; only together with 0x08
//!          except  n (u64)*    flag 0x20: the clients that do not get it
//!          also    n (n bytes, u64, n)*   flag 0x40: further topics, with stream and number
//!          payload the rest
//!
//! placed   <epoch>:<offset>:<prev>;   three decimal numbers, then the bare form
//! ```
//!
//! `u64` is big-endian; `n` is a number of 1 to 10 bytes, 7 bits each, the low ones first, the high bit set in all
//! but the last (LEB128). A field of `n bytes` begins with its length.
//!
//! The version byte occurs in no UTF-8 text, so what others write to our channels is told apart at once. The
//! placed form lets a server put a message in its place without knowing the bare form: a script that has found the next
//! offset writes it, as text, in front of the bytes that it was given. What holds the position elsewhere, such
//! as a stream's own number, uses the bare form and [`Envelope::at`].
//!
//! Decoding is bounded by its input: it allocates in proportion to what is there, believes no length, and panics on nothing.

mod error;
mod reader;
#[cfg(test)]
mod tests;

use std::{fmt::Write as _, sync::Arc};

use bytes::{BufMut, Bytes, BytesMut};
pub use error::EnvelopeError;
use reader::Reader;

use super::{Incoming, NodeId, Origin, Outgoing};
use crate::{
    message::{Epoch, LogPlace, Message, MessageParts, Payload, PayloadKind, Position, Publisher},
    session::ClientId,
    topic::TopicName,
};

/// The first byte of the bare form.
const VERSION: u8 = 0xF5;

const HAS_EVENT: u8 = 0x01;
const HAS_KEY: u8 = 0x02;
const HAS_ID: u8 = 0x04;
const HAS_CLIENT: u8 = 0x08;
const HAS_USER: u8 = 0x10;
const HAS_EXCEPT: u8 = 0x20;
const HAS_ALSO: u8 = 0x40;

/// A message as it travels between nodes. See the [module](self) for the bytes.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Envelope {
    /// The message.
    pub message: MessageParts,
    /// Where it comes from.
    pub origin: Origin,
    /// Further topics of an ephemeral message; their origins are of the same node.
    pub also: Vec<(TopicName, Origin)>,
    /// Its place in the log, in the placed form.
    pub place: Option<LogPlace>,
}

impl Envelope {
    /// The bare form of a message that is handed over.
    #[must_use]
    pub fn encode(outgoing: &Outgoing) -> Bytes {
        Self::encode_behind(&[], outgoing)
    }

    /// The placed form, or the bare one where there is no place.
    #[must_use]
    pub fn encode_at(outgoing: &Outgoing, place: Option<LogPlace>) -> Bytes {
        let header = place.map(Self::place_header).unwrap_or_default();
        Self::encode_behind(header.as_bytes(), outgoing)
    }

    fn encode_behind(header: &[u8], outgoing: &Outgoing) -> Bytes {
        let message = &outgoing.message;
        let also = outgoing.also.iter().map(|(name, _)| name.as_str().len() + 24).sum::<usize>();
        let mut out = BytesMut::with_capacity(
            512 + also + message.except.as_ref().map_or(0, |except| except.len() * 8) + message.payload.len(),
        );
        out.put_slice(header);
        out.put_u8(VERSION);
        out.put_u8(kind_byte(message.payload.kind()));
        out.put_u8(flags(outgoing));
        out.put_u64(message.time_ms);
        out.put_u64(outgoing.origin.node.value());
        out.put_u64(outgoing.origin.stream);
        put_number(&mut out, outgoing.origin.seq);
        put_text(&mut out, message.topic.as_str());
        for label in [&message.event, &message.key, &message.message_id].into_iter().flatten() {
            put_text(&mut out, label);
        }
        if let Some(publisher) = &message.publisher {
            out.put_u64(publisher.client.value());
            if let Some(user) = &publisher.user {
                put_text(&mut out, user);
            }
        }
        if let Some(except) = &message.except {
            put_number(&mut out, except.len() as u64);
            except.iter().for_each(|client| out.put_u64(client.value()));
        }
        if !outgoing.also.is_empty() {
            put_number(&mut out, outgoing.also.len() as u64);
            for (name, origin) in &outgoing.also {
                put_text(&mut out, name.as_str());
                out.put_u64(origin.stream);
                put_number(&mut out, origin.seq);
            }
        }
        out.put_slice(message.payload.bytes());
        out.freeze()
    }

    /// What stands before the bare form in the placed one.
    #[must_use]
    pub fn place_header(place: LogPlace) -> String {
        let mut header = String::with_capacity(64);
        let Position { epoch, offset } = place.position;
        let _ = write!(header, "{}:{offset}:{};", epoch.value(), place.prev);
        header
    }

    /// Reads either form. The payload is a part of `bytes`, not a copy.
    ///
    /// # Errors
    ///
    /// What keeps the bytes from being an envelope. A backend that reads such bytes
    /// from where messages come from logs it, without the bytes, and says
    /// [`Ingress::lost`](super::Ingress::lost): it may be a message of a newer version.
    pub fn decode(bytes: Bytes) -> Result<Self, EnvelopeError> {
        let mut reader = Reader::new(bytes);
        let place = if reader.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            let epoch = Epoch::new(reader.decimal(b':')?);
            let position = Position::new(epoch, reader.decimal(b':')?);
            Some(LogPlace { position, prev: reader.decimal(b';')? })
        } else {
            None
        };
        if place.is_some_and(|place| place.prev >= place.position.offset) {
            return Err(EnvelopeError::Place);
        }
        Self::decode_bare(reader, place)
    }

    fn decode_bare(mut reader: Reader, place: Option<LogPlace>) -> Result<Self, EnvelopeError> {
        match reader.u8()? {
            VERSION => {}
            found => return Err(EnvelopeError::Version { found }),
        }
        let kind = kind(reader.u8()?)?;
        let flags = reader.u8()?;
        let has = |flag| flags & flag != 0;
        if flags & 0x80 != 0 || (has(HAS_USER) && !has(HAS_CLIENT)) {
            return Err(EnvelopeError::Flags { found: flags });
        }
        let time_ms = reader.u64()?;
        let node = NodeId::new(reader.u64()?);
        let origin = Origin { node, stream: reader.u64()?, seq: reader.number()? };
        let topic = reader.topic()?;
        let event = if has(HAS_EVENT) { Some(reader.text("event")?) } else { None };
        let key = if has(HAS_KEY) { Some(reader.text("key")?) } else { None };
        let message_id = if has(HAS_ID) { Some(reader.text("message_id")?) } else { None };
        let publisher = if has(HAS_CLIENT) {
            let client = ClientId::new(reader.u64()?);
            let user = if has(HAS_USER) { Some(reader.text("user")?) } else { None };
            Some(Publisher { client, user })
        } else {
            None
        };
        let except = if has(HAS_EXCEPT) {
            let count = reader.count(8)?;
            let clients = (0..count).map(|_| reader.u64().map(ClientId::new));
            Some(clients.collect::<Result<Arc<[_]>, _>>()?)
        } else {
            None
        };
        let mut also = Vec::new();
        if has(HAS_ALSO) {
            // A name of one byte with its length, stream and number.
            for _ in 0..reader.count(11)? {
                let name = reader.topic()?;
                also.push((name, Origin { node, stream: reader.u64()?, seq: reader.number()? }));
            }
        }
        let payload = Payload::from_parts(kind, reader.rest())?;
        let message = MessageParts { topic, payload, event, key, message_id, publisher, time_ms, except };
        Ok(Self { message, origin, also, place })
    }

    /// The same with its place in the log.
    #[must_use]
    pub fn at(mut self, place: LogPlace) -> Self {
        self.place = Some(place);
        self
    }

    /// Whether the message is for a topic: its own, or one of the further ones.
    #[must_use]
    pub fn is_for(&self, topic: &TopicName) -> bool {
        self.message.topic == *topic || self.also.iter().any(|(name, _)| name == topic)
    }

    /// What is given to [`Ingress::deliver`](super::Ingress::deliver): a logged message where
    /// there is a place, else an ephemeral one.
    #[must_use]
    pub fn into_incoming(self) -> Incoming {
        Incoming { message: self.message, log: self.place, origin: Some(self.origin), also: self.also }
    }

    /// A message of a [`Page`](super::Page): one with a place.
    ///
    /// # Errors
    ///
    /// [`EnvelopeError::Place`] without a place.
    pub fn into_message(self) -> Result<Arc<Message>, EnvelopeError> {
        let place = self.place.ok_or(EnvelopeError::Place)?;
        Ok(Arc::new(Message::logged(self.message, place)))
    }
}

fn flags(outgoing: &Outgoing) -> u8 {
    let message = &outgoing.message;
    let publisher = message.publisher.as_ref();
    let present = [
        (HAS_EVENT, message.event.is_some()),
        (HAS_KEY, message.key.is_some()),
        (HAS_ID, message.message_id.is_some()),
        (HAS_CLIENT, publisher.is_some()),
        (HAS_USER, publisher.is_some_and(|publisher| publisher.user.is_some())),
        (HAS_EXCEPT, message.except.is_some()),
        (HAS_ALSO, !outgoing.also.is_empty()),
    ];
    present.into_iter().filter(|(_, is)| *is).fold(0, |flags, (flag, _)| flags | flag)
}

fn kind_byte(kind: PayloadKind) -> u8 {
    match kind {
        PayloadKind::Json => 0,
        PayloadKind::Text => 1,
        PayloadKind::Binary => 2,
    }
}

fn kind(byte: u8) -> Result<PayloadKind, EnvelopeError> {
    match byte {
        0 => Ok(PayloadKind::Json),
        1 => Ok(PayloadKind::Text),
        2 => Ok(PayloadKind::Binary),
        found => Err(EnvelopeError::Kind { found }),
    }
}

fn put_number(out: &mut BytesMut, mut number: u64) {
    while number >= 0x80 {
        out.put_u8(number as u8 | 0x80);
        number >>= 7;
    }
    out.put_u8(number as u8);
}

fn put_text(out: &mut BytesMut, text: &str) {
    put_number(out, text.len() as u64);
    out.put_slice(text.as_bytes());
}
