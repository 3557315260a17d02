//! A client's frame header (RFC 6455, section 5.2).

use super::ProtocolError;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opcode {
    /// A further fragment of the message before it.
    Continuation,
    /// A text message, or its first fragment.
    Text,
    /// A binary message, or its first fragment.
    Binary,
    /// The last frame of a side.
    Close,
    /// To be answered by a pong.
    Ping,
    /// The answer to a ping, or unasked.
    Pong,
}

impl Opcode {
    /// The four bits on the wire.
    pub(crate) fn bits(self) -> u8 {
        match self {
            Self::Continuation => 0x0,
            Self::Text => 0x1,
            Self::Binary => 0x2,
            Self::Close => 0x8,
            Self::Ping => 0x9,
            Self::Pong => 0xA,
        }
    }

    fn from_bits(bits: u8) -> Result<Self, ProtocolError> {
        Ok(match bits {
            0x0 => Self::Continuation,
            0x1 => Self::Text,
            0x2 => Self::Binary,
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xA => Self::Pong,
            other => return Err(ProtocolError::ReservedOpcode(other)),
        })
    }

    /// Close, ping or pong: at most 125 bytes, never fragmented, welcome between fragments.
    pub(super) fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// The header of a masked frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) opcode: Opcode,
    /// Whether this frame ends its message.
    pub(super) fin: bool,
    pub(super) key: [u8; 4],
    /// Payload length in bytes, below 2^63.
    pub(super) length: u64,
    /// Bytes of the header itself, 6 to 14.
    pub(super) size: usize,
}

impl Header {
    /// The longest header of a masked frame, in bytes.
    pub(super) const MAX: usize = 14;

    /// Reads a header from the front of `bytes`; `None` when it is not all there.
    ///
    /// What is wrong with the bytes that are there is an error at once, also when more are missing.
    pub(super) fn parse(bytes: &[u8]) -> Result<Option<Self>, ProtocolError> {
        let Some(&first) = bytes.first() else { return Ok(None) };
        if first & 0x70 != 0 {
            return Err(ProtocolError::ReservedBits);
        }
        let opcode = Opcode::from_bits(first & 0x0F)?;
        let fin = first & 0x80 != 0;
        if opcode.is_control() && !fin {
            return Err(ProtocolError::FragmentedControl);
        }

        let Some(&second) = bytes.get(1) else { return Ok(None) };
        if second & 0x80 == 0 {
            return Err(ProtocolError::Unmasked);
        }
        let short = second & 0x7F;
        if opcode.is_control() && short > 125 {
            return Err(ProtocolError::LongControl);
        }

        let (length, at) = match short {
            126 => {
                let Some(field) = bytes.get(2..).and_then(|rest| rest.first_chunk()) else { return Ok(None) };
                let length = u64::from(u16::from_be_bytes(*field));
                if length < 126 {
                    return Err(ProtocolError::LongLength);
                }
                (length, 4)
            }
            127 => {
                let Some(field) = bytes.get(2..).and_then(|rest| rest.first_chunk()) else { return Ok(None) };
                let length = u64::from_be_bytes(*field);
                if length >> 63 != 0 {
                    return Err(ProtocolError::HugeLength);
                }
                if length <= u64::from(u16::MAX) {
                    return Err(ProtocolError::LongLength);
                }
                (length, 10)
            }
            length => (u64::from(length), 2),
        };
        let key = bytes.get(at..).and_then(|rest| rest.first_chunk());
        Ok(key.map(|&key| Self { opcode, fin, key, length, size: at + 4 }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn length_of(bytes: &[u8]) -> Result<Option<u64>, ProtocolError> {
        Header::parse(bytes).map(|header| header.map(|header| header.length))
    }

    #[test]
    fn reads_each_form_of_length() {
        assert_eq!(length_of(&[0x82, 0x80, 1, 2, 3, 4]), Ok(Some(0)));
        assert_eq!(length_of(&[0x82, 0xFD, 1, 2, 3, 4]), Ok(Some(125)));
        assert_eq!(length_of(&[0x82, 0xFE, 0, 126, 1, 2, 3, 4]), Ok(Some(126)));
        assert_eq!(length_of(&[0x82, 0xFE, 0xFF, 0xFF, 1, 2, 3, 4]), Ok(Some(65_535)));
        assert_eq!(length_of(&[0x82, 0xFF, 0, 0, 0, 0, 0, 1, 0, 0, 1, 2, 3, 4]), Ok(Some(65_536)));
        let longest = [0x82, 0xFF, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1, 2, 3, 4];
        assert_eq!(length_of(&longest), Ok(Some(u64::MAX >> 1)));
    }

    #[test]
    fn refuses_lengths_that_are_not_in_their_shortest_form() {
        assert_eq!(length_of(&[0x82, 0xFE, 0, 125]), Err(ProtocolError::LongLength));
        assert_eq!(length_of(&[0x82, 0xFF, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF]), Err(ProtocolError::LongLength));
    }

    #[test]
    fn refuses_a_length_of_2_to_the_63_before_the_key_has_come() {
        assert_eq!(length_of(&[0x82, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 0]), Err(ProtocolError::HugeLength));
    }

    #[test]
    fn each_fault_is_found_at_the_byte_that_shows_it() {
        for bits in [0x40, 0x20, 0x10] {
            assert_eq!(Header::parse(&[0x81 | bits]), Err(ProtocolError::ReservedBits));
        }
        for opcode in [0x3, 0x4, 0x5, 0x6, 0x7, 0xB, 0xC, 0xD, 0xE, 0xF] {
            assert_eq!(Header::parse(&[0x80 | opcode]), Err(ProtocolError::ReservedOpcode(opcode)));
        }
        for control in [0x08, 0x09, 0x0A] {
            assert_eq!(Header::parse(&[control]), Err(ProtocolError::FragmentedControl));
            assert_eq!(Header::parse(&[0x80 | control, 0xFE]), Err(ProtocolError::LongControl));
        }
        assert_eq!(Header::parse(&[0x81, 0x05]), Err(ProtocolError::Unmasked));
    }

    #[test]
    fn a_header_in_part_is_no_error() {
        let whole = [0x82, 0xFF, 0, 0, 0, 0, 0, 1, 0, 0, 1, 2, 3, 4];
        for end in 0..whole.len() {
            assert_eq!(Header::parse(&whole[..end]), Ok(None), "{end} bytes");
        }
        let header = Header::parse(&whole).unwrap().unwrap();
        assert_eq!((header.size, header.key), (Header::MAX, [1, 2, 3, 4]));
    }
}
