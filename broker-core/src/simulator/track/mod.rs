//! The law, as one subscription can check it.

mod begin;
mod lost;
mod pattern;

use std::collections::VecDeque;

pub(super) use begin::Begun;
use lost::Lost;
pub(super) use pattern::PatternTrack;

use super::truth::{Topic, Truth};
use crate::{
    message::{Gap, GapReason, LogPlace, Position},
    session::ClientId,
};

/// What one subscription to a topic has seen, and what it is owed.
#[derive(Debug)]
pub(super) struct Track {
    pub(super) topic: String,
    client: ClientId,
    logged: bool,
    conflates: bool,
    resyncs: bool,
    /// Up to here a pattern's queue may still bring what it held when this subscription began, so that what
    /// is read from the log cannot be told from it.
    blurred_to: usize,
    overlapped: bool,
    /// Hidden messages are told by cursors.
    has_cursors: bool,
    /// What was accepted before is not owed.
    owed_from: usize,
    /// Everything before it has been seen or accounted for.
    next: usize,
    snapshot: VecDeque<usize>,
    gap: Option<Told>,
    /// The position that was asked for, and how many messages lie between it and where the subscription begins.
    lost_before: Option<(Position, Option<u64>)>,
    announced: bool,
    /// Messages may have come between the beginning and the shard's knowing of it.
    late: bool,
    lives: u32,
}

/// Gaps that were told since the last message.
#[derive(Clone, Copy, Debug)]
struct Told {
    missed: Option<u64>,
    next: Option<Position>,
}

impl Track {
    pub(super) fn ignores(&self, at: usize) -> bool {
        at < self.blurred_to
    }

    /// Whether a message that comes now is this subscription's, rather than one of an overlapping pattern.
    pub(super) fn expects(&self, at: usize) -> bool {
        at >= self.next.max(if self.logged { 0 } else { self.owed_from }) || self.snapshot.contains(&at)
    }

    pub(super) fn message(&mut self, truth: &Truth, at: usize, place: Option<LogPlace>) {
        let topic = truth.topic(&self.topic);
        assert_eq!(place.is_some(), self.logged);
        if let Some(place) = place {
            let at = at as u64;
            assert_eq!(
                (place.prev, place.position.offset),
                (at, at + 1),
                "the log's order is the acceptance's"
            );
        }
        self.check_start_gap();
        self.pass_hidden_values(topic);
        if let Some(value) = self.snapshot.pop_front() {
            assert_eq!(value, at, "the last values come first, each once");
            return;
        }
        assert!(at >= self.next, "{}: {at} comes again, or out of order, after {}", self.topic, self.next);
        if let Some(Told { next: Some(next), .. }) = self.gap {
            let next = next.offset as usize;
            // What came next may be hidden, or have been conflated since.
            let fits =
                next <= at + 1 && Lost::between(topic, self.client, self.conflates, next - 1, at).surely == 0;
            assert!(fits, "{}: the gap ends at {next}, and {} comes", self.topic, at + 1);
        }
        self.account(topic, at);
        self.next = at + 1;
    }

    pub(super) fn cursor(&mut self, truth: &Truth, position: Position) {
        if self.ignores(position.offset as usize - 1) {
            return;
        }
        let topic = truth.topic(&self.topic);
        self.check_start_gap();
        let at = position.offset as usize - 1;
        assert!(topic.sent[at].except.contains(&self.client), "a cursor for what is not hidden");
        self.pass_hidden_values(topic);
        if at >= self.next {
            self.account(topic, at);
            self.next = at + 1;
        }
    }

    pub(super) fn live(&mut self, truth: &Truth, position: Position) {
        let topic = truth.topic(&self.topic);
        self.check_start_gap();
        self.pass_hidden_values(topic);
        assert!(self.snapshot.is_empty(), "{}: live before the last values {:?}", self.topic, self.snapshot);
        let at = (position.offset as usize).max(self.blurred_to);
        assert!(at >= self.next, "{}: live at {at} after {}", self.topic, self.next);
        if self.gap.is_some() || at > self.next {
            self.account(topic, at);
        }
        self.next = at;
        self.lives += 1;
        assert!(self.resyncs || self.lives == 1, "{}: live is announced once", self.topic);
        assert!(self.resyncs || self.announced || self.late, "{}: live where nothing was missed", self.topic);
    }

