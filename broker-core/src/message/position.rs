//! Where a message stands in the log of its topic.

use std::{cmp::Ordering, fmt, str::FromStr};

use thiserror::Error;

/// The identity of a topic's log. A new epoch means that the log was lost or
/// replaced: offsets of different epochs do not compare.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Epoch(u64);

impl Epoch {
    /// An epoch of a given value, as a backend derives it from its log's identity.
    #[must_use]
    pub const fn new(value: u64) -> Self {
        Self(value)
    }

    /// A new epoch that no earlier log has had, with a probability of 1 - 2^-48.
    #[must_use]
    pub fn random() -> Self {
        Self((crate::random::name() >> 16).max(1))
    }

    /// The value.
    #[must_use]
    pub const fn value(self) -> u64 {
        self.0
    }
}

/// The position of a message: `(epoch, offset)` in the log of its topic.
///
/// As text it is an opaque cursor (`k3f9:42`), the same in WebSocket frames and
/// in SSE's `id:`. Offsets grow and may be sparse. Positions of one epoch
/// compare; of different epochs they do not ([`PartialOrd`] says `None`).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Position {
    /// The log's identity.
    pub epoch: Epoch,
    /// The place in the log; the first message has an offset above 0.
    pub offset: u64,
}

impl Position {
    /// A position from its parts.
    #[must_use]
    pub const fn new(epoch: Epoch, offset: u64) -> Self {
        Self { epoch, offset }
    }
}

impl PartialOrd for Position {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (self.epoch == other.epoch).then(|| self.offset.cmp(&other.offset))
    }
}

impl fmt::Display for Epoch {
    /// The value in base 36.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut digits = [0; 13];
        let mut at = digits.len();
        let mut rest = self.0;
        loop {
            at -= 1;
            digits[at] = b"0123456789abcdefghijklmnopqrstuvwxyz"[(rest % 36) as usize];
            rest /= 36;
            if rest == 0 {
                break;
            }
        }
        f.write_str(std::str::from_utf8(&digits[at..]).unwrap_or_default())
    }
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.epoch, self.offset)
    }
}

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Position {
    type Err = InvalidPosition;

    fn from_str(cursor: &str) -> Result<Self, InvalidPosition> {
        let (epoch, offset) = cursor.split_once(':').ok_or(InvalidPosition)?;
        let plain = |s: &str, max: usize| {
            !s.is_empty() && s.len() <= max && s.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase())
        };
        if !plain(epoch, 13) || !plain(offset, 20) {
            return Err(InvalidPosition);
        }
        let epoch = u64::from_str_radix(epoch, 36).map_err(|_| InvalidPosition)?;
        let offset = offset.parse().map_err(|_| InvalidPosition)?;
        Ok(Self::new(Epoch(epoch), offset))
    }
}

/// The text is no cursor that this broker gave out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the cursor is malformed: pass it back as it was received")]
pub struct InvalidPosition;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_its_text() {
        for (epoch, offset) in [(0, 0), (1, 1), (35, 9), (36, 10), (u64::MAX, u64::MAX), (942_933, 42)] {
            let position = Position::new(Epoch::new(epoch), offset);
            assert_eq!(position.to_string().parse(), Ok(position));
        }
        assert_eq!(Position::new(Epoch::new(937_269), 42).to_string(), "k379:42");
    }

    #[test]
    fn what_is_no_cursor_is_refused() {
        for text in
            ["", ":", "a:", ":1", "a:1:2", "A:1", "a:+1", "a:-1", "+a:1", "a:18446744073709551616", "a b:1"]
        {
            assert_eq!(text.parse::<Position>(), Err(InvalidPosition), "{text}");
        }
    }

    #[test]
    fn positions_of_different_epochs_do_not_compare() {
        let a = Position::new(Epoch::new(1), 5);
        assert!(a < Position::new(Epoch::new(1), 6));
        assert_eq!(a.partial_cmp(&Position::new(Epoch::new(2), 6)), None);
    }
}
