//! The law, as one subscription to a pattern can check it.

use std::collections::BTreeMap;

use super::{Begun, lost::Lost};
use crate::{
    message::{Gap, GapReason},
    session::ClientId,
    simulator::truth::Truth,
};

/// What one subscription to a pattern has seen, and what it is owed.
#[derive(Debug)]
pub(in crate::simulator) struct PatternTrack {
    pub(in crate::simulator) pattern: String,
    client: ClientId,
    conflates: bool,
    /// No other subscription of the connection overlaps.
    pub(in crate::simulator) strict: bool,
    topics: BTreeMap<usize, usize>,
    tops: Vec<usize>,
    told: u64,
    surely: u64,
    most: u64,
}

impl PatternTrack {
    pub(in crate::simulator) fn new(pattern: &str, client: ClientId, begun: &Begun) -> Self {
        Self {
            pattern: pattern.to_owned(),
            client,
            conflates: begun.conflates.unwrap_or(false),
            strict: true,
            topics: BTreeMap::new(),
            tops: begun.tops.clone(),
            told: 0,
            surely: 0,
            most: 0,
        }
    }

    pub(in crate::simulator) fn message(&mut self, truth: &Truth, name: &str, at: usize) {
        if !self.strict {
            return;
        }
        let next = self.topics.get(&truth.index(name)).map_or(0, |next| *next);
        assert!(at >= next, "{}: {name} {at} comes again, or out of order, after {next}", self.pattern);
        self.account(truth, truth.index(name), at);
        self.topics.insert(truth.index(name), at + 1);
        assert!(self.surely <= self.told, "{}: silence before {name} {at}", self.pattern);
    }

    pub(in crate::simulator) fn gap(&mut self, gap: &Gap) {
        assert_eq!((gap.reason, gap.last, gap.next), (GapReason::Slow, None, None));
        match gap.missed {
            Some(missed) => self.told += missed,
            // It takes over from a subscription by name that was behind.
            None => assert!(!self.strict, "a slow subscription's loss can be counted"),
        }
    }

    pub(in crate::simulator) fn end(&mut self, truth: &Truth, matches: impl Fn(&str) -> bool) {
        if !self.strict {
            return;
        }
        for (index, topic) in truth.topics.iter().enumerate().filter(|(_, topic)| matches(topic.name)) {
            self.account(truth, index, topic.top());
        }
        assert!(
            (self.surely..=self.most).contains(&self.told),
            "{}: {} told, lost {}..={}",
            self.pattern,
            self.told,
            self.surely,
            self.most
        );
    }

    fn account(&mut self, truth: &Truth, index: usize, to: usize) {
        let next = self.topics.get(&index).map_or(0, |next| *next);
        let topic = &truth.topics[index];
        let from = next.max(self.tops[index]);
        self.surely += Lost::between(topic, self.client, self.conflates, from, to).surely;
        self.most += to.saturating_sub(next) as u64;
    }
}
