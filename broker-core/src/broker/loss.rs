//! What was lost on the way to this node: read again, or told.

use std::sync::Arc;

use super::{
    Inner,
    settle::{Debt, Settled},
};
use crate::{
    fanout::{Cost, Event, Item, Whom, bits},
    message::{Gap, GapReason},
    table::{Before, Sequencer, TopicId, TopicState},
    topic::{TopicName, TopicPattern},
};

impl Inner {
    /// Something of a topic, or of any topic, was lost on the way to this node.
    pub(crate) fn lost(&self, topic: Option<&TopicName>) {
        let topics = match topic {
            Some(name) => self.topic_for_receiving(name).into_iter().collect(),
            None => self.table.all(),
        };
        if topic.is_none() {
            self.tell_patterns_lost(None);
        }
        for state in topics {
            if state.id() == TopicId::DIRECT {
                self.note_addressed();
            }
            let (is_filling, has_log) = {
                let mut sequencer = state.sequencer();
                (sequencer.fill_again(), sequencer.log().is_some())
            };
            if is_filling || has_log {
                // What the tail holds already is not read again: it went to no pattern.
                if topic.is_some() && !self.patterns_are_in_step(&state) {
                    self.tell_lost(&state, Whom::ByPattern);
                }
                if has_log {
                    self.owe(Debt::Tail(state));
                }
            } else if !state.is_logged() || topic.is_some() {
                // Who is subscribed to a logged topic by a pattern alone has no log to read it from.
                self.tell_lost(&state, Whom::All);
            }
        }
    }

    /// Whether those who are subscribed by a pattern, if any, have got all that the tail holds.
    fn patterns_are_in_step(&self, topic: &TopicState) -> bool {
        let mut sequencer = topic.sequencer();
        sequencer.shards(topic.name(), &self.table.patterns);
        sequencer.patterns_are_in_step()
    }

    /// Reads what a tail lacks.
    pub(super) async fn settle_tail(&self, topic: &Arc<TopicState>) -> Settled {
        self.backfill(topic).await
    }

    /// Tells subscribers of a topic that messages were lost, under the topic's lock.
    pub(crate) fn push_lost(&self, topic: &Arc<TopicState>, sequencer: &mut Sequencer, gap: Gap, whom: Whom) {
        for index in bits(sequencer.shards(topic.name(), &self.table.patterns)) {
            let event = Event::Lost(gap.clone(), whom);
            self.inboxes[index].push_lost(Item { topic: topic.clone(), event, cost: Cost::default() });
        }
    }

    /// Tells the subscribers of a topic whose log is not held here that messages were lost, nobody knows how many.
    pub(super) fn tell_lost(&self, topic: &Arc<TopicState>, whom: Whom) {
        let mut sequencer = topic.sequencer();
        sequencer.has_lost(whom);
        self.push_lost(topic, &mut sequencer, Gap::new(GapReason::Backend, None), whom);
    }

    /// What those are told first, and who, to whom another node's message goes.
    pub(crate) fn lost_before(&self, sequencer: &mut Sequencer, before: Before) -> Option<(Gap, Whom)> {
        let was_deaf = sequencer.hears_again();
        match before {
            Before::Missed(missed @ 1..) => Some((Gap::new(GapReason::Backend, Some(missed)), Whom::All)),
            // The backend gives again what is wanted, and has not said yet that it is back: nobody knows what that node
            // published meanwhile.
            Before::Unknown if !self.is_up() => Some((Gap::new(GapReason::Backend, None), Whom::All)),
            // It may be of before or after the loss: who was told before it was told of both.
            _ => was_deaf.then(|| (Gap::new(GapReason::Backend, None), Whom::ByName)),
        }
    }

    /// A message has come of which nobody knows whether it is of before or after what patterns missed: who is
    /// subscribed so is told before it, and again when the backend knows of the pattern.
    pub(super) fn tell_deaf_patterns(&self, topic: &Arc<TopicState>, sequencer: &mut Sequencer) {
        if sequencer.patterns_hear_again(self.table.patterns.deafness()) {
            self.push_lost(topic, sequencer, Gap::new(GapReason::Backend, None), Whom::ByPattern);
        }
    }

    /// Tells those who are subscribed to a pattern, or to any, that messages of any topic may have been lost.
    pub(super) fn tell_patterns_lost(&self, pattern: Option<&TopicPattern>) {
        if !self.table.patterns.is_empty() {
            for inbox in &self.inboxes {
                inbox.send_patterns_lost(Gap::new(GapReason::Backend, None), pattern);
            }
        }
    }
}
