//! A server's frames: final, unmasked (RFC 6455, section 5.1).

use bytes::{BufMut, BytesMut};

use super::Opcode;

/// The longest [`Header`], in bytes.
pub(crate) const MAX_HEADER: usize = 10;

/// The header of a final frame.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Header {
    bytes: [u8; MAX_HEADER],
    length: u8,
}

impl Header {
    /// The header for `length` bytes of payload, its length in the shortest form.
    pub(crate) fn new(opcode: Opcode, length: usize) -> Self {
        let mut bytes = [0; MAX_HEADER];
        bytes[0] = 0x80 | opcode.bits();
        let size = match length {
            0..=125 => {
                bytes[1] = length as u8;
                2
            }
            126..=0xFFFF => {
                bytes[1] = 126;
                bytes[2..4].copy_from_slice(&(length as u16).to_be_bytes());
                4
            }
            _ => {
                bytes[1] = 127;
                bytes[2..].copy_from_slice(&(length as u64).to_be_bytes());
                10
            }
        };
        Self { bytes, length: size }
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

/// Appends the header of a final frame with `length` bytes of payload.
fn header(opcode: Opcode, length: usize, out: &mut BytesMut) {
    out.put_slice(Header::new(opcode, length).as_slice());
}

/// Appends a whole frame.
pub(crate) fn frame(opcode: Opcode, payload: &[u8], out: &mut BytesMut) {
    out.reserve(MAX_HEADER + payload.len());
    header(opcode, payload.len(), out);
    out.put_slice(payload);
}

/// Appends a ping without payload.
pub(crate) fn ping(out: &mut BytesMut) {
    header(Opcode::Ping, 0, out);
}

/// Appends a close frame. The reason is cut, at a character, to the 123 bytes that it may have (section 5.5).
pub(crate) fn close(code: u16, reason: &str, out: &mut BytesMut) {
    let mut end = reason.len().min(123);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    let reason = &reason[..end];
    header(Opcode::Close, 2 + reason.len(), out);
    out.put_u16(code);
    out.put_slice(reason.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header_of(length: usize) -> Vec<u8> {
        let mut out = BytesMut::new();
        header(Opcode::Binary, length, &mut out);
        out.to_vec()
    }

    #[test]
    fn lengths_take_their_shortest_form() {
        assert_eq!(header_of(0), [0x82, 0]);
        assert_eq!(header_of(125), [0x82, 125]);
        assert_eq!(header_of(126), [0x82, 126, 0, 126]);
        assert_eq!(header_of(65_535), [0x82, 126, 0xFF, 0xFF]);
        assert_eq!(header_of(65_536), [0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
    }

    #[test]
    fn a_close_reason_is_cut_at_a_character() {
        let mut out = BytesMut::new();
        close(4000, &"é".repeat(100), &mut out);
        assert_eq!(&out[..4], [0x88, 124, 0x0F, 0xA0]);
        assert_eq!(std::str::from_utf8(&out[4..]), Ok("é".repeat(61).as_str()));
    }

    #[test]
    fn writes_the_examples_of_the_rfc() {
        // Section 5.7.
        let mut out = BytesMut::new();
        frame(Opcode::Text, b"Hello", &mut out);
        frame(Opcode::Pong, b"Hello", &mut out);
        ping(&mut out);
        assert_eq!(&out[..], b"\x81\x05Hello\x8a\x05Hello\x89\x00");
    }
}
