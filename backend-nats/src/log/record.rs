//! What a stream holds: messages, and marks.
//!
//! ```text
//! version   u8 = 0xF9
//! kind      u8          0 a message, 1 a mark that stands for an offset, 2 a mark that stands for itself
//! messages  u32         what the topic retains
//! bytes     u64
//! ttl       u64         milliseconds
//! keys      u32
//! offset    u64         of kind 1
//! message   the rest    of kind 0: an envelope
//! ```
//!
//! All numbers are big-endian.
//!
//! A stream forgets: what is older than its time, and what is more than it holds of a topic. A mark keeps known where a log without
//! messages has got to: nothing was written between the offset that it stands for and its own. It is no message, and
//! nobody is given it.

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use fanfare_core::backend::Retention;

const VERSION: u8 = 0xF9;

const MESSAGE: u8 = 0;
const MARK: u8 = 1;
const FIRST_MARK: u8 = 2;

/// An entry of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) keep: Keep,
    pub(crate) mark: Option<Mark>,
    /// The envelope; empty in a mark.
    pub(crate) message: Bytes,
}

/// What a topic retains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Keep {
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    pub(crate) ttl: Duration,
    pub(crate) keys: usize,
}

/// Says that nothing was written between an offset and this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    After(u64),
    First,
}

impl Mark {
    /// The offset that a mark stands for.
    pub(crate) fn stands_for(self, own: u64) -> u64 {
        match self {
            Self::After(offset) => offset,
            Self::First => own,
        }
    }
}

impl Keep {
    /// What a topic retains of which nothing is known.
    pub(crate) const EVERYTHING: Self =
        Self { messages: u64::MAX, bytes: u64::MAX, ttl: Duration::MAX, keys: usize::MAX };

    pub(crate) fn of(retention: &Retention) -> Self {
        let history = retention.history;
        Self {
            messages: history.messages as u64,
            bytes: history.bytes as u64,
            ttl: history.ttl,
            keys: retention.latest_keys,
        }
    }
}

impl Record {
    pub(crate) fn encode(keep: Keep, mark: Option<Mark>, message: &[u8]) -> Bytes {
        let mut out = BytesMut::with_capacity(34 + message.len());
        out.put_u8(VERSION);
        out.put_u8(match mark {
            None => MESSAGE,
            Some(Mark::After(_)) => MARK,
            Some(Mark::First) => FIRST_MARK,
        });
        out.put_u32(u32::try_from(keep.messages).unwrap_or(u32::MAX));
        out.put_u64(keep.bytes);
        out.put_u64(u64::try_from(keep.ttl.as_millis()).unwrap_or(u64::MAX));
        out.put_u32(u32::try_from(keep.keys).unwrap_or(u32::MAX));
        if let Some(Mark::After(offset)) = mark {
            out.put_u64(offset);
        }
        out.put_slice(message);
        out.freeze()
    }

    /// `None` for what is none of ours.
    pub(crate) fn decode(mut bytes: Bytes) -> Option<Self> {
        let (version, kind) = (bytes.try_get_u8().ok()?, bytes.try_get_u8().ok()?);
        let messages = bytes.try_get_u32().ok()?;
        let (size, ttl) = (bytes.try_get_u64().ok()?, bytes.try_get_u64().ok()?);
        let keys = bytes.try_get_u32().ok()?;
        let keep = Keep {
            messages: u64::from(messages).max(1),
            bytes: size,
            ttl: Duration::from_millis(ttl),
            keys: keys as usize,
        };
        let mark = match kind {
            MESSAGE => None,
            MARK => Some(Mark::After(bytes.try_get_u64().ok()?)),
            FIRST_MARK => Some(Mark::First),
            _ => return None,
        };
        (version == VERSION).then_some(Self { keep, mark, message: bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_survives_its_bytes() {
        let keep = Keep { messages: 50, bytes: 1 << 40, ttl: Duration::from_millis(1500), keys: 3 };
        for (mark, message) in
            [(None, &b"envelope"[..]), (Some(Mark::After(7)), b""), (Some(Mark::First), b"")]
        {
            let bytes = Record::encode(keep, mark, message);
            let record = Record { keep, mark, message: Bytes::copy_from_slice(message) };
            assert_eq!(Record::decode(bytes.clone()), Some(record));
            let head = bytes.len() - message.len();
            for end in 0..head {
                assert_eq!(Record::decode(bytes.slice(..end)), None);
            }
        }
        assert_eq!(Record::decode(Bytes::from_static(b"somebody else's bytes, quite a lot of them")), None);
        assert_eq!((Mark::After(3).stands_for(9), Mark::First.stands_for(9)), (3, 9));
    }
}
