//! What this node wants, and what the server has confirmed.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use fanfare_core::{
    backend::{Interest, blocks},
    topic::{PatternTrie, TopicName, TopicPattern},
};
use parking_lot::Mutex;

use crate::names::Names;

/// What this node wants, and what the server has confirmed, as of the place in the stream of pushes that has been read.
pub(crate) struct Interests {
    names: Arc<Names>,
    pub(crate) wanted: blocks::Interests,
    confirmed: Mutex<Confirmed>,
}

#[derive(Default)]
struct Confirmed {
    channels: HashSet<Arc<str>>,
    globs: HashMap<Arc<str>, Vec<TopicPattern>>,
    patterns: PatternTrie<Arc<str>>,
}

impl Interests {
    pub(crate) fn new(names: Arc<Names>) -> Self {
        Self { names, wanted: blocks::Interests::new(), confirmed: Mutex::default() }
    }

    /// Takes away what was wanted. True where the server has to be told: nothing else that is wanted has the same channel.
    pub(crate) fn give_up(&self, interest: &Interest) -> bool {
        self.wanted.remove(interest);
        let Interest::Pattern(pattern) = interest else { return true };
        let glob = self.names.glob(pattern);
        let is_shared = self.wanted.patterns().iter().any(|other| self.names.glob(other) == glob);
        if is_shared {
            self.confirmed.lock().remove(pattern);
        }
        !is_shared
    }

    /// A channel's messages come from here on, or no longer.
    pub(crate) fn channel(&self, channel: &Arc<str>, on: bool) {
        let channels = &mut self.confirmed.lock().channels;
        if on {
            channels.insert(channel.clone());
        } else {
            channels.remove(channel);
        }
    }

    /// The same for a glob.
    pub(crate) fn glob(&self, glob: &Arc<str>, on: bool) {
        let mut wanted = if on { self.wanted.patterns() } else { Vec::new() };
        wanted.retain(|pattern| *self.names.glob(pattern) == **glob);
        let confirmed = &mut *self.confirmed.lock();
        for pattern in confirmed.globs.remove(glob).unwrap_or_default() {
            confirmed.patterns.remove(&pattern, |_| true);
        }
        if on {
            for pattern in &wanted {
                confirmed.patterns.insert(pattern.clone(), glob.clone());
            }
            confirmed.globs.insert(glob.clone(), wanted);
        }
    }

    /// A connection is gone, and with it all that was confirmed on it: patterns, and the channels it had.
    pub(crate) fn forget(&self, had: impl Fn(&str) -> bool) {
        let mut confirmed = self.confirmed.lock();
        let mut channels = std::mem::take(&mut confirmed.channels);
        channels.retain(|channel| !had(channel));
        *confirmed = Confirmed { channels, ..Confirmed::default() };
    }

    /// Whether a message is to be taken that came by a channel itself, or by a glob. Redis sends one copy for each
    /// subscription that fits; one of them counts: the channel's own, else that of the most specific pattern.
    pub(crate) fn takes(&self, channel: &str, glob: Option<&str>, topic: &TopicName) -> bool {
        let Some(glob) = glob else { return true };
        let confirmed = self.confirmed.lock();
        !confirmed.channels.contains(channel)
            && confirmed.patterns.best(topic).is_some_and(|best| **best == *glob)
    }
}

impl Confirmed {
    fn remove(&mut self, pattern: &TopicPattern) {
        self.patterns.remove(pattern, |_| true);
        for patterns in self.globs.values_mut() {
            patterns.retain(|other| other != pattern);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(name: &str) -> TopicName {
        TopicName::new(name).unwrap()
    }

    fn pattern(pattern: &str) -> Interest {
        Interest::Pattern(TopicPattern::new(pattern).unwrap())
    }

    #[test]
    fn one_copy_counts() {
        let names = Arc::new(Names::new("p:", 0));
        let interests = Interests::new(names.clone());
        for text in ["chat.*", "chat.>", ">"] {
            interests.wanted.add(&pattern(text));
        }
        let (chat, all): (Arc<str>, Arc<str>) = ("p:db0:topic:{chat.*}".into(), "p:db0:topic:{*}".into());
        interests.glob(&chat, true);
        interests.glob(&all, true);
        let takes = |name: &str| {
            let (topic, channel) = (topic(name), names.topic(&topic(name)));
            [None, Some(&*chat), Some(&*all)].map(|glob| interests.takes(&channel, glob, &topic))
        };
        assert_eq!(takes("chat.a"), [true, true, false]);
        // `chat.*` is one segment, but `chat.>` has the same glob.
        assert_eq!(takes("chat.a.b"), [true, true, false]);
        assert_eq!(takes("news"), [true, false, true]);
        assert_eq!(takes("$sys"), [true, false, false]);
        let channel: Arc<str> = names.topic(&topic("chat.a")).into();
        interests.channel(&channel, true);
        assert_eq!(takes("chat.a"), [true, false, false]);
        interests.channel(&channel, false);
        assert!(!interests.give_up(&pattern("chat.>")), "the other pattern needs the glob");
        assert_eq!(takes("chat.a.b"), [true, false, true]);
        assert!(interests.give_up(&pattern("chat.*")));
        interests.glob(&chat, false);
        assert_eq!(takes("chat.a"), [true, false, true]);
        interests.forget(|_| true);
        assert_eq!(takes("news"), [true, false, false]);
    }
}
