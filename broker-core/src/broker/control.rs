//! What nodes say to each other beside messages.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::{Inner, settle::Settled};
use crate::backend::NodeId;

/// The first byte of each control frame: how what follows is written.
const VERSION: u8 = 1;

// The second byte: what the frame says.
/// Messages of these topics were not carried to others.
pub(super) const LOST_TOPICS: u8 = 1;
/// Messages of any topic were not carried to others.
pub(super) const LOST_ANY: u8 = 2;
/// How a node is configured, in short.
pub(super) const GREETING: u8 = 3;
/// How a node is configured, in full.
pub(super) const TOPICS: u8 = 4;
/// A node is there.
const HEARTBEAT: u8 = 5;
/// A node stops.
const GOODBYE: u8 = 6;
/// A part of something longer.
const PARCEL: u8 = 7;

/// A control frame.
pub(super) fn frame(kind: u8, body: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(2 + body.len());
    frame.put_u8(VERSION);
    frame.put_u8(kind);
    frame.put_slice(body);
    frame.freeze()
}

/// A frame that says that this node is there.
pub(crate) fn heartbeat(body: &[u8]) -> Bytes {
    frame(HEARTBEAT, body)
}

/// A frame that says that this node stops.
pub(crate) fn goodbye() -> Bytes {
    frame(GOODBYE, &[])
}

/// What a frame begins with that is a part of something longer.
pub(crate) fn parcel_head() -> [u8; 2] {
    [VERSION, PARCEL]
}

impl Inner {
    pub(super) async fn send_control(&self, to: Option<NodeId>, frame: Bytes) -> Settled {
        match self.call("control", self.backend.control(to, frame)).await {
            Ok(()) => Settled::Done,
            Err(_) => Settled::NotYet,
        }
    }

    /// Takes a control frame of another node. What a newer node says is passed over.
    pub(crate) fn control(&self, from: NodeId, mut frame: Bytes) {
        let Some(this) = self.weak().upgrade() else { return };
        if from == self.node {
            return;
        }
        let head = (frame.try_get_u8(), frame.try_get_u8());
        match head {
            (Ok(VERSION), Ok(HEARTBEAT)) => return self.cluster.hear_heartbeat(&this, from, frame),
            (Ok(VERSION), Ok(GOODBYE)) => return self.cluster.hear_goodbye(&this, from),
            (Ok(VERSION), Ok(PARCEL)) => return self.cluster.hear_part(&this, from, frame),
            _ => self.cluster.hear_anything(from),
        }
        match head {
            (Ok(VERSION), Ok(LOST_ANY)) => self.lost(None),
            (Ok(VERSION), Ok(LOST_TOPICS)) => self.hear_of_losses(from, frame),
            (Ok(VERSION), Ok(GREETING)) => self.hear_greeting(from, frame),
            (Ok(VERSION), Ok(TOPICS)) => self.hear_topics(from, frame),
            _ => tracing::debug!(target: "fanfare::backend", %from, "an unknown control frame"),
        }
    }
}
