//! Which policy decides on what.

use std::sync::Arc;

use smallvec::{SmallVec, smallvec};

use super::{Action, Policy};
use crate::topic::{PatternTrie, TopicName, TopicPattern};

/// The policy of the broker, and those of its namespaces.
pub(crate) struct Policies {
    root: Arc<dyn Policy>,
    namespaces: PatternTrie<Arc<dyn Policy>>,
}

/// Who is asked about one action: most of the time one.
type Asked<'a> = SmallVec<[&'a Arc<dyn Policy>; 1]>;

impl Policies {
    pub(crate) fn new(root: Arc<dyn Policy>, namespaces: PatternTrie<Arc<dyn Policy>>) -> Self {
        Self { root, namespaces }
    }

    /// Who decides on clients that connect.
    pub(crate) fn root(&self) -> &Arc<dyn Policy> {
        &self.root
    }

    /// Who decides on an action: all of them have to say yes.
    pub(crate) fn of(&self, action: Action<'_>) -> Asked<'_> {
        if self.namespaces.is_empty() {
            return smallvec![&self.root];
        }
        match action {
            Action::SubscribePattern(pattern) | Action::KeepPattern(pattern) => self.of_pattern(pattern),
            Action::Subscribe(topic)
            | Action::Publish(topic)
            | Action::History(topic)
            | Action::Presence(topic)
            | Action::Keep(topic) => smallvec![self.of_topic(topic)],
            // Methods and addresses are no topics.
            Action::Call(_) | Action::PublishTo(_) => smallvec![&self.root],
        }
    }

    fn of_topic(&self, topic: &TopicName) -> &Arc<dyn Policy> {
        self.namespaces.best(topic).unwrap_or(&self.root)
    }

    /// Whoever decides on a topic that the pattern could match.
    fn of_pattern(&self, pattern: &TopicPattern) -> Asked<'_> {
        let concerned = || self.namespaces.iter().filter(|(namespace, _)| namespace.overlaps(pattern));
        // Of those that hold for all of it the most specific one counts.
        let covering = concerned().filter(|(namespace, _)| namespace.covers(pattern));
        let base =
            covering.max_by(|(a, _), (b, _)| a.cmp_specificity(b)).map_or(&self.root, |(_, policy)| policy);
        let mut asked: Asked<'_> = smallvec![base];
        let within = concerned().filter(|(namespace, _)| !namespace.covers(pattern));
        asked.extend(within.map(|(_, policy)| policy));
        asked
    }
}
