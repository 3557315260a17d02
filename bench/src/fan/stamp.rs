//! The mark by which a delivery is known: `FAN:` and the message's number as eight hexadecimal digits at the
//! start of each payload, the rest filled with `x`. Nothing in it needs escaping in JSON.

use memchr::memmem;

const MARK: &[u8; 4] = b"FAN:";
const DIGITS: usize = 8;

/// Bytes of a stamp: the smallest payload.
pub(super) const SIZE: usize = MARK.len() + DIGITS;

/// A payload of `size` bytes that carries the stamp of message `number`.
pub(super) fn write(payload: &mut Vec<u8>, number: u32, size: usize) {
    payload.clear();
    payload.extend_from_slice(MARK);
    for digit in (0..DIGITS).rev() {
        let nibble = (number >> (4 * digit)) & 0xf;
        payload.push(b"0123456789abcdef"[nibble as usize]);
    }
    payload.resize(size, b'x');
}

/// Finds stamps in received messages.
pub(super) struct Reader {
    finder: memmem::Finder<'static>,
    /// Distance of the last stamp from its message's end. Payloads are of one size and envelopes end
    /// alike, so the next stamp is nearly always there, and a search is not needed.
    from_end: usize,
}

impl Reader {
    pub(super) fn new() -> Self {
        Self { finder: memmem::Finder::new(MARK), from_end: 0 }
    }

    /// Where in `message` the first stamp is, and the number that it holds.
    pub(super) fn find(&mut self, message: &[u8]) -> Option<(usize, u32)> {
        let guess = message.len().checked_sub(self.from_end).filter(|at| message[*at..].starts_with(MARK));
        let at = match guess {
            Some(at) => at,
            None => {
                let at = self.finder.find(message)?;
                self.from_end = message.len() - at;
                at
            }
        };
        Some((at, number(message.get(at + MARK.len()..at + SIZE)?)?))
    }
}

fn number(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0u32, |number, digit| Some(number << 4 | (*digit as char).to_digit(16)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_are_found_in_any_envelope() {
        let mut reader = Reader::new();
        let mut payload = Vec::new();
        for number in [0, 1, 0xdead_beef, u32::MAX] {
            write(&mut payload, number, 64);
            assert_eq!(payload.len(), 64);
            assert_eq!(reader.find(&payload), Some((0, number)));
            let text = String::from_utf8(payload.clone()).unwrap();
            for _ in 0..2 {
                let message = format!(r#"{{"topic":"t","data":"{text}"}}"#);
                assert_eq!(reader.find(message.as_bytes()), Some((21, number)));
            }
        }
    }

    #[test]
    fn sizes_may_change() {
        let mut reader = Reader::new();
        let mut payload = Vec::new();
        for (number, size) in [(1, 500), (2, SIZE), (3, 20), (4, 500)] {
            write(&mut payload, number, size);
            assert_eq!(reader.find(&payload), Some((0, number)));
        }
    }

    #[test]
    fn what_is_no_stamp() {
        let mut reader = Reader::new();
        let mut payload = Vec::new();
        write(&mut payload, 7, 64);
        assert_eq!(reader.find(&payload), Some((0, 7)));
        for other in [&b""[..], b"FAN:", b"FAN:0000000", b"FAN:0000000g", br#"{"id":1,"ok":{}}"#] {
            assert_eq!(reader.find(other), None, "{other:?}");
        }
    }
}
