//! One cursor for all topics of a stream.
//!
//! `id:` is the only thing that an `EventSource` hands back, so it has to say for each topic how far the reader is. The bytes
//! are, before base 64 (RFC 4648, section 5, without padding):
//!
//! ```text
//! 1        version
//! varint   how many epochs follow
//! varint   each epoch
//! for each topic, up to the end:
//!   6      a hash of its name
//!   varint which of the epochs
//!   varint the offset
//! ```
//!
//! Topics are found by their hash, so a reader may name them in another order, leave some out or add others: one that is not
//! in the cursor begins where the request says. Ephemeral topics and patterns have no position, and are not in it.

mod binary;
#[cfg(any(fuzzing, test))]
pub(crate) mod fuzz;
mod ids;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use fanfare_core::message::{Epoch, Position};
use thiserror::Error;

pub(crate) use self::ids::{Ids, Place};

/// A cursor as a reader hands it back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cursor {
    /// The position in the log of one topic, as on a WebSocket.
    Topic(Position),
    /// One of several topics.
    Topics(Vec<(Hash, Position)>),
}

/// A topic's name, in 48 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hash(u64);

/// Why a cursor is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum InvalidCursor {
    #[error("the cursor is malformed: pass it back as it was received")]
    Malformed,
    #[error("the cursor is longer than one of this stream can be")]
    TooLong { limit: usize, length: usize },
}

impl Cursor {
    /// Reads a cursor of a stream of at most so many topics.
    pub(crate) fn parse(text: &str, topics: usize) -> Result<Self, InvalidCursor> {
        let limit = longest(topics);
        if text.len() > limit {
            return Err(InvalidCursor::TooLong { limit, length: text.len() });
        }
        // There is no colon in base 64.
        if text.contains(':') {
            return text.parse().map(Self::Topic).map_err(|_| InvalidCursor::Malformed);
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| InvalidCursor::Malformed)?;
        binary::read(&bytes, topics).map(Self::Topics).ok_or(InvalidCursor::Malformed)
    }

    /// Where the reader is in a topic.
    pub(crate) fn position(&self, topic: &str) -> Option<Position> {
        match self {
            Self::Topic(position) => Some(*position),
            Self::Topics(places) => {
                let hash = Hash::of(topic);
                let mut found =
                    places.iter().filter(|(held, _)| *held == hash).map(|(_, position)| *position);
                let first = found.next()?;
                // Whose of several it is nobody knows: a place in no log is one before which all is missing.
                let unknown = Position::new(Epoch::new(0), 0);
                Some(if found.next().is_some() { unknown } else { first })
            }
        }
    }
}

impl Hash {
    /// FNV-1a of 64 bits, folded. The hash is part of what readers hand back, perhaps to another version of this program:
    /// it must not change.
    ///
    /// Names that meet in one hash do no harm beyond a gap that is told.
    pub(crate) fn of(topic: &str) -> Self {
        let hash = topic.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self((hash >> 48) ^ (hash & ((1 << 48) - 1)))
    }
}

/// The longest text of a cursor of so many topics, in bytes: 4/3 of a version, a count, and for each topic an epoch and an
/// entry with the longest numbers.
pub(crate) fn longest(topics: usize) -> usize {
    let bytes = 1 + binary::VARINT + topics * (binary::VARINT + binary::HASH + 2 + binary::VARINT);
    (bytes * 4).div_ceil(3).max(LONGEST_POSITION)
}

/// 13 digits of an epoch, a colon, 20 of an offset.
const LONGEST_POSITION: usize = 34;

#[cfg(test)]
mod tests;
