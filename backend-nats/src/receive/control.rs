//! What nodes tell each other beside messages.
//!
//! ```text
//! version u8 = 1, node u64 (big-endian), the frame
//! ```

use bytes::{Buf, BufMut, Bytes, BytesMut};
use fanfare_core::backend::NodeId;

const VERSION: u8 = 1;

pub(crate) fn frame(from: NodeId, frame: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(9 + frame.len());
    out.put_u8(VERSION);
    out.put_u64(from.value());
    out.put_slice(frame);
    out.freeze()
}

/// The sender and the frame; `None` for what is not ours.
pub(crate) fn parse(mut bytes: Bytes) -> Option<(NodeId, Bytes)> {
    let version = bytes.try_get_u8().ok()?;
    let node = NodeId::new(bytes.try_get_u64().ok()?);
    (version == VERSION).then_some((node, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_survives_its_bytes() {
        let node = NodeId::new(7);
        assert_eq!(parse(frame(node, b"hello")), Some((node, Bytes::from_static(b"hello"))));
        for foreign in [&b""[..], b"hello", b"\x01short", b"\x02\0\0\0\0\0\0\0\x07"] {
            assert_eq!(parse(Bytes::copy_from_slice(foreign)), None, "{foreign:?}");
        }
    }
}
