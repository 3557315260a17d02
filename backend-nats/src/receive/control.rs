//! What nodes tell each other beside messages.
//!
//! ```text
//! version u8 = 2, node u64, number u64 (big-endian), the frame
//! ```
//!
//! The numbers of a node grow: what comes by two connections while a node moves from one server to another is heard once.

use std::collections::HashMap;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use fanfare_core::backend::NodeId;

const VERSION: u8 = 2;

/// Of how many nodes it is remembered what was heard last. A node has a name for each run.
const MAX_NODES: usize = 4096;

/// Numbers what this node tells others.
pub(crate) struct Teller {
    node: NodeId,
    number: u64,
}

/// What a node tells.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) from: NodeId,
    pub(super) frame: Bytes,
    number: u64,
}

/// What was heard last of each node.
#[derive(Default)]
pub(super) struct Heard(HashMap<u64, u64>);

impl Teller {
    pub(crate) fn new(node: NodeId) -> Self {
        Self { node, number: 0 }
    }

    pub(crate) fn tell(&mut self, frame: &[u8]) -> Bytes {
        self.number += 1;
        let mut out = BytesMut::with_capacity(17 + frame.len());
        out.put_u8(VERSION);
        out.put_u64(self.node.value());
        out.put_u64(self.number);
        out.put_slice(frame);
        out.freeze()
    }
}

impl Heard {
    pub(super) fn is_new(&mut self, told: &Told) -> bool {
        if self.0.len() >= MAX_NODES && !self.0.contains_key(&told.from.value()) {
            self.0.clear();
        }
        let last = self.0.entry(told.from.value()).or_default();
        let is_new = told.number > *last;
        *last = told.number.max(*last);
        is_new
    }
}

/// `None` for what is not ours.
pub(super) fn parse(mut bytes: Bytes) -> Option<Told> {
    let version = bytes.try_get_u8().ok()?;
    let from = NodeId::new(bytes.try_get_u64().ok()?);
    let number = bytes.try_get_u64().ok()?;
    (version == VERSION).then_some(Told { from, frame: bytes, number })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_survives_its_bytes_and_is_heard_once() {
        let node = NodeId::new(7);
        let mut teller = Teller::new(node);
        let frames = [teller.tell(b"hello"), teller.tell(b""), teller.tell(b"bye")];
        let told = frames.map(|frame| parse(frame).unwrap());
        assert_eq!((told[0].from, &told[0].frame[..]), (node, &b"hello"[..]));
        let mut heard = Heard::default();
        assert_eq!(
            [0, 1, 0, 1, 2, 2].map(|at: usize| heard.is_new(&told[at])),
            [true, true, false, false, true, false]
        );
        let other = parse(Teller::new(NodeId::new(8)).tell(b"hello")).unwrap();
        assert!(heard.is_new(&other));
        for foreign in [&b""[..], b"hello", b"\x02short", b"\x01\0\0\0\0\0\0\0\x07\0\0\0\0\0\0\0\x01"] {
            assert_eq!(parse(Bytes::copy_from_slice(foreign)), None, "{foreign:?}");
        }
    }
}
