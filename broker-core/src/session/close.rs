//! Why a connection ends.

use std::{borrow::Cow, time::Duration};

/// Why a connection ends, in terms that a client can act on.
///
/// 40xx: do not come back unchanged. 41xx: come back later. 42xx: come back
/// now. Codes below 4000 are those of RFC 6455, section 7.4.1.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CloseReason {
    /// What happened.
    pub kind: CloseKind,
    /// A sentence for a person; at most 120 bytes reach the client.
    pub message: Cow<'static, str>,
    /// When to come back, spread per client.
    pub retry_after: Option<Duration>,
}

impl CloseReason {
    /// A reason with the kind's own sentence.
    #[must_use]
    pub fn new(kind: CloseKind) -> Self {
        Self { kind, message: Cow::Borrowed(kind.sentence()), retry_after: None }
    }

    /// A reason with a sentence of its own.
    #[must_use]
    pub fn with_message(kind: CloseKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, message: message.into(), retry_after: None }
    }

    /// The same with a hint when to come back.
    #[must_use]
    pub fn retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    /// The close code.
    #[must_use]
    pub fn code(&self) -> u16 {
        self.kind.code()
    }

    /// The name of the close code.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.kind.name()
    }
}

impl From<CloseKind> for CloseReason {
    fn from(kind: CloseKind) -> Self {
        Self::new(kind)
    }
}

macro_rules! close_kinds {
    ($($(#[$doc:meta])* $kind:ident = $code:literal, $name:literal, $sentence:literal;)*) => {
        /// The kind of a [`CloseReason`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum CloseKind {
            $(
                $(#[$doc])*
                #[doc = concat!("\n\nCode ", stringify!($code), ", `", $name, "`.")]
                $kind,
            )*
        }

        impl CloseKind {
            /// Every kind.
            pub const ALL: &'static [Self] = &[$(Self::$kind),*];

            /// The close code.
            #[must_use]
            pub const fn code(self) -> u16 {
                match self { $(Self::$kind => $code,)* }
            }

            /// The name of the close code.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$kind => $name,)* }
            }

            const fn sentence(self) -> &'static str {
                match self { $(Self::$kind => $sentence,)* }
            }
        }
    };
}

close_kinds! {
    /// The client said goodbye, or the app closed the session in good order.
    Normal = 1000, "normal", "goodbye";
    /// The connection broke without a word. Never sent.
    Lost = 1006, "lost", "the connection was lost";
    /// The client's page or program went away, and may come back at once, as when it is loaded again (RFC 6455, section 7.4.1).
    Away = 1001, "going_away", "the client went away";
    /// A frame that RFC 6455 does not allow.
    BadFrame = 1002, "protocol_error", "the frame breaks RFC 6455";
    /// Text that is not UTF-8.
    BadText = 1007, "invalid_utf8", "the text is not UTF-8";
    /// A message over the limit.
    TooBig = 1009, "too_big", "the message is over the limit";
    /// A fault of the server.
    Internal = 1011, "internal", "internal error";
    /// The client broke the protocol.
    Protocol = 4000, "protocol", "the protocol was not followed";
    /// The credential is missing or wrong.
    Unauthenticated = 4001, "unauthenticated", "authentication is needed";
    /// None of the offered subprotocols is known.
    UnsupportedVersion = 4002, "unsupported_version", "no known subprotocol was offered";
    /// The policy refuses this client.
    Forbidden = 4003, "forbidden", "not allowed";
    /// The credential has expired.
    TokenExpired = 4004, "token_expired", "the token has expired";
    /// The app ended the session.
    Kicked = 4005, "kicked", "disconnected by the server";
    /// The client read too slowly, and the topic's policy is to disconnect.
    SlowConsumer = 4100, "slow_consumer", "the client reads too slowly";
    /// Too many commands.
    RateLimited = 4101, "rate_limited", "too many commands";
    /// Too many connections.
    ConnectionLimit = 4102, "connection_limit", "too many connections";
    /// No `connect` in time.
    ConnectTimeout = 4103, "connect_timeout", "the client did not authenticate in time";
    /// The server is about to stop.
    Draining = 4200, "draining", "the server is about to stop";
    /// The server restarts.
    Restart = 4201, "restart", "the server restarts";
    /// No sign of life from the client.
    PongTimeout = 4202, "pong_timeout", "no answer to a ping";
    /// The session goes on in another connection: who has its secret has taken it up.
    Resumed = 4203, "resumed", "the session goes on in another connection";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_names_are_unique() {
        let mut codes: Vec<_> = CloseKind::ALL.iter().map(|k| k.code()).collect();
        let mut names: Vec<_> = CloseKind::ALL.iter().map(|k| k.name()).collect();
        codes.sort_unstable();
        codes.dedup();
        names.sort_unstable();
        names.dedup();
        assert_eq!((codes.len(), names.len()), (CloseKind::ALL.len(), CloseKind::ALL.len()));
    }
}
