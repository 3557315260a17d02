//! A call of the server, as a client gets it.

use std::{fmt, str::FromStr, sync::Arc, time::Duration};

use crate::message::Payload;

/// A call of the server, as a client gets it: one for all clients that are called together.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct OutgoingCall {
    /// What the client names in its answer.
    pub id: CallId,
    /// The method.
    pub method: Arc<str>,
    /// What the method is given.
    pub payload: Payload,
    /// How long the server waits for the answer.
    pub timeout: Duration,
}

impl OutgoingCall {
    /// A call.
    #[must_use]
    pub fn new(
        id: CallId,
        method: impl Into<Arc<str>>,
        payload: impl Into<Payload>,
        timeout: Duration,
    ) -> Self {
        Self { id, method: method.into(), payload: payload.into(), timeout }
    }
}

/// A node's name of one of its calls: `s` and a decimal number as text. Only a client that was called can answer under it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CallId(u64);

impl CallId {
    /// A name from its value.
    #[must_use]
    pub const fn new(value: u64) -> Self {
        Self(value)
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s{}", self.0)
    }
}

impl FromStr for CallId {
    type Err = InvalidCallId;

    fn from_str(text: &str) -> Result<Self, InvalidCallId> {
        let digits = text.strip_prefix('s').filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
        digits.and_then(|digits| digits.parse().ok()).map(Self).ok_or(InvalidCallId)
    }
}

/// The text is no call's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no call has this name")]
pub struct InvalidCallId;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_id_survives_its_text() {
        for value in [0, 7, u64::MAX] {
            assert_eq!(CallId::new(value).to_string().parse(), Ok(CallId::new(value)));
        }
        for text in ["", "s", "7", "s-1", "s+1", "s18446744073709551616", "sé"] {
            assert_eq!(text.parse::<CallId>(), Err(InvalidCallId), "{text}");
        }
    }
}
