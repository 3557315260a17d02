//! The name that each message carries, and the payload that goes with it.

use std::{fmt, str::FromStr};

use fanfare::message::Payload;

/// One message: its publisher's stream, which is of one topic, and its number there, from 1. It travels as the event's name, so that a
/// payload can be of any size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Uid {
    pub(super) stream: u32,
    pub(super) n: u32,
}

impl Uid {
    /// The payload of so many bytes: its kind and each byte follow from the name.
    pub(super) fn payload(self, size: usize) -> Payload {
        let letter = |at: usize| b'a' + ((self.stream as usize + self.n as usize * 7 + at) % 26) as u8;
        let bytes: Vec<u8> = (0..size).map(letter).collect();
        match self.n % 3 {
            0 => Payload::binary(bytes),
            // What is JSON is a string.
            1 if size >= 2 => {
                let mut text = String::from_utf8(bytes).unwrap_or_default();
                text.replace_range(..1, "\"");
                text.replace_range(size - 1.., "\"");
                Payload::parsed_json(text).unwrap_or_else(|_| Payload::binary(Vec::new()))
            }
            _ => Payload::text(String::from_utf8(bytes).unwrap_or_default()),
        }
    }

    /// Whether a payload is the one that goes with this name.
    pub(super) fn fits(self, payload: &Payload) -> bool {
        *payload == self.payload(payload.len())
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.stream, self.n)
    }
}

impl FromStr for Uid {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (stream, n) = text.split_once('.').ok_or(())?;
        Ok(Self { stream: stream.parse().map_err(|_| ())?, n: n.parse().map_err(|_| ())? })
    }
}
