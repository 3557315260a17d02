//! What a subscriber is told when messages did not reach it.

use super::{LogPlace, Position};
use crate::backend::Capabilities;

/// Messages of a topic did not reach this subscription and will not come any
/// more. It stands in the stream at the place of the loss.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Gap {
    /// How many messages this subscription lost; `None` when nobody can know.
    pub missed: Option<u64>,
    /// The last position before the loss (logged topics).
    pub last: Option<Position>,
    /// The position of the first message after the loss, when there is one
    /// already (logged topics).
    pub next: Option<Position>,
    /// Why.
    pub reason: GapReason,
    /// It is a hole of the log: who reads the log again comes by it again.
    pub(crate) is_hole: bool,
}

impl Gap {
    /// A gap of `missed` messages.
    #[must_use]
    pub fn new(reason: GapReason, missed: Option<u64>) -> Self {
        Self { missed, last: None, next: None, reason, is_hole: false }
    }

    /// The same gap with the positions around it.
    #[must_use]
    pub fn between(mut self, last: Option<Position>, next: Option<Position>) -> Self {
        self.last = last;
        self.next = next;
        self
    }

    /// What is missing between a position and a message that does not follow it; counted where offsets are consecutive.
    pub(crate) fn before(last: Position, place: LogPlace, dense: bool) -> Self {
        let gap = if last.epoch == place.position.epoch {
            Self::hole(counted(dense, last.offset, place.prev))
        } else {
            Self::new(GapReason::Epoch, None)
        };
        gap.between(Some(last), Some(place.position))
    }

    /// A hole of the log.
    pub(crate) fn hole(missed: Option<u64>) -> Self {
        Self { is_hole: true, ..Self::new(GapReason::Backend, missed) }
    }

    /// Takes in a gap that follows this one with no message between them.
    pub(crate) fn merge(&mut self, later: Gap) {
        self.missed = match (self.missed, later.missed) {
            (Some(a), Some(b)) => Some(a.saturating_add(b)),
            _ => None,
        };
        self.next = later.next;
        self.is_hole &= later.is_hole;
        self.reason = self.reason.max(later.reason);
    }
}

/// Why messages were lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum GapReason {
    /// The subscriber read too slowly, and its queue's overflow policy gave up messages.
    Slow,
    /// What was asked for is no longer retained.
    History,
    /// The connection between the nodes failed, or the server lost the end of the log and went on behind it.
    Backend,
    /// The topic's log was lost or replaced.
    Epoch,
}

impl GapReason {
    /// The name on the wire: `slow`, `history`, `backend` or `epoch`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Slow => "slow",
            Self::History => "history",
            Self::Backend => "backend",
            Self::Epoch => "epoch",
        }
    }
}

/// How many messages lie between two offsets, when that can be known.
pub(crate) fn counted(dense: bool, after: u64, through: u64) -> Option<u64> {
    let count = through.saturating_sub(after);
    (dense && count < Capabilities::UNCOUNTABLE).then_some(count)
}
