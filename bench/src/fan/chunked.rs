//! The chunked transfer coding (RFC 9112 section 7.1), taken off in place.

use std::ops::Range;

/// Digits of a chunk's size that are taken: a longer one is no chunk of an event stream.
const MAX_DIGITS: u8 = 8;

/// How far a chunked body is. Chunks may be cut anywhere by reads, and what they carry by chunks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Chunks(State);

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    Size { value: usize, digits: u8 },
    Extension { value: usize },
    SizeEnd { value: usize },
    Data { left: usize },
    DataEnd,
    DataEndLine,
    TrailerStart,
    Trailer,
    LastEnd,
    Over,
}

/// What was made of some bytes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Decoded {
    /// Where the decoded bytes are, those that were carried first among them.
    pub(super) data: Range<usize>,
    /// Where the body ended; the end of the bytes while it goes on.
    pub(super) used: usize,
}

impl Chunks {
    pub(super) fn new() -> Self {
        Self(State::Size { value: 0, digits: 0 })
    }

    /// Whether the last chunk was read: nothing follows in this body.
    pub(super) fn is_over(self) -> bool {
        self.0 == State::Over
    }

    /// Decodes what is in `bytes` behind `carried`, which is decoded already, so that it follows on it.
    ///
    /// With nothing carried, the first chunk stays where it is.
    pub(super) fn decode(
        &mut self,
        bytes: &mut [u8],
        carried: Range<usize>,
    ) -> Result<Decoded, &'static str> {
        let (mut data, mut at) = (carried.clone(), carried.end);
        while at < bytes.len() && !self.is_over() {
            let State::Data { left } = self.0 else {
                self.0 = self.0.after(bytes[at])?;
                at += 1;
                continue;
            };
            let take = left.min(bytes.len() - at);
            if data.is_empty() {
                data = at..at;
            }
            if data.end != at {
                bytes.copy_within(at..at + take, data.end);
            }
            data.end += take;
            at += take;
            self.0 = if left == take { State::DataEnd } else { State::Data { left: left - take } };
        }
        Ok(Decoded { data, used: at })
    }
}

impl State {
    /// The state after one byte that is no data.
    fn after(self, byte: u8) -> Result<Self, &'static str> {
        Ok(match (self, byte) {
            (Self::Size { value, digits }, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                if digits == MAX_DIGITS {
                    return Err("a chunk is too large");
                }
                let digit = (byte as char).to_digit(16).unwrap_or_default() as usize;
                Self::Size { value: value << 4 | digit, digits: digits + 1 }
            }
            (Self::Size { digits: 0, .. }, _) => return Err("a chunk has no size"),
            (Self::Size { value, .. } | Self::Extension { value }, b'\r') => Self::SizeEnd { value },
            (Self::Size { value, .. }, b';' | b' ' | b'\t') => Self::Extension { value },
            (Self::Extension { value }, _) => Self::Extension { value },
            (Self::SizeEnd { value: 0 }, b'\n') => Self::TrailerStart,
            (Self::SizeEnd { value }, b'\n') => Self::Data { left: value },
            (Self::DataEnd, b'\r') => Self::DataEndLine,
            (Self::DataEndLine, b'\n') => Self::Size { value: 0, digits: 0 },
            (Self::TrailerStart, b'\r') => Self::LastEnd,
            (Self::Trailer, b'\n') => Self::TrailerStart,
            (Self::TrailerStart | Self::Trailer, _) => Self::Trailer,
            (Self::LastEnd, b'\n') => Self::Over,
            (Self::Size { .. } | Self::SizeEnd { .. }, _) => return Err("a chunk's size is broken"),
            _ => return Err("a chunk does not end where it should"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] =
        b"5\r\nhello\r\n1; name=\"x\"\r\n \r\n00A\r\n0123456789\r\n0\r\nExpires: never\r\n\r\n";
    const TEXT: &[u8] = b"hello 0123456789";

    /// Decodes `BODY` in reads of these sizes, with all that was decoded carried along.
    fn decode(cuts: &[usize]) -> Vec<u8> {
        let (mut chunks, mut carried, mut rest) = (Chunks::new(), Vec::new(), BODY);
        for cut in cuts.iter().copied().chain([BODY.len()]) {
            let (now, later) = rest.split_at(cut.min(rest.len()));
            rest = later;
            let held = carried.len();
            let mut bytes = [&carried, now].concat();
            let decoded = chunks.decode(&mut bytes, 0..held).unwrap();
            assert_eq!(decoded.used, bytes.len());
            carried = bytes[decoded.data].to_vec();
        }
        assert!(chunks.is_over());
        carried
    }

    #[test]
    fn wherever_a_read_cuts_it() {
        assert_eq!(decode(&[]), TEXT);
        assert_eq!(decode(&vec![1; BODY.len()]), TEXT);
        for first in 0..BODY.len() {
            for second in 0..BODY.len() - first {
                assert_eq!(decode(&[first, second]), TEXT, "{first}, {second}");
            }
        }
    }

    #[test]
    fn the_first_chunk_stays_where_it_is() {
        let mut bytes = BODY.to_vec();
        let decoded = Chunks::new().decode(&mut bytes, 0..0).unwrap();
        assert_eq!(decoded.data, 3..3 + TEXT.len());
        let mut unfinished = b"xx5\r\nhel".to_vec();
        assert_eq!(Chunks::new().decode(&mut unfinished, 2..2).unwrap().data, 5..8);
    }

    #[test]
    fn what_follows_the_last_chunk_is_not_touched() {
        let mut bytes = [BODY, b"HTTP/1.1"].concat();
        let decoded = Chunks::new().decode(&mut bytes, 0..0).unwrap();
        assert_eq!((decoded.used, &bytes[decoded.used..]), (BODY.len(), &b"HTTP/1.1"[..]));
    }

    #[test]
    fn what_is_no_chunk() {
        for wrong in [
            &b"x\r\n"[..],
            b"\r\n",
            b"5x\r\n",
            b"5\n",
            b"5\r\r",
            b"1\r\nab",
            b"1\r\na\rb",
            b"123456789\r\n",
            b"0\r\n\rx",
        ] {
            let decoded = Chunks::new().decode(&mut wrong.to_vec(), 0..0);
            assert!(decoded.is_err(), "{}: {decoded:?}", wrong.escape_ascii());
        }
    }
}
