//! The end of one connection: why, and what becomes of what waits.

use std::collections::VecDeque;

use bytes::Bytes;
use tokio::time::Instant;

use super::{control::Control, shared::Shared, state::State};
use crate::{
    message::Frame,
    session::{CloseKind, CloseReason},
    subscriber::SubscriptionId,
};

/// How a connection ends.
pub(super) struct Closing {
    pub(super) reason: CloseReason,
    /// The last frame, until the socket has begun to take it.
    pub(super) frame: Option<Bytes>,
    /// The socket is beyond use.
    pub(super) broken: bool,
    /// Since when all that waits has had the one write deadline together.
    pub(super) hurries_since: Option<Instant>,
}

/// What becomes of what waits when a connection is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rest {
    /// It is given up.
    GivenUp,
    /// It is sent, for as long as the client goes on taking something.
    Sent,
    /// It is sent, as far as the write deadline allows, whatever the client takes.
    SentSoon,
}

impl State {
    pub(super) fn is_closing(&self) -> bool {
        self.closing.is_some()
    }

    pub(super) fn hurries_since(&self) -> Option<Instant> {
        self.closing.as_ref()?.hurries_since
    }

    /// Ends the connection.
    pub(super) fn close(&mut self, shared: &Shared, reason: CloseReason, rest: Rest) {
        if self.closing.is_some() {
            return;
        }
        let frame = shared.encode(Frame::Close(&reason));
        if rest == Rest::GivenUp {
            self.discard_all(shared);
        }
        let frame = Some(frame).filter(|frame| !frame.is_empty());
        let hurries_since = (rest == Rest::SentSoon).then(Instant::now);
        self.closing = Some(Box::new(Closing { reason, frame, broken: false, hurries_since }));
        self.note_waiting();
    }

    /// The socket is beyond use: nothing more goes out.
    pub(super) fn break_off(&mut self, shared: &Shared) {
        self.discard_all(shared);
        self.remainder = None;
        self.control = Control::default();
        self.stalled_since = None;
        let lost = || Closing {
            reason: CloseReason::new(CloseKind::Lost),
            frame: None,
            broken: true,
            hurries_since: None,
        };
        let closing = self.closing.get_or_insert_with(|| Box::new(lost()));
        closing.broken = true;
        closing.frame = None;
    }

    pub(super) fn discard_all(&mut self, shared: &Shared) {
        for index in (0..self.queues.len()).rev() {
            self.remove(shared, SubscriptionId(index as u32));
        }
        self.remove(shared, SubscriptionId::DIRECT);
        self.ring = VecDeque::new();
    }
}
