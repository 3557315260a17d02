//! What came of each publisher's stream: where nothing is retained, that is all the order that there is.

use std::collections::HashMap;

use super::{Claim, Ledger, Tick, Wrong};
use crate::soak::uid::Uid;

/// What one subscription has got of each stream.
#[derive(Debug)]
pub(super) struct SentTrack {
    pub(super) topics: Vec<usize>,
    /// What was published before is not owed.
    pub(super) since: Tick,
    pub(super) conflates: bool,
    /// How many gaps were told.
    pub(super) gaps: u64,
    streams: HashMap<u32, Got>,
}

/// The last message of a stream, and how many gaps had been told then.
#[derive(Clone, Copy, Debug, Default)]
struct Got {
    n: u32,
    gaps: u64,
}

impl SentTrack {
    pub(super) fn new(topics: Vec<usize>, since: Tick, conflates: bool) -> Self {
        Self { topics, since, conflates, gaps: 0, streams: HashMap::new() }
    }

    pub(super) fn message(&mut self, uid: Uid, claims: &mut Vec<Claim>) -> Result<(), Wrong> {
        let got = self.streams.entry(uid.stream).or_default();
        if uid.n <= got.n {
            return Err(format!("{uid} comes again, or too late: {} came before", got.n));
        }
        if uid.n > got.n + 1 && got.gaps == self.gaps {
            claims.push(Claim::NothingSent {
                stream: uid.stream,
                after: got.n,
                before: uid.n,
                since: self.since,
                conflates: self.conflates,
            });
        }
        *got = Got { n: uid.n, gaps: self.gaps };
        Ok(())
    }

    pub(super) fn behind(&self, ledger: &Ledger) -> Option<Wrong> {
        self.behind_of(ledger, |_| true)
    }

    /// The same of some topics.
    pub(super) fn behind_of(&self, ledger: &Ledger, is_asked: impl Fn(usize) -> bool) -> Option<Wrong> {
        let is_missing = |uid: &Uid| {
            let got = self.streams.get(&uid.stream).copied().unwrap_or_default();
            got.n < uid.n && got.gaps == self.gaps
        };
        let owed = |topic: &usize| ledger.owed(*topic, self.since, self.conflates);
        let missing = self.topics.iter().filter(|topic| is_asked(**topic)).flat_map(owed).find(is_missing)?;
        Some(format!("{missing} was accepted, never came, and nothing was told"))
    }
}
