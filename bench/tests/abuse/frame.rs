//! Frames by hand (RFC 6455, section 5.2).

pub(crate) const TEXT: u8 = 0x81;
pub(crate) const BINARY: u8 = 0x82;
pub(crate) const CLOSE: u8 = 0x88;
pub(crate) const PING: u8 = 0x89;
pub(crate) const PONG: u8 = 0x8A;
/// A fragment that others follow.
pub(crate) const FIRST_TEXT: u8 = 0x01;
pub(crate) const FIRST_BINARY: u8 = 0x02;
pub(crate) const MORE: u8 = 0x00;
pub(crate) const LAST: u8 = 0x80;

const KEY: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

/// A client's frame; `first` is its first byte.
pub(crate) fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = header(first, payload.len() as u64);
    frame.extend(payload.iter().zip(KEY.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

/// The header of a masked frame whose payload may never come.
pub(crate) fn header(first: u8, length: u64) -> Vec<u8> {
    let mut header = vec![first];
    match length {
        0..=125 => header.push(0x80 | length as u8),
        126..=0xFFFF => {
            header.push(0xFE);
            header.extend((length as u16).to_be_bytes());
        }
        _ => {
            header.push(0xFF);
            header.extend(length.to_be_bytes());
        }
    }
    header.extend(KEY);
    header
}

/// What a server sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    Text(String),
    Binary(Vec<u8>),
    /// `None`: without a code.
    Close(Option<u16>),
    Ping,
    Pong(Vec<u8>),
}

impl Frame {
    /// The frame at the front of `bytes` and its length, when it is all there. A server that sends anything but whole
    /// unmasked messages fails the test.
    pub(crate) fn parse(bytes: &[u8]) -> Option<(Self, usize)> {
        let (&first, &short) = (bytes.first()?, bytes.get(1)?);
        let (length, at) = match short {
            0..=125 => (usize::from(short), 2),
            126 => (usize::from(u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?)), 4),
            127 => (usize::try_from(u64::from_be_bytes(*bytes.get(2..)?.first_chunk()?)).unwrap(), 10),
            _ => panic!("a masked frame from the server"),
        };
        let payload = bytes.get(at..at + length)?;
        let frame = match first {
            TEXT => Self::Text(String::from_utf8(payload.to_vec()).unwrap()),
            BINARY => Self::Binary(payload.to_vec()),
            CLOSE => Self::Close(payload.first_chunk().map(|code| u16::from_be_bytes(*code))),
            PING => Self::Ping,
            PONG => Self::Pong(payload.to_vec()),
            other => panic!("a frame that begins with {other:#x}"),
        };
        Some((frame, at + length))
    }
}
