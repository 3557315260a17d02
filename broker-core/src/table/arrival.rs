//! How a logged message fits to what came before it.

use crate::message::Position;

/// How a logged message fits to what has arrived before.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// It is the next one.
    Next,
    /// It has arrived before.
    Repeat,
    /// Messages before it are missing.
    Hole,
    /// It belongs to another log.
    OtherEpoch,
    /// Nobody is subscribed: its order is not watched.
    Unwatched,
}

impl Arrival {
    /// Whether those who are subscribed by name have it, or there are none.
    pub(crate) fn is_for_nobody_by_name(&self) -> bool {
        matches!(self, Self::Repeat | Self::Unwatched)
    }
}

/// How a logged message fits to what went to those who are subscribed by a pattern.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum PatternArrival {
    /// It goes on from there, or nobody is subscribed so.
    Next,
    /// It is the first that goes to them, or the first after a loss that they were told of.
    First,
    /// They have got it.
    Repeat,
    /// It does not follow what they have got.
    After(Position),
}
