//! With what a client proves that a session is its own.

use std::{fmt, str::FromStr};

use super::ClientId;
use crate::backend::NodeId;

/// What a client shows in order to take up its session: who holds it, which it is, and 128 bits that nobody can guess, as 64
/// hexadecimal digits. Only the client has it: the server keeps a hash.
///
/// `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret {
    /// Who gave it out.
    pub(crate) node: NodeId,
    pub(crate) client: ClientId,
    pub(crate) key: [u8; KEY],
}

/// Bytes that nobody can guess.
const KEY: usize = 16;

/// What is kept of a secret's key: the first half of its SHA-256 (FIPS 180-4, section 6.2). That two of them are compared in no constant time
/// tells of the hash alone.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeyHash([u8; KEY]);

impl Secret {
    /// A new one, or none where the system has no randomness to give.
    pub(crate) fn new(node: NodeId, client: ClientId) -> Option<Self> {
        let mut key = [0; KEY];
        match getrandom::fill(&mut key) {
            Ok(()) => Some(Self { node, client, key }),
            Err(error) => {
                tracing::error!(target: "fanfare::core", %error, "no randomness: sessions cannot be taken up again");
                None
            }
        }
    }

    pub(crate) fn hash(&self) -> KeyHash {
        KeyHash::of(&self.key)
    }
}

impl KeyHash {
    pub(crate) fn of(key: &[u8; KEY]) -> Self {
        let mut kept = [0; KEY];
        let (first, _) = kept.split_at_mut(KEY);
        first.copy_from_slice(&hmac_sha256::Hash::hash(key)[..KEY]);
        Self(kept)
    }

    pub(crate) const fn from_bytes(bytes: [u8; KEY]) -> Self {
        Self(bytes)
    }

    pub(crate) const fn to_bytes(self) -> [u8; KEY] {
        self.0
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = u128::from_be_bytes(self.key);
        write!(f, "{:016x}{:016x}{key:032x}", self.node.value(), self.client.value())
    }
}

/// It is no secret of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoSecret;

impl FromStr for Secret {
    type Err = NoSecret;

    fn from_str(text: &str) -> Result<Self, NoSecret> {
        // `from_str_radix` would take a sign.
        if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(NoSecret);
        }
        let number = |range| text.get(range).and_then(|digits| u64::from_str_radix(digits, 16).ok());
        let key = text.get(32..).and_then(|digits| u128::from_str_radix(digits, 16).ok());
        match (number(0..16), number(16..32), key) {
            (Some(node), Some(client), Some(key)) => {
                Ok(Self { node: NodeId::new(node), client: ClientId::new(client), key: key.to_be_bytes() })
            }
            _ => Err(NoSecret),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secret").field("client", &self.client).finish_non_exhaustive()
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyHash")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_survives_its_text_and_is_not_shown() {
        let secret = Secret::new(NodeId::new(7), ClientId::new(u64::MAX)).unwrap();
        let text = secret.to_string();
        assert_eq!((text.len(), text.parse()), (64, Ok(secret.clone())));
        assert!(!format!("{secret:?} {:?}", secret.hash()).contains(&text[32..]));
        let other = Secret::new(NodeId::new(7), ClientId::new(u64::MAX)).unwrap();
        assert!(other.key != secret.key && other.hash() != secret.hash());
    }

    #[test]
    fn what_is_no_secret_is_refused() {
        let long = "0".repeat(65);
        let signed = format!("+{}", "0".repeat(63));
        let wide = "ä".repeat(32);
        for text in ["", "0", &long, &signed, &wide, &"g".repeat(64)] {
            assert_eq!(text.parse::<Secret>(), Err(NoSecret), "{text}");
        }
    }
}
