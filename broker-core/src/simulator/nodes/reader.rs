//! A subscription to one topic within the process, and what it is owed.

use std::task::{Context, Poll, Waker};

use super::{hearing::Hearing, truth::Truth};
use crate::{
    message::{Gap, GapReason, LogPlace, Position},
    simulator::frames::uid,
    subscription::{Delivery, Subscription},
};

/// A subscription within the process.
pub(super) struct Reader {
    pub(super) name: &'static str,
    pub(super) node: usize,
    subscription: Subscription<str>,
    /// The last position that was seen.
    last: Option<Position>,
    /// Of each node, on an ephemeral topic.
    hearing: Hearing,
    /// Gaps since the last message: how much was missed, if that is known.
    told: Option<Option<u64>>,
    /// A gap of another epoch was told.
    may_end: bool,
}

impl Reader {
    pub(super) fn new(
        subscription: Subscription<str>,
        name: &'static str,
        node: usize,
        hearing: Hearing,
    ) -> Self {
        let outcome = subscription.outcome();
        let told = (outcome.recovered == Some(false)).then_some(None);
        Self { name, node, last: outcome.position, hearing, told, may_end: false, subscription }
    }

    pub(super) fn poll(&mut self, truth: &Truth, most: usize, trace: bool) {
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..most {
            let next = std::pin::pin!(self.subscription.recv()).poll(&mut cx);
            let Poll::Ready(next) = next else { return };
            if trace {
                let client = self.subscription.client();
                eprintln!("    {client} of {} on node {} sees {next:?}", self.name, self.node);
            }
            match next {
                Some(Delivery::Message(received)) => match received.place() {
                    Some(place) => self.logged(truth, uid(received.message()), place),
                    None => self.hearing.message(truth, uid(received.message())),
                },
                Some(Delivery::Gap(gap)) => self.gap(&gap),
                Some(Delivery::Live(position)) => self.pass(position, 0),
                other => panic!("{other:?}"),
            }
        }
    }

    fn logged(&mut self, truth: &Truth, id: u64, place: LogPlace) {
        assert_eq!(truth.stored.get(&id), Some(&place.position), "another message than was stored there");
        self.pass(place.position, 1);
    }

    /// Goes on to a position, at which so many messages were seen.
    fn pass(&mut self, position: Position, seen: u64) {
        let last = self.last.unwrap_or_else(|| panic!("no position to begin with"));
        if last.epoch == position.epoch {
            let passed = position.offset.checked_sub(last.offset + seen);
            let lost = passed.unwrap_or_else(|| panic!("{}: {position} comes after {last}", self.name));
            match self.told {
                None => assert_eq!(lost, 0, "{}: silence between {last} and {position}", self.name),
                Some(Some(told)) => assert_eq!(lost, told, "{}: between {last} and {position}", self.name),
                Some(None) => {}
            }
        } else {
            assert!(self.may_end, "{}: from {last} to {position} without a word", self.name);
        }
        (self.last, self.told, self.may_end) = (Some(position), None, false);
    }

    fn gap(&mut self, gap: &Gap) {
        assert!(gap.missed != Some(0), "a gap of nothing");
        self.hearing.gap();
        self.may_end |= gap.reason == GapReason::Epoch;
        self.told = Some(match self.told {
            None => gap.missed,
            Some(told) => told.zip(gap.missed).map(|(a, b)| a + b),
        });
    }

    pub(super) fn end(&self, truth: &Truth) {
        if let (Some(last), Some(top)) = (self.last, truth.tops.get(self.name)) {
            // Behind the last message there may be a hole.
            let is_there = last.epoch == top.epoch && last.offset >= top.offset;
            assert!(is_there || self.told.is_some(), "{}: {last} is not the end, {top} is", self.name);
        }
        self.hearing.end(truth);
    }
}
