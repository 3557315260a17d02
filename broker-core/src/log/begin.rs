//! Where in a log a subscription begins.

use std::{collections::VecDeque, sync::Arc};

use super::TopicLog;
use crate::{
    message::{Gap, GapReason, Message, Position},
    session::Start,
};

/// Where a subscription to a logged topic begins, decided in one step with the log's top.
#[derive(Debug)]
pub(crate) struct Begin {
    /// Everything after this position will be sent.
    pub(crate) after: Position,
    /// The subscriber waits for the word that all it missed has been sent, be it nothing.
    pub(crate) announced: bool,
    /// Whether all that was missed will come; `None` where nothing was to recover.
    pub(crate) recovered: Option<bool>,
    /// What can no longer be sent.
    pub(crate) gap: Option<Gap>,
    /// What is sent before anything else, although the log has moved on: the last values.
    pub(crate) snapshot: VecDeque<Arc<Message>>,
}

impl TopicLog {
    /// Where a subscription begins. Expired messages must have been given up before.
    pub(crate) fn begin(&self, start: Start) -> Begin {
        let at = |offset| Position::new(self.epoch, offset);
        let plain = |offset| Begin {
            after: at(offset),
            announced: start != Start::Live,
            recovered: None,
            gap: None,
            snapshot: VecDeque::new(),
        };
        match start {
            Start::Live => plain(self.last),
            Start::Earliest => plain(self.floor),
            Start::Last(n) => {
                let n = usize::try_from(n).unwrap_or(usize::MAX).min(self.entries.len());
                let skipped = self.entries.len() - n;
                plain(if skipped == 0 {
                    self.floor
                } else {
                    self.behind_hole(self.entries[skipped - 1].offset)
                })
            }
            Start::Latest => Begin { snapshot: self.latest.values().cloned().collect(), ..plain(self.last) },
            Start::After(position) => self.begin_after(position),
        }
    }

    fn begin_after(&self, asked: Position) -> Begin {
        let lost = |reason, missed| {
            let floor = Position::new(self.epoch, self.floor);
            let next = self.entries.front().map(|first| Position::new(self.epoch, first.offset));
            let gap = Gap::new(reason, missed).between(Some(asked), next);
            Begin {
                after: floor,
                announced: true,
                recovered: Some(false),
                gap: Some(gap),
                snapshot: VecDeque::new(),
            }
        };
        if asked.epoch != self.epoch {
            lost(GapReason::Epoch, None)
        } else if asked.offset > self.last {
            // This log never gave out that position.
            lost(GapReason::History, None)
        } else if asked.offset < self.floor {
            lost(GapReason::History, self.count_between(asked.offset, self.floor))
        } else {
            Begin {
                after: asked,
                announced: true,
                // A hole is told where it is.
                recovered: Some(!self.has_hole_after(asked.offset)),
                gap: None,
                snapshot: VecDeque::new(),
            }
        }
    }
}
