//! What was lost on the way to this node: read again, or told.

use std::sync::Arc;

use super::{Inner, settle::Debt};
use crate::{
    fanout::{Cost, Event, Item, Whom, bits},
    message::{Gap, GapReason},
    table::{Sequencer, TopicState},
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
            if state.sequencer().fill_again() {
                continue;
            }
            if state.sequencer().log().is_some() {
                self.owe(Debt::Tail(state));
            } else if !state.is_logged() || topic.is_some() {
                // Who is subscribed to a logged topic by a pattern alone has no log to read it from.
                self.tell_lost(&state, if topic.is_none() { Whom::ByName } else { Whom::All });
            }
        }
    }

    /// Tells subscribers of a topic that messages were lost, under the topic's lock.
    pub(super) fn push_lost(&self, topic: &Arc<TopicState>, sequencer: &mut Sequencer, gap: Gap, whom: Whom) {
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

    /// Tells those who are subscribed to a pattern, or to any, that messages of any topic may have been lost.
    pub(super) fn tell_patterns_lost(&self, pattern: Option<&TopicPattern>) {
        if !self.table.patterns.is_empty() {
            self.table.patterns.break_off();
            for inbox in &self.inboxes {
                inbox.send_patterns_lost(Gap::new(GapReason::Backend, None), pattern);
            }
        }
    }
}
