//! What nodes tell each other beside messages, and what a node tells itself to see that the way is open.
//!
//! ```text
//! control  1 u8, node u64 (big-endian), the frame
//! probe    2 u8, node u64, server u32, number u64
//! ```

use bytes::{Buf, BufMut, Bytes, BytesMut};
use fanfare_core::backend::NodeId;

const FRAME: u8 = 1;
const PROBE: u8 = 2;

/// What came on a channel of nodes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Control {
    Frame(NodeId, Bytes),
    Probe(NodeId, u32, u64),
}

pub(crate) fn frame(from: NodeId, frame: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(9 + frame.len());
    out.put_u8(FRAME);
    out.put_u64(from.value());
    out.put_slice(frame);
    out.freeze()
}

pub(crate) fn probe(from: NodeId, server: u32, number: u64) -> Bytes {
    let mut out = BytesMut::with_capacity(21);
    out.put_u8(PROBE);
    out.put_u64(from.value());
    out.put_u32(server);
    out.put_u64(number);
    out.freeze()
}

impl Control {
    /// `None` for what is not ours.
    pub(crate) fn parse(mut bytes: Bytes) -> Option<Self> {
        let kind = bytes.try_get_u8().ok()?;
        let node = NodeId::new(bytes.try_get_u64().ok()?);
        match kind {
            FRAME => Some(Self::Frame(node, bytes)),
            PROBE => Some(Self::Probe(node, bytes.try_get_u32().ok()?, bytes.try_get_u64().ok()?)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_survives_its_bytes() {
        let node = NodeId::new(7);
        let told = Control::parse(frame(node, b"hello"));
        assert_eq!(told, Some(Control::Frame(node, Bytes::from_static(b"hello"))));
        assert_eq!(Control::parse(probe(node, 2, 3)), Some(Control::Probe(node, 2, 3)));
        for foreign in [&b""[..], b"hello", b"\x01short", b"\x02\0\0\0\0\0\0\0\x07short"] {
            assert_eq!(Control::parse(Bytes::copy_from_slice(foreign)), None, "{foreign:?}");
        }
    }
}
