//! JSON, written straight into the output.

use bytes::{BufMut, BytesMut};
use fanfare_core::{message::Position, session::ClientId};

/// An object that is being written: it puts the commas. Dropping it without [`Object::end`] leaves it open.
pub(super) struct Object<'a> {
    out: &'a mut BytesMut,
    empty: bool,
}

impl<'a> Object<'a> {
    pub(super) fn begin(out: &'a mut BytesMut) -> Self {
        out.put_u8(b'{');
        Self { out, empty: true }
    }

    pub(super) fn end(self) {
        self.out.put_u8(b'}');
    }

    /// Writes a key, which must need no escapes, and gives the place of its value.
    pub(super) fn key(&mut self, key: &'static str) -> &mut BytesMut {
        self.out.reserve(key.len() + 4);
        self.out.put_slice(if self.empty { b"\"" } else { b",\"" });
        self.empty = false;
        self.out.put_slice(key.as_bytes());
        self.out.put_slice(b"\":");
        self.out
    }

    pub(super) fn object(&mut self, key: &'static str) -> Object<'_> {
        Object::begin(self.key(key))
    }

    pub(super) fn text(&mut self, key: &'static str, value: &str) {
        text(value, self.key(key));
    }

    pub(super) fn optional_text(&mut self, key: &'static str, value: Option<&str>) {
        if let Some(value) = value {
            self.text(key, value);
        }
    }

    pub(super) fn number(&mut self, key: &'static str, value: u64) {
        number(value, self.key(key));
    }

    pub(super) fn optional_number(&mut self, key: &'static str, value: Option<u64>) {
        if let Some(value) = value {
            self.number(key, value);
        }
    }

    pub(super) fn flag(&mut self, key: &'static str, value: bool) {
        self.key(key).put_slice(if value { b"true" } else { b"false" });
    }

    pub(super) fn position(&mut self, key: &'static str, value: Option<Position>) {
        if let Some(value) = value {
            position(value, self.key(key));
        }
    }

    pub(super) fn client(&mut self, key: &'static str, value: ClientId) {
        // Base 32 needs no escapes.
        quoted(value, self.key(key));
    }

    pub(super) fn milliseconds(&mut self, key: &'static str, value: std::time::Duration) {
        self.number(key, u64::try_from(value.as_millis()).unwrap_or(u64::MAX));
    }
}

/// Writes a string.
pub(super) fn text(value: &str, out: &mut BytesMut) {
    out.reserve(value.len() + 2);
    out.put_u8(b'"');
    let mut rest = value.as_bytes();
    while let Some(at) = rest.iter().position(|byte| needs_escape(*byte)) {
        let (plain, from) = rest.split_at(at);
        out.put_slice(plain);
        if let Some((byte, after)) = from.split_first() {
            escape(*byte, out);
            rest = after;
        }
    }
    out.put_slice(rest);
    out.put_u8(b'"');
}

/// RFC 8259, section 7: quotation mark, reverse solidus and the control characters U+0000 to U+001F.
fn needs_escape(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

fn escape(byte: u8, out: &mut BytesMut) {
    let short = match byte {
        b'"' | b'\\' => byte,
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        0x08 => b'b',
        0x0c => b'f',
        _ => {
            let digit = |nibble: u8| if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 };
            out.put_slice(&[b'\\', b'u', b'0', b'0', digit(byte >> 4), digit(byte & 15)]);
            return;
        }
    };
    out.put_slice(&[b'\\', short]);
}

/// Writes a number.
pub(super) fn number(value: u64, out: &mut BytesMut) {
    out.put_slice(itoa::Buffer::new().format(value).as_bytes());
}

fn position(value: Position, out: &mut BytesMut) {
    // Base 36, a colon and decimal digits need no escapes.
    quoted(value, out);
}

/// Writes a string that needs no escapes.
pub(super) fn quoted(value: impl std::fmt::Display, out: &mut BytesMut) {
    use std::fmt::Write as _;
    // A `BytesMut` grows, so writing to it does not fail.
    let _ = write!(out, "\"{value}\"");
}
