//! What can be wrong with a client's bytes.

use thiserror::Error;

/// A violation of RFC 6455 or of a limit. The connection cannot go on after it.
///
/// [`close_code`](Self::close_code) is what the client is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub(crate) enum ProtocolError {
    /// One of the three reserved bits is set, and no extension was negotiated (section 5.2).
    #[error("reserved bits are set")]
    ReservedBits,
    /// An opcode that RFC 6455 reserves (section 5.2).
    #[error("reserved opcode {0:#x}")]
    ReservedOpcode(u8),
    /// A client's frame without a mask (section 5.1).
    #[error("unmasked frame")]
    Unmasked,
    /// A length that fits a shorter form (section 5.2).
    #[error("length is not in its shortest form")]
    LongLength,
    /// A 64 bit length with the highest bit set (section 5.2).
    #[error("length has its highest bit set")]
    HugeLength,
    /// A control frame of more than 125 bytes (section 5.5).
    #[error("control frame is longer than 125 bytes")]
    LongControl,
    /// A control frame that is not final (section 5.5).
    #[error("fragmented control frame")]
    FragmentedControl,
    /// A continuation with nothing to continue (section 5.4).
    #[error("continuation without a message")]
    LoneContinuation,
    /// A new message before the last fragment of the one before it (section 5.4).
    #[error("new message inside a fragmented one")]
    InterruptedMessage,
    /// A close frame of one byte (section 5.5.1).
    #[error("close frame of one byte")]
    ShortClose,
    /// A close code that may not be sent (section 7.4).
    #[error("close code {0} may not be sent")]
    BadCloseCode(u16),
    /// A text message or a close reason that is not UTF-8 (section 8.1).
    #[error("invalid UTF-8")]
    InvalidUtf8,
    /// A message longer than the limit. Found before its body was read.
    #[error("message is longer than {limit} bytes")]
    TooLong {
        /// The limit, in bytes.
        limit: usize,
    },
    /// A message of more fragments than the limit.
    #[error("message has more than {limit} fragments")]
    TooManyFragments {
        /// The limit, in frames.
        limit: usize,
    },
}

impl ProtocolError {
    /// The code of the close frame that answers this (RFC 6455, section 7.4.1): 1002, 1007 or 1009.
    pub(crate) fn close_code(self) -> u16 {
        match self {
            Self::InvalidUtf8 => 1007,
            Self::TooLong { .. } | Self::TooManyFragments { .. } => 1009,
            _ => 1002,
        }
    }
}
