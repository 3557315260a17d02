//! A reader that is subscribed by a pattern: each of its topics in order, nothing twice, no silence about a loss.

use std::{
    collections::{HashMap, HashSet},
    task::{Context, Poll, Waker},
};

use super::truth::Truth;
use crate::{
    message::Position,
    simulator::frames::uid,
    subscription::{Delivery, Subscription},
    topic::TopicName,
};

pub(super) struct PatternReader {
    pub(super) subscription: Subscription<str>,
    pattern: &'static str,
    node: usize,
    logs: HashMap<TopicName, Log>,
    seen: HashSet<u64>,
    /// The last message that had been published when the subscription was made.
    since: u64,
}

/// How far a reader is with one log.
struct Log {
    last: Position,
    /// Where the log was when the subscription was made: nothing up to there is owed.
    owed_after: Position,
    /// A message of it has come that was published since.
    has_begun: bool,
    /// A gap has been told since the last message.
    told: bool,
}

impl PatternReader {
    pub(super) fn new(
        subscription: Subscription<str>,
        pattern: &'static str,
        node: usize,
        truth: &Truth,
        since: u64,
    ) -> Self {
        let tops = truth.tops.iter().filter(|(name, _)| name.starts_with(&pattern[..1]));
        let log = |last| Log { last, owed_after: last, has_begun: false, told: false };
        let logs = tops.filter_map(|(name, top)| Some((TopicName::new(name).ok()?, log(*top)))).collect();
        Self { subscription, pattern, node, logs, seen: HashSet::new(), since }
    }

    pub(super) fn poll(&mut self, truth: &Truth, most: usize, trace: bool) {
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..most {
            let next = std::pin::pin!(self.subscription.recv()).poll(&mut cx);
            let Poll::Ready(next) = next else { return };
            if trace {
                let client = self.subscription.client();
                eprintln!("    {client} of {} on node {} sees {next:?}", self.pattern, self.node);
            }
            match next {
                Some(Delivery::Message(received)) => {
                    let id = uid(received.message());
                    assert!(self.seen.insert(id), "{id} comes twice");
                    if let Some(place) = received.place() {
                        assert_eq!(truth.stored.get(&id), Some(&place.position), "{id} was stored elsewhere");
                        self.logged(truth, received.topic(), id, place.position);
                    }
                }
                Some(Delivery::Gap(gap)) => {
                    assert!(gap.missed != Some(0), "a gap of nothing");
                    self.logs.values_mut().for_each(|log| log.told = true);
                }
                other => panic!("{other:?}"),
            }
        }
    }

    fn logged(&mut self, truth: &Truth, topic: &TopicName, id: u64, position: Position) {
        let (owed_after, had_begun) =
            self.logs.get(topic).map_or((position, false), |log| (log.owed_after, log.has_begun));
        // What was on its way when the subscription was made may still come, or not: nothing follows from it.
        let has_begun = had_begun || id > self.since;
        let new = Log { last: position, owed_after, has_begun, told: false };
        let Some(log) = self.logs.insert(topic.clone(), new) else { return };
        let owed = if owed_after.epoch == position.epoch { owed_after.offset } else { 0 };
        if log.last.epoch != position.epoch {
            assert!(log.told || !log.has_begun, "{topic}: from {} to {position} without a word", log.last);
        } else if position.offset <= log.last.offset {
            assert!(!log.has_begun, "{topic}: {position} comes after {}", log.last);
        } else if position.offset > log.last.offset.max(owed) + 1 {
            // What nobody has ever heard of is missed by those alone who know what came before it.
            let mut holes = truth.holes.get(topic.as_str()).into_iter().flatten();
            let is_hole = holes.any(|(before, after)| {
                *before == position.offset
                    && *after <= Position::new(position.epoch, log.last.offset.max(owed))
            });
            assert!(
                log.told || (is_hole && !log.has_begun),
                "{topic}: silence between {} and {position}",
                log.last
            );
        }
    }

    pub(super) fn end(&self, truth: &Truth) {
        for (name, top) in truth.tops.iter().filter(|(name, _)| name.starts_with(&self.pattern[..1])) {
            let Some(log) = TopicName::new(name).ok().and_then(|name| self.logs.get(&name)) else { continue };
            let nothing_is_owed = log.owed_after == *top || (!log.has_begun && log.last.epoch != top.epoch);
            let is_there = log.last == *top || log.told || nothing_is_owed;
            assert!(is_there, "{name} by {}: {} is not the end, {top} is", self.pattern, log.last);
        }
    }
}
