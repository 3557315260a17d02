//! Which stream it is that holds the logs, where its name does not say.
//!
//! The name of a stream that an operator has made says nothing of that: it may be deleted and made anew under the same name, while we are
//! connected. The new one begins at 1 again. Its places tell that, as soon as one comes that cannot be where it is; and what was read is what
//! it was taken for, if the stream is still the one that was made when ours was.

use fanfare_core::message::{Epoch, Position};
use serde_json::json;

use super::{
    Logs,
    api::{Info, Refusal},
    stream::{Stream, identity},
};
use crate::error::Trouble;

/// Whose stream it is that a message is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    /// One of our own: its name is its identity.
    Ours(Epoch),
    /// The operator's, as far as is known.
    Operators(Epoch),
    /// The operator's or nobody's: it has not been looked at since we are connected.
    Unknown,
    Nobodys,
}

/// The message of this node with the highest place that a log has given.
#[derive(Debug, Default)]
pub(super) struct Acknowledged {
    epoch: Option<Epoch>,
    /// In the order in which they were sent.
    number: u64,
    offset: u64,
}

impl Acknowledged {
    /// Notes which place a message has got. False if it cannot be one of the same log: the later of two has the higher place.
    fn fits(&mut self, number: u64, place: Position) -> bool {
        let is_later = number > self.number;
        if self.epoch != Some(place.epoch) {
            // An answer of before the log was replaced may be read after it.
            if is_later {
                self.begin(number, place);
            }
            return is_later;
        }
        let fits = is_later == (place.offset > self.offset);
        if fits && is_later {
            self.begin(number, place);
        }
        fits
    }

    fn begin(&mut self, number: u64, place: Position) {
        *self = Self { epoch: Some(place.epoch), number, offset: place.offset };
    }
}

impl Logs {
    pub(crate) fn whose(&self, stream: &str) -> Whose {
        if let Some(epoch) = self.names.epoch(stream) {
            return Whose::Ours(epoch);
        }
        match self.certain() {
            Some(certain) if &*certain.name == stream => Whose::Operators(certain.epoch),
            None if self.is_checked() => Whose::Unknown,
            _ => Whose::Nobodys,
        }
    }

    /// Whether a stream is still the one that was looked at.
    pub(super) async fn is_same(&self, stream: &Stream) -> Result<bool, Refusal> {
        if self.names.epoch(&stream.name).is_some() {
            return Ok(true);
        }
        let info: Info = self.api.ask(&format!("STREAM.INFO.{}", stream.name), &json!({})).await?;
        Ok(identity(&stream.name, &info.created) == stream.epoch)
    }

    /// The place that a message of this node has got, by what was known of the stream when it was acknowledged. If it does not fit, the
    /// stream has gone back: it is looked at anew.
    pub(super) async fn placed(
        &self,
        stream: &str,
        number: u64,
        place: Position,
    ) -> Result<Position, Trouble> {
        if self.acknowledged.lock().fits(number, place) {
            return Ok(place);
        }
        if self.known().is_some_and(|known| known.epoch == place.epoch) {
            self.forget();
        }
        let replaced =
            || Trouble::outcome_unknown("the stream that took the message has been replaced since");
        let now = self.stream().await.map_err(|trouble| {
            Trouble::outcome_unknown(format!("the stream that took the message has gone back: {trouble}"))
        })?;
        let is_its_own = self.names.epoch(stream).is_some();
        if &*now.name != stream || (now.epoch == place.epoch && !is_its_own) {
            return Err(replaced());
        }
        let place = Position::new(now.epoch, place.offset);
        self.acknowledged.lock().begin(number, place);
        Ok(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_later_of_two_messages_has_the_higher_place() {
        let (old, new) = (Epoch::new(1), Epoch::new(2));
        let mut acknowledged = Acknowledged::default();
        let mut fits = |number, epoch, offset| acknowledged.fits(number, Position::new(epoch, offset));
        assert!(fits(1, old, 10) && fits(3, old, 12));
        assert!(fits(2, old, 11), "answers are read in any order");
        assert!(!fits(4, old, 1), "it has gone back");
        assert!(!fits(5, old, 12), "a place is given once");
        assert!(!fits(1, old, 13), "what was sent before has a lower place");
        assert!(!fits(2, new, 9), "it was sent before the log was replaced");
        assert!(fits(6, new, 2) && fits(7, new, 3) && !fits(8, new, 3));
    }
}
