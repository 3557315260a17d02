//! What a subscription is owed, by how it began.

use std::collections::VecDeque;

use super::{Told, Track};
use crate::{
    message::Position,
    session::{ClientId, Start, Subscribed},
    simulator::truth::Topic,
};

/// What is known at the moment when a subscription is begun.
#[derive(Clone, Debug)]
pub(in crate::simulator) struct Begun {
    pub(in crate::simulator) start: Start,
    /// How many messages each topic has had.
    pub(in crate::simulator) tops: Vec<usize>,
    /// The same when the command was first looked at, if that was earlier.
    pub(in crate::simulator) before: Vec<usize>,
    /// Of the topic, if it is logged: the first retained message, and the last values.
    pub(in crate::simulator) floor: usize,
    pub(in crate::simulator) latest: Vec<usize>,
    pub(in crate::simulator) conflates: Option<bool>,
    pub(in crate::simulator) resyncs: Option<bool>,
}

impl Track {
    pub(in crate::simulator) fn new(
        topic: &Topic,
        index: usize,
        client: ClientId,
        begun: &Begun,
        outcome: Subscribed,
        has_cursors: bool,
    ) -> Self {
        let top = begun.tops[index];
        let mut track = Self {
            topic: topic.name.to_owned(),
            client,
            logged: topic.retains.is_some(),
            conflates: begun.conflates.unwrap_or(topic.conflates),
            resyncs: begun.resyncs.unwrap_or(topic.resyncs),
            blurred_to: 0,
            overlapped: false,
            has_cursors,
            owed_from: top,
            next: 0,
            snapshot: VecDeque::new(),
            gap: None,
            lost_before: None,
            announced: false,
            late: begun.before[index] != top,
            lives: 0,
        };
        assert_eq!(
            outcome.position.is_some(),
            track.logged,
            "a logged topic has a position, others have none"
        );
        if let Some(position) = outcome.position {
            track.begin(topic, index, begun, outcome, position);
        }
        track
    }

    fn begin(&mut self, topic: &Topic, index: usize, begun: &Begun, outcome: Subscribed, position: Position) {
        // The log's top when the subscription began was one of these.
        let before = begun.before[index];
        let top = self.owed_from;
        let first = position.offset as usize;
        assert!(first <= top, "begins at {first}, where nothing has been: the top was {top}");
        if let Some(epoch) = topic.epoch {
            assert_eq!(position.epoch, epoch, "another log");
        }
        (self.owed_from, self.next) = (first, first);
        self.announced = begun.start != Start::Live;
        match begun.start {
            Start::Live => {
                assert!(first >= before && outcome.recovered.is_none(), "live begins at the top");
            }
            Start::Latest => {
                assert!(first >= before && outcome.recovered.is_none(), "the last values end at the top");
                self.snapshot = begun.latest.iter().copied().collect();
                if before != top {
                    self.blur(top);
                }
            }
            Start::Earliest => assert!(first <= begun.floor, "the earliest is {}, not {first}", begun.floor),
            Start::Last(n) => {
                let wanted = top.saturating_sub(n as usize).max(begun.floor);
                assert!(
                    first <= wanted && before.saturating_sub(first) <= n as usize,
                    "the last {n} of {top}: {wanted} {first}"
                );
            }
            Start::After(asked) => {
                let same = asked.epoch == position.epoch;
                let from = asked.offset as usize;
                match outcome.recovered {
                    Some(true) => assert_eq!(asked, position, "recovered from where it was asked"),
                    Some(false) => {
                        let retained = same && from >= begun.floor && from <= before;
                        assert!(!retained, "{from} is retained, the floor is {}", begun.floor);
                        let missed = (same && from <= top).then(|| first.saturating_sub(from) as u64);
                        self.lost_before = Some((asked, missed));
                        if same && from > before {
                            self.blur(top);
                        }
                    }
                    None => panic!("a recovery says whether it was complete"),
                }
            }
        }
    }

    /// A pattern of the same connection brought this topic before.
    pub(in crate::simulator) fn overlap(&mut self, begun: &Begun, index: usize) {
        if self.logged {
            self.blur(begun.tops[index]);
        }
    }

    /// What comes up to here is not looked at.
    fn blur(&mut self, to: usize) {
        self.blurred_to = to;
        self.overlapped = true;
        (self.owed_from, self.next) = (to, to);
        self.snapshot.clear();
        self.lost_before = None;
        self.gap = Some(Told { missed: None, next: None });
    }
}
