//! The names of connections and commands.

use std::{fmt, str::FromStr};

/// The public name of one connection, unique in the cluster: 13 characters of base 32 as text.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientId(u64);

const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

impl ClientId {
    /// A new name. It is public, and no secret; it is drawn from the system's randomness, so that no two nodes draw the same.
    #[must_use]
    pub fn random() -> Self {
        Self(crate::random::name())
    }

    /// A name from its value, as a backend carries it.
    #[must_use]
    pub const fn new(value: u64) -> Self {
        Self(value)
    }

    /// The value.
    #[must_use]
    pub const fn value(self) -> u64 {
        self.0
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0; 13];
        for (i, digit) in text.iter_mut().enumerate() {
            *digit = DIGITS[(self.0 >> (60 - 5 * i)) as usize & 31];
        }
        f.write_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

impl fmt::Debug for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for ClientId {
    type Err = InvalidClientId;

    fn from_str(text: &str) -> Result<Self, InvalidClientId> {
        if text.len() != 13 {
            return Err(InvalidClientId);
        }
        let mut value: u64 = 0;
        for byte in text.bytes() {
            let digit = DIGITS.iter().position(|d| *d == byte).ok_or(InvalidClientId)?;
            if value >> 59 != 0 {
                return Err(InvalidClientId);
            }
            value = value << 5 | digit as u64;
        }
        Ok(Self(value))
    }
}

/// The text is no client's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no client has this name: it is 13 characters long")]
pub struct InvalidClientId;

/// The client's own number of a command, 1..=2^53-1, returned in the reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RequestId(u64);

impl RequestId {
    /// The largest number: what a JavaScript number holds exactly.
    pub const MAX: u64 = (1 << 53) - 1;

    /// A number, if it is in range.
    #[must_use]
    pub const fn new(value: u64) -> Option<Self> {
        if value >= 1 && value <= Self::MAX { Some(Self(value)) } else { None }
    }

    /// The number.
    #[must_use]
    pub const fn value(self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_id_survives_its_text() {
        for value in [0, 1, 31, 32, u64::MAX, 1 << 63, 0x1234_5678_9abc_def0] {
            let id = ClientId::new(value);
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        for text in ["", "0", "zzzzzzzzzzzzz", "000000000000u", "00000000000000"] {
            assert_eq!(text.parse::<ClientId>(), Err(InvalidClientId), "{text}");
        }
    }
}
