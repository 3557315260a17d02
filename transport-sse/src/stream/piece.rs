//! What one poll gives to HTTP.

use bytes::{Bytes, BytesMut};
use fanfare_core::outbox::Pulled;

use crate::cursor::Ids;

/// Events on their way, in one piece of memory: each piece is a chunk of its own in HTTP/1.1 and a frame in HTTP/2, so many
/// small ones cost more than copying them together. A single one is passed on as it is, shared with all its readers.
#[derive(Default)]
pub(super) struct Piece {
    first: Bytes,
    joined: BytesMut,
}

/// What is reserved for a piece at least, bytes.
const LEAST: usize = 1024;

impl Piece {
    pub(super) fn is_empty(&self) -> bool {
        self.first.is_empty() && self.joined.is_empty()
    }

    /// Adds a frame as it is.
    pub(super) fn push(&mut self, frame: &Bytes) {
        if self.is_empty() {
            self.first = frame.clone();
        } else {
            self.room(frame.len()).extend_from_slice(frame);
        }
    }

    /// Adds a frame behind an `id:` of the reader's own, where it moves the cursor: within the same event, so that no cut can
    /// come between them.
    pub(super) fn push_with_id(&mut self, frame: Pulled<'_>, ids: &mut Ids) {
        match frame.cursor {
            Some((subscription, position)) if ids.advance(subscription, position) => {
                let out = self.room(frame.bytes.len());
                ids.write(out);
                out.extend_from_slice(frame.bytes);
            }
            _ => self.push(frame.bytes),
        }
    }

    pub(super) fn into_bytes(self) -> Bytes {
        if self.joined.is_empty() { self.first } else { self.joined.freeze() }
    }

    fn room(&mut self, more: usize) -> &mut BytesMut {
        if self.joined.is_empty() {
            self.joined.reserve((2 * (self.first.len() + more)).max(LEAST));
            self.joined.extend_from_slice(&std::mem::take(&mut self.first));
        }
        &mut self.joined
    }
}
