//! The payload of a close frame (RFC 6455, sections 5.5.1 and 7.4).

use super::ProtocolError;

/// What a client said on closing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CloseFrame {
    /// 1000 to 4999, never one that only an endpoint itself may report.
    pub(crate) code: u16,
    /// At most 123 bytes.
    pub(crate) reason: Box<str>,
}

impl CloseFrame {
    /// Reads a close frame's payload. An empty one is `None`.
    pub(super) fn parse(payload: &[u8]) -> Result<Option<Self>, ProtocolError> {
        match payload.split_first_chunk() {
            None if payload.is_empty() => Ok(None),
            None => Err(ProtocolError::ShortClose),
            Some((code, reason)) => {
                let code = u16::from_be_bytes(*code);
                if !may_be_sent(code) {
                    return Err(ProtocolError::BadCloseCode(code));
                }
                let reason = std::str::from_utf8(reason).map_err(|_| ProtocolError::InvalidUtf8)?;
                Ok(Some(Self { code, reason: reason.into() }))
            }
        }
    }
}

/// Whether a code may stand in a close frame: those that RFC 6455 and its registry define, less 1004 (reserved) and
/// 1005, 1006 and 1015 (never on the wire), and the ranges for libraries (3000) and applications (4000).
fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_code_and_reason() {
        assert_eq!(CloseFrame::parse(b""), Ok(None));
        let closed = CloseFrame::parse(b"\x03\xE8bye").unwrap().unwrap();
        assert_eq!((closed.code, &*closed.reason), (1000, "bye"));
    }

    #[test]
    fn refuses_what_may_not_be_sent() {
        assert_eq!(CloseFrame::parse(b"\x03"), Err(ProtocolError::ShortClose));
        assert_eq!(CloseFrame::parse(b"\x03\xE8\xFF"), Err(ProtocolError::InvalidUtf8));
        for code in [0u16, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535] {
            assert_eq!(CloseFrame::parse(&code.to_be_bytes()), Err(ProtocolError::BadCloseCode(code)));
        }
        for code in
            [1000u16, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1014, 3000, 3999, 4000, 4999]
        {
            assert_eq!(CloseFrame::parse(&code.to_be_bytes()).unwrap().unwrap().code, code);
        }
    }
}
