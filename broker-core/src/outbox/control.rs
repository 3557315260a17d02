//! Replies, pings and the close frame of one connection.

use std::collections::VecDeque;

use bytes::Bytes;

/// The control lane: it goes before all data, and is bounded. Data never fills it.
#[derive(Default)]
pub(super) struct Control {
    /// Most of the time none: then it holds no memory.
    waiting: Option<Box<Waiting>>,
}

#[derive(Default)]
struct Waiting {
    frames: VecDeque<Bytes>,
    bytes: usize,
}

impl Control {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_none()
    }

    #[cfg(all(test, not(loom)))]
    pub(super) fn bytes(&self) -> usize {
        self.waiting.as_ref().map_or(0, |waiting| waiting.bytes)
    }

    /// Whether a frame of this length fits; one always fits an empty lane.
    pub(super) fn fits(&self, length: usize, limit: u32) -> bool {
        self.waiting.as_ref().is_none_or(|waiting| waiting.bytes + length <= limit as usize)
    }

    pub(super) fn push(&mut self, frame: Bytes) {
        if !frame.is_empty() {
            let waiting = self.waiting.get_or_insert_default();
            waiting.bytes += frame.len();
            waiting.frames.push_back(frame);
        }
    }

    pub(super) fn pop(&mut self) -> Option<Bytes> {
        let waiting = self.waiting.as_mut()?;
        let frame = waiting.frames.pop_front()?;
        waiting.bytes -= frame.len();
        if waiting.frames.is_empty() {
            // An idle connection holds no memory for what it once had to say.
            self.waiting = None;
        }
        Some(frame)
    }

    pub(super) fn unpop(&mut self, frame: Bytes) {
        let waiting = self.waiting.get_or_insert_default();
        waiting.bytes += frame.len();
        waiting.frames.push_front(frame);
    }
}
