//! What a node wants.

use std::{collections::HashMap, fmt};

use parking_lot::RwLock;

use crate::{
    backend::{Incoming, Interest, Retention},
    topic::{PatternTrie, TopicName, TopicPattern},
};

/// What a node wants: the set that [`Backend::subscribe`](crate::backend::Backend::subscribe) adds to, and
/// [`unsubscribe`](crate::backend::Backend::unsubscribe) takes from. Adding twice is the same as once.
#[derive(Default)]
pub struct Interests {
    wanted: RwLock<Wanted>,
}

/// Names come from clients, so the hasher is a keyed one.
#[derive(Default)]
struct Wanted {
    topics: HashMap<TopicName, Option<Retention>>,
    patterns: PatternTrie<()>,
}

impl Interests {
    /// Nothing is wanted.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an interest. False where it was there; what a topic retains is noted anew.
    pub fn add(&self, interest: &Interest) -> bool {
        let mut wanted = self.wanted.write();
        match interest {
            Interest::Topic { name, retention } => wanted.topics.insert(name.clone(), *retention).is_none(),
            Interest::Pattern(pattern) => {
                let is_new = wanted.patterns.get(pattern).is_empty();
                if is_new {
                    wanted.patterns.insert(pattern.clone(), ());
                }
                is_new
            }
        }
    }

    /// Takes an interest away. False where it was not there.
    pub fn remove(&self, interest: &Interest) -> bool {
        let mut wanted = self.wanted.write();
        match interest {
            Interest::Topic { name, .. } => wanted.topics.remove(name).is_some(),
            Interest::Pattern(pattern) => !wanted.patterns.remove(pattern, |()| true).is_empty(),
        }
    }

    /// Nothing is wanted any more.
    pub fn clear(&self) {
        *self.wanted.write() = Wanted::default();
    }

    /// Whether a message is for this node: one of its topics is wanted, by its name or by a pattern.
    #[must_use]
    pub fn matches(&self, incoming: &Incoming) -> bool {
        let wanted = self.wanted.read();
        let mut names =
            std::iter::once(&incoming.message.topic).chain(incoming.also.iter().map(|(name, _)| name));
        names.any(|name| wanted.topics.contains_key(name) || wanted.patterns.best(name).is_some())
    }

    /// Whether a topic is wanted by its name.
    #[must_use]
    pub fn has_topic(&self, name: &TopicName) -> bool {
        self.wanted.read().topics.contains_key(name)
    }

    /// The topics that are wanted by their names, with what they retain.
    #[must_use]
    pub fn topics(&self) -> Vec<(TopicName, Option<Retention>)> {
        self.wanted.read().topics.iter().map(|(name, retention)| (name.clone(), *retention)).collect()
    }

    /// The patterns that are wanted.
    #[must_use]
    pub fn patterns(&self) -> Vec<TopicPattern> {
        self.wanted.read().patterns.iter().map(|(pattern, ())| pattern.clone()).collect()
    }
}

impl fmt::Debug for Interests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wanted = self.wanted.read();
        let (topics, patterns) = (wanted.topics.len(), wanted.patterns.len());
        f.debug_struct("Interests").field("topics", &topics).field("patterns", &patterns).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        backend::{NodeId, Origin},
        message::MessageParts,
    };

    fn name(text: &str) -> TopicName {
        TopicName::new(text).unwrap()
    }

    fn topic(text: &str) -> Interest {
        Interest::Topic { name: name(text), retention: None }
    }

    fn pattern(text: &str) -> Interest {
        Interest::Pattern(TopicPattern::new(text).unwrap())
    }

    fn message(topics: &[&str]) -> Incoming {
        let origin = Origin { node: NodeId::new(1), stream: 1, seq: 1 };
        let also = topics[1..].iter().map(|topic| (name(topic), origin)).collect();
        Incoming::ephemeral(MessageParts::new(name(topics[0]), "x"), origin).with_also(also)
    }

    #[test]
    fn a_message_is_for_who_wants_one_of_its_topics() {
        let interests = Interests::new();
        assert!(interests.add(&topic("a")) && interests.add(&pattern("chat.*")));
        assert!(!interests.add(&topic("a")) && !interests.add(&pattern("chat.*")), "once");
        for (topics, is_wanted) in [
            (&["a"][..], true),
            (&["b"], false),
            (&["b", "a"], true),
            (&["chat.x"], true),
            (&["chat.x.y"], false),
            (&["b", "chat.x"], true),
        ] {
            assert_eq!(interests.matches(&message(topics)), is_wanted, "{topics:?}");
        }
        assert!(interests.remove(&pattern("chat.*")) && !interests.remove(&pattern("chat.*")));
        assert!(!interests.matches(&message(&["chat.x"])));
        assert_eq!((interests.topics(), interests.patterns()), (vec![(name("a"), None)], Vec::new()));
        assert!(interests.has_topic(&name("a")) && interests.remove(&topic("a")));
        assert!(!interests.matches(&message(&["a"])));
    }
}