    pub(super) fn gap(&mut self, truth: &Truth, gap: &Gap) {
        if let Some((asked, missed)) = self.lost_before.take() {
            assert_eq!(gap.last, Some(asked), "the first gap begins where it was asked");
            assert!(gap.reason >= GapReason::History, "{:?}", gap.reason);
            let rest = match (gap.missed, missed) {
                (Some(told), Some(missed)) => {
                    assert!(told >= missed, "{told} were told, {missed} are lost");
                    Some(told - missed)
                }
                (None, None) => None,
                other => panic!("missed: told and known {other:?}"),
            };
            // What follows the beginning may be merged into it.
            if rest != Some(0) {
                self.gap = Some(Told { missed: rest, next: gap.next });
            }
            return;
        }
        if self.is_blurred() {
            self.gap = Some(Told { missed: None, next: None });
            return;
        }
        assert_eq!(gap.reason, GapReason::Slow);
        assert!(gap.missed.is_some(), "a slow subscription's loss can be counted");
        assert_eq!(gap.last.is_some(), self.logged, "{}: a gap begins somewhere", self.topic);
        if let (true, Some(last), None) = (self.logged, gap.last, self.gap) {
            let last = last.offset as usize;
            assert!(last >= self.next, "{}: a gap after {last}, where {} was seen", self.topic, self.next);
            let topic = truth.topic(&self.topic);
            let lost = Lost::between(topic, self.client, self.conflates, self.next, last);
            assert_eq!(lost.surely, 0, "{}: a gap after {last}, {} was seen", self.topic, self.next);
        }
        self.gap = Some(match self.gap {
            None => Told { missed: gap.missed, next: gap.next },
            Some(held) => Told { missed: held.missed.zip(gap.missed).map(|(a, b)| a + b), next: gap.next },
        });
    }

    /// Nothing more comes: everything is accounted for.
    pub(super) fn end(&mut self, truth: &Truth) {
        let topic = truth.topic(&self.topic);
        self.check_start_gap();
        self.pass_hidden_values(topic);
        assert!(self.snapshot.is_empty(), "{}: last values {:?} never came", self.topic, self.snapshot);
        let was_clear = self.gap.is_none() && !self.conflates;
        if self.logged && self.has_cursors && was_clear {
            assert_eq!(self.next, topic.top(), "{}: the end was not reached", self.topic);
        }
        self.account(topic, topic.top());
        assert!(!self.announced || self.lives > 0, "{}: live was never told", self.topic);
    }

    /// Nothing has come yet that is surely this subscription's.
    fn is_blurred(&self) -> bool {
        self.overlapped && self.next == self.blurred_to
    }

    fn check_start_gap(&self) {
        assert!(self.lost_before.is_none(), "{}: a recovery with losses begins with a gap", self.topic);
    }

    fn pass_hidden_values(&mut self, topic: &Topic) {
        while self.snapshot.front().is_some_and(|at| topic.sent[*at].except.contains(&self.client)) {
            self.snapshot.pop_front();
        }
    }

    /// Holds what was not seen up to a place against what was told.
    fn account(&mut self, topic: &Topic, to: usize) {
        let lost = Lost::between(topic, self.client, self.conflates, self.next.max(self.owed_from), to);
        match self.gap.take() {
            None => assert_eq!(lost.surely, 0, "{}: silence between {} and {to}", self.topic, self.next),
            Some(Told { missed: Some(told), .. }) => {
                let most = to.saturating_sub(self.next) as u64;
                assert!(
                    (lost.surely..=most).contains(&told),
                    "{}: {told} told between {} and {to}, lost {}..={most}",
                    self.topic,
                    self.next,
                    lost.surely
                );
            }
            Some(_) => {}
        }
    }
}
