//! Replies, pings and the close frame of one connection.

use std::collections::VecDeque;

use bytes::Bytes;

/// The control lane: it goes before all data, and is bounded. Data never fills it.
#[derive(Default)]
pub(super) struct Control {
    frames: VecDeque<Bytes>,
    bytes: usize,
}

impl Control {
    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    #[cfg(all(test, not(loom)))]
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether a frame of this length fits; one always fits an empty lane.
    pub(super) fn fits(&self, length: usize, limit: u32) -> bool {
        self.frames.is_empty() || self.bytes + length <= limit as usize
    }

    pub(super) fn push(&mut self, frame: Bytes) {
        if !frame.is_empty() {
            self.bytes += frame.len();
            self.frames.push_back(frame);
        }
    }

    pub(super) fn pop(&mut self) -> Option<Bytes> {
        let frame = self.frames.pop_front()?;
        self.bytes -= frame.len();
        if self.frames.is_empty() {
            // An idle connection holds no memory for what it once had to say.
            self.frames = VecDeque::new();
        }
        Some(frame)
    }

    pub(super) fn unpop(&mut self, frame: Bytes) {
        self.bytes += frame.len();
        self.frames.push_front(frame);
    }
}
