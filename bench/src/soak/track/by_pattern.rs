//! A subscription to a pattern: live only, and of all topics that it matches.

use std::collections::HashMap;

use fanfare::message::{LogPlace, Position};

use super::{Claim, Ledger, SentTrack, Tick, Wrong};
use crate::soak::{
    topics::{TOPICS, matched},
    uid::Uid,
};

/// What one subscription to a pattern has got.
#[derive(Debug)]
pub(super) struct ByPattern {
    /// Of topics that are not logged.
    pub(super) sent: SentTrack,
    /// The last position of each logged topic, and how many gaps had been told then.
    logged: HashMap<usize, (Position, u64)>,
}

impl ByPattern {
    pub(super) fn new(pattern: &str, since: Tick, conflates: bool) -> Self {
        Self { sent: SentTrack::new(matched(pattern), since, conflates), logged: HashMap::new() }
    }

    pub(super) fn message(
        &mut self,
        topic: usize,
        uid: Uid,
        place: Option<LogPlace>,
        claims: &mut Vec<Claim>,
    ) -> Result<(), Wrong> {
        let Some(place) = place else { return self.sent.message(uid, claims) };
        let gaps = self.sent.gaps;
        let name = TOPICS[topic].name;
        if let Some((last, told)) = self.logged.insert(topic, (place.position, gaps)) {
            let is_same = last.epoch == place.position.epoch;
            if is_same && place.position.offset <= last.offset {
                return Err(format!("{name}: {} comes again, or too late, after {last}", place.position));
            }
            if (!is_same || place.prev > last.offset) && told == gaps {
                if !is_same || !self.sent.conflates {
                    return Err(format!("{name}: silence between {last} and {place:?}"));
                }
                let (after, before) = (last.offset, place.position.offset);
                claims.push(Claim::Nothing { topic, epoch: last.epoch, after, before, conflates: true });
            }
        }
        Ok(())
    }

    pub(super) fn behind(&self, ledger: &Ledger) -> Option<Wrong> {
        let missing = |topic: &usize| {
            let owed = ledger.owed_position(*topic, self.sent.since)?;
            let is_here = match self.logged.get(topic) {
                Some((last, told)) => last.offset >= owed.offset || *told < self.sent.gaps,
                None => self.sent.gaps > 0,
            };
            (!is_here).then(|| {
                let last = self.logged.get(topic).map(|(last, _)| *last);
                format!("{}: {owed} was accepted, and {last:?} came last", TOPICS[*topic].name)
            })
        };
        let logged = self.sent.topics.iter().filter(|topic| TOPICS[**topic].logged).find_map(missing);
        logged.or_else(|| self.behind_ephemeral(ledger))
    }

    fn behind_ephemeral(&self, ledger: &Ledger) -> Option<Wrong> {
        self.sent.behind_of(ledger, |topic| !TOPICS[topic].logged)
    }
}
