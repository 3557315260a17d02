//! A subscription to a logged topic by its name: from its position on everything comes, in the log's order.

use fanfare::{
    message::{Gap, GapReason, LogPlace, Position},
    session::{Start, Subscribed},
};

use super::{Claim, Ledger, Wanted, Wrong};
use crate::soak::topics::TOPICS;

/// What one subscription to a logged topic has got.
#[derive(Debug)]
pub(super) struct ByName {
    pub(super) topic: usize,
    /// Everything up to here has come, or was told to be lost.
    pub(super) last: Position,
    conflates: bool,
    /// It asked for this position, and the gap behind it has to come first.
    gap_due: Option<Position>,
    /// Last values come first: up to this offset, which the subscription begins after.
    values: Option<Values>,
    gap: Option<Told>,
}

#[derive(Clone, Copy, Debug)]
struct Values {
    through: u64,
    last: u64,
}

/// What was told since the last message.
#[derive(Clone, Copy, Debug)]
struct Told {
    from: Position,
    missed: Option<u64>,
    next: Option<Position>,
    reason: GapReason,
}

impl ByName {
    pub(super) fn new(topic: usize, wanted: &Wanted, outcome: Subscribed) -> Result<Self, Wrong> {
        let name = &wanted.name;
        let Some(last) = outcome.position else { return Err(format!("{name} has no position")) };
        let mut gap_due = None;
        let mut values = None;
        match (wanted.start, outcome.recovered) {
            (Start::After(asked), Some(true)) if asked != last => {
                return Err(format!("{name} is recovered after {asked}, and begins after {last}"));
            }
            (Start::After(_), Some(true)) => {}
            // What is missing stands further behind: it is told where it is.
            (Start::After(asked), Some(false)) if asked == last => {}
            (Start::After(asked), Some(false)) => gap_due = Some(asked),
            (Start::After(_), None) => return Err(format!("{name} does not say whether it is recovered")),
            (Start::Latest, None) => values = Some(Values { through: last.offset, last: 0 }),
            (_, None) => {}
            (start, said) => return Err(format!("{name} begins at {start:?}, and recovered is {said:?}")),
        }
        Ok(Self { topic, last, conflates: wanted.conflates, gap_due, values, gap: None })
    }

    pub(super) fn message(&mut self, place: LogPlace, claims: &mut Vec<Claim>) -> Result<(), Wrong> {
        let name = TOPICS[self.topic].name;
        let at = place.position;
        if let Some(asked) = self.gap_due {
            return Err(format!("{name}: {at} comes before the gap after {asked}"));
        }
        if at.epoch != self.last.epoch {
            let is_told = self.gap.is_some_and(|gap| gap.reason == GapReason::Epoch);
            if !is_told {
                return Err(format!("{name}: {at} after {}, and no other log was told of", self.last));
            }
            (self.values, self.gap, self.last) = (None, None, at);
            return Ok(());
        }
        if let Some(values) = &mut self.values {
            if at.offset <= values.through {
                if at.offset <= values.last {
                    return Err(format!("{name}: the value at {at} after the one at {}", values.last));
                }
                values.last = at.offset;
                return Ok(());
            }
            self.values = None;
        }
        if at.offset <= self.last.offset {
            return Err(format!("{name}: {at} comes again, or too late, after {}", self.last));
        }
        match self.gap.take() {
            Some(told) => self.close(told, at.offset, claims)?,
            None if place.prev <= self.last.offset => {}
            None if self.conflates => claims.push(self.nothing(self.last.offset, at.offset)),
            None => return Err(format!("{name}: silence between {} and {place:?}", self.last)),
        }
        self.last = at;
        Ok(())
    }

    pub(super) fn gap(&mut self, gap: &Gap, claims: &mut Vec<Claim>) -> Result<(), Wrong> {
        let name = TOPICS[self.topic].name;
        let mut from = self.gap.map_or(self.last, |told| told.from);
        let mut missed = gap.missed;
        if let Some(asked) = self.gap_due.take() {
            if gap.last != Some(asked) {
                return Err(format!("{name}: the first gap is not the one after {asked}: {gap:?}"));
            }
            if asked.epoch == self.last.epoch && asked.offset <= self.last.offset {
                from = asked;
            } else {
                missed = None;
            }
        } else if let (Some(last), None) = (gap.last, self.gap)
            && last.epoch == self.last.epoch
        {
            if last.offset < self.last.offset {
                return Err(format!("{name}: a gap after {last}, where {} was seen: {gap:?}", self.last));
            }
            if last.offset > self.last.offset {
                claims.push(self.nothing(self.last.offset, last.offset + 1));
                (self.last, from) = (last, last);
            }
        }
        if let Some(next) = gap.next
            && next.epoch == self.last.epoch
            && next.offset <= self.last.offset
        {
            return Err(format!("{name}: a gap up to {next}, where {} was seen: {gap:?}", self.last));
        }
        let before = self.gap.map(|told| (told.missed, told.reason));
        let (missed, reason) = match before {
            None => (missed, gap.reason),
            Some((told, reason)) => {
                (told.zip(missed).map(|(a, b)| a.saturating_add(b)), reason.max(gap.reason))
            }
        };
        self.gap = Some(Told { from, missed, next: gap.next, reason });
        Ok(())
    }

    pub(super) fn live(&mut self, position: Position, claims: &mut Vec<Claim>) -> Result<(), Wrong> {
        let name = TOPICS[self.topic].name;
        if let Some(asked) = self.gap_due {
            return Err(format!("{name}: live at {position} before the gap after {asked}"));
        }
        if position.epoch != self.last.epoch {
            let is_told = self.gap.take().is_some_and(|gap| gap.reason == GapReason::Epoch);
            if !is_told {
                return Err(format!("{name}: live at {position} after {}", self.last));
            }
            (self.values, self.last) = (None, position);
            return Ok(());
        }
        if position.offset < self.last.offset {
            return Err(format!("{name}: live at {position}, and {} was seen", self.last));
        }
        self.values = None;
        if position.offset > self.last.offset {
            match self.gap.take() {
                Some(told) => self.close(told, position.offset + 1, claims)?,
                None => claims.push(self.nothing(self.last.offset, position.offset + 1)),
            }
        }
        self.last = position;
        Ok(())
    }

    /// What has not come yet.
    pub(super) fn behind(&self, ledger: &Ledger) -> Option<Wrong> {
        let top = ledger.top(self.topic)?;
        let is_here = top.epoch == self.last.epoch && top.offset <= self.last.offset;
        let is_told = self.gap.is_some();
        (!is_here && !is_told).then(|| {
            format!("{}: {top} is the log's end, and {} came last", TOPICS[self.topic].name, self.last)
        })
    }

    /// A gap ends before this offset.
    fn close(&self, told: Told, before: u64, claims: &mut Vec<Claim>) -> Result<(), Wrong> {
        let name = TOPICS[self.topic].name;
        if let Some(next) = told.next
            && next.epoch == self.last.epoch
            && next.offset > before
        {
            return Err(format!("{name}: the gap ends before {next}, and {before} comes: {told:?}"));
        }
        if let (Some(missed), true) = (told.missed, told.from.epoch == self.last.epoch) {
            claims.push(Claim::Lost {
                topic: self.topic,
                epoch: told.from.epoch,
                after: told.from.offset,
                before,
                told: missed,
                conflates: self.conflates,
            });
        }
        Ok(())
    }

    fn nothing(&self, after: u64, before: u64) -> Claim {
        let (topic, epoch, conflates) = (self.topic, self.last.epoch, self.conflates);
        Claim::Nothing { topic, epoch, after, before, conflates }
    }
}
