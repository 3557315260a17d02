//! What this node wants, and by which subscriptions it comes.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use fanfare_core::{
    backend::{Interest, Retention},
    topic::{PatternTrie, TopicName, TopicPattern},
};
use parking_lot::Mutex;

use crate::names::Names;

/// What this node wants, and by which subscriptions it comes on the present connection.
pub(crate) struct Interests {
    names: Arc<Names>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    topics: HashMap<TopicName, Topic>,
    patterns: HashMap<TopicPattern, Option<u64>>,
    sources: HashMap<u64, Source>,
    /// The subscriptions that are being ended.
    ending: HashSet<u64>,
    /// The topics and patterns whose subscriptions the server has confirmed.
    confirmed: HashSet<TopicName>,
    confirmed_patterns: PatternTrie<u64>,
}

#[derive(Default)]
struct Topic {
    retention: Option<Retention>,
    sid: Option<u64>,
    /// The last mark that was seen in its log, with the offset that it stands for.
    mark: Option<(u64, u64)>,
}

/// What a subscription brings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// What nodes tell each other on a subject.
    Control(Arc<str>),
    Topic(TopicName),
    Pattern(TopicPattern),
}

impl Interests {
    pub(crate) fn new(names: Arc<Names>) -> Self {
        Self { names, state: Mutex::default() }
    }

    /// Wants something. The subscription that brings it; and its frame, where there was none, which is then to be sent.
    pub(crate) fn want(
        &self,
        interest: &Interest,
        next_sid: impl FnOnce() -> u64,
    ) -> Option<(u64, Option<String>)> {
        let state = &mut *self.state.lock();
        let (sid, source) = match interest {
            Interest::Topic { name, retention } => {
                let topic = state.topics.entry(name.clone()).or_default();
                topic.retention = *retention;
                (&mut topic.sid, Source::Topic(name.clone()))
            }
            Interest::Pattern(pattern) => {
                (state.patterns.entry(pattern.clone()).or_default(), Source::Pattern(pattern.clone()))
            }
            _ => return None,
        };
        if let Some(sid) = *sid {
            return Some((sid, None));
        }
        let new = *sid.insert(next_sid());
        let frame = source.subscribe(&self.names, new);
        state.sources.insert(new, source);
        Some((new, Some(frame)))
    }

    /// Wants something no longer; the subscription that is to be ended. Until it [has](Self::ended), what comes by it counts: another
    /// copy, by a pattern, may have come before, when that one did not.
    pub(crate) fn give_up(&self, interest: &Interest) -> Option<u64> {
        let state = &mut *self.state.lock();
        let sid = match interest {
            Interest::Topic { name, .. } => {
                state.confirmed.remove(name);
                state.topics.remove(name)?.sid
            }
            Interest::Pattern(pattern) => {
                state.confirmed_patterns.remove(pattern, |_| true);
                state.patterns.remove(pattern)?
            }
            _ => None,
        }?;
        state.ending.insert(sid);
        Some(sid)
    }

    /// Nothing comes by a subscription any more.
    pub(crate) fn ended(&self, sid: u64) {
        let state = &mut *self.state.lock();
        state.ending.remove(&sid);
        state.sources.remove(&sid);
    }

    /// The server has confirmed a subscription. False where it is none any more.
    pub(crate) fn confirm(&self, sid: u64) -> bool {
        let state = &mut *self.state.lock();
        let source = state.sources.get(&sid);
        let is_there = source.is_some();
        match source {
            Some(Source::Topic(name)) => drop(state.confirmed.insert(name.clone())),
            Some(Source::Pattern(pattern)) => {
                state.confirmed_patterns.remove(pattern, |_| true);
                state.confirmed_patterns.insert(pattern.clone(), sid);
            }
            Some(Source::Control(_)) | None => {}
        }
        is_there
    }

    /// New subscriptions to what is wanted and has none, because the server has refused it: what they bring, and their frames.
    pub(crate) fn ask_again(&self, mut next_sid: impl FnMut() -> u64) -> Vec<(u64, Source, String)> {
        let state = &mut *self.state.lock();
        let topics =
            state.topics.iter_mut().map(|(name, topic)| (&mut topic.sid, Source::Topic(name.clone())));
        let patterns =
            state.patterns.iter_mut().map(|(pattern, sid)| (sid, Source::Pattern(pattern.clone())));
        let mut asked = Vec::new();
        for (sid, source) in topics.chain(patterns).filter(|(sid, _)| sid.is_none()) {
            let new = *sid.insert(next_sid());
            state.sources.insert(new, source.clone());
            asked.push((new, source.clone(), source.subscribe(&self.names, new)));
        }
        asked
    }

    /// A subscription for control frames.
    pub(crate) fn add_control(&self, subject: String, sid: u64) {
        self.state.lock().sources.insert(sid, Source::Control(subject.into()));
    }

    /// The subscriptions that there are: their numbers, and their frames.
    pub(crate) fn subscriptions(&self) -> BTreeMap<u64, String> {
        let state = self.state.lock();
        let lasting = state.sources.iter().filter(|(sid, _)| !state.ending.contains(sid));
        lasting.map(|(sid, source)| (*sid, source.subscribe(&self.names, *sid))).collect()
    }

    /// Gives new subscriptions to all that is wanted: their numbers, and their frames.
    pub(crate) fn renew(&self, mut next_sid: impl FnMut() -> u64) -> (Vec<u64>, String) {
        let state = &mut *self.state.lock();
        state.forget();
        let (mut sids, mut frames) = (Vec::new(), String::new());
        let mut add = |source: Source, sources: &mut HashMap<u64, Source>| {
            let sid = next_sid();
            frames.push_str(&source.subscribe(&self.names, sid));
            sources.insert(sid, source);
            sids.push(sid);
            Some(sid)
        };
        for (name, topic) in &mut state.topics {
            topic.sid = add(Source::Topic(name.clone()), &mut state.sources);
        }
        for (pattern, sid) in &mut state.patterns {
            *sid = add(Source::Pattern(pattern.clone()), &mut state.sources);
        }
        (sids, frames)
    }

    /// The connection is gone, and with it all subscriptions.
    pub(crate) fn forget(&self) {
        self.state.lock().forget();
    }

    /// The server has refused a subscription, which is none then, and whether it had confirmed it. None where a node cannot do
    /// without it.
    pub(crate) fn refused(&self, subject: &str) -> Option<(Source, bool)> {
        let state = &mut *self.state.lock();
        let is_refused =
            |source: &Source| !matches!(source, Source::Control(_)) && source.subject(&self.names) == subject;
        let found = state.sources.iter().find(|(_, source)| is_refused(source));
        let (sid, source) = found.map(|(sid, source)| (*sid, source.clone()))?;
        state.sources.remove(&sid);
        let was_confirmed = match &source {
            Source::Topic(name) => {
                if let Some(topic) = state.topics.get_mut(name) {
                    topic.sid = None;
                }
                state.confirmed.remove(name)
            }
            Source::Pattern(pattern) => {
                if let Some(sid) = state.patterns.get_mut(pattern) {
                    *sid = None;
                }
                !state.confirmed_patterns.remove(pattern, |_| true).is_empty()
            }
            Source::Control(_) => false,
        };
        Some((source, was_confirmed))
    }

    pub(crate) fn source(&self, sid: u64) -> Option<Source> {
        self.state.lock().sources.get(&sid).cloned()
    }

    /// Whether a message counts that came by a subscription. The server sends one copy for each that fits: the topic's own counts,
    /// else that of the most specific pattern. In doubt it counts: the core drops what comes twice.
    pub(crate) fn takes(&self, source: &Source, topic: &TopicName) -> bool {
        let Source::Pattern(pattern) = source else { return true };
        let state = self.state.lock();
        let best = state.confirmed_patterns.best(topic);
        !state.confirmed.contains(topic)
            && match state.patterns.get(pattern) {
                Some(sid) => best.is_none_or(|best| Some(*best) == *sid),
                None => true,
            }
    }

    /// The logged topics that are wanted by their names.
    pub(crate) fn logged(&self) -> Vec<(TopicName, Retention)> {
        let state = self.state.lock();
        state.topics.iter().filter_map(|(name, topic)| Some((name.clone(), topic.retention?))).collect()
    }

    /// A mark was seen in the log of a topic.
    pub(crate) fn note_mark(&self, topic: &TopicName, at: u64, stands_for: u64) {
        if let Some(topic) = self.state.lock().topics.get_mut(topic)
            && topic.mark.is_none_or(|(before, _)| before < at)
        {
            topic.mark = Some((at, stands_for));
        }
    }

    /// The marks that were seen are another log's.
    pub(crate) fn forget_marks(&self) {
        self.state.lock().topics.values_mut().for_each(|topic| topic.mark = None);
    }

    /// The offset that stands before a message: that of the message before, or what the mark before it stands for.
    pub(crate) fn before(&self, topic: &TopicName, last: u64) -> u64 {
        let state = self.state.lock();
        let mark = state.topics.get(topic).and_then(|topic| topic.mark);
        mark.filter(|(at, _)| *at == last).map_or(last, |(_, stands_for)| stands_for)
    }
}

impl State {
    fn forget(&mut self) {
        self.sources.clear();
        self.ending.clear();
        self.confirmed.clear();
        self.confirmed_patterns = PatternTrie::default();
        self.patterns.values_mut().for_each(|sid| *sid = None);
        for topic in self.topics.values_mut() {
            (topic.sid, topic.mark) = (None, None);
        }
    }
}

impl Source {
    /// The topic, if it brings one alone.
    pub(crate) fn topic(&self) -> Option<&TopicName> {
        if let Self::Topic(name) = self { Some(name) } else { None }
    }

    pub(crate) fn subject(&self, names: &Names) -> String {
        match self {
            Self::Control(subject) => subject.to_string(),
            Self::Topic(name) => names.topic(name),
            Self::Pattern(pattern) => names.pattern(pattern),
        }
    }

    fn subscribe(&self, names: &Names, sid: u64) -> String {
        format!("SUB {} {sid}\r\n", self.subject(names))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(name: &str) -> TopicName {
        TopicName::new(name).unwrap()
    }

    fn by_name(name: &str) -> Interest {
        Interest::Topic { name: topic(name), retention: None }
    }

    fn pattern(pattern: &str) -> Interest {
        Interest::Pattern(TopicPattern::new(pattern).unwrap())
    }

    #[test]
    fn one_copy_counts() {
        let interests = Interests::new(Arc::new(Names::new("p")));
        let wants = [pattern("chat.*"), pattern(">"), by_name("chat.a")];
        let sids: Vec<u64> =
            (11..).zip(&wants).map(|(sid, interest)| interests.want(interest, || sid).unwrap().0).collect();
        let takes = |name: &str| {
            sids.iter()
                .map(|sid| {
                    interests.source(*sid).is_some_and(|source| interests.takes(&source, &topic(name)))
                })
                .collect::<Vec<_>>()
        };
        assert_eq!(takes("chat.b")[..2], [true, true], "unless it is known that another comes");
        assert!(sids.iter().all(|sid| interests.confirm(*sid)));
        assert_eq!(takes("chat.a"), [false, false, true]);
        assert_eq!(takes("chat.b")[..2], [true, false]);
        assert_eq!(takes("news")[..2], [false, true]);
        assert_eq!(interests.give_up(&by_name("chat.a")), Some(13));
        assert_eq!(takes("chat.a"), [true, false, true], "the pattern's copy may have been dropped before");
        interests.ended(13);
        assert_eq!(takes("chat.a"), [true, false, false]);
        assert_eq!(interests.give_up(&wants[0]), Some(11));
        assert_eq!(takes("chat.a"), [true, true, false]);
        assert_eq!(interests.subscriptions().into_keys().collect::<Vec<_>>(), [12]);
        interests.ended(11);
        assert_eq!(takes("chat.a"), [false, true, false]);
        assert_eq!(interests.want(&wants[1], || 20), Some((12, None)), "it is there");
    }

    #[test]
    fn what_is_wanted_outlives_its_subscriptions() {
        let interests = Interests::new(Arc::new(Names::new("p")));
        interests.want(&by_name("a"), || 5);
        interests.want(&by_name("b"), || 6);
        interests.give_up(&by_name("b"));
        interests.forget();
        assert_eq!(interests.source(5), None);
        let (sids, frames) = interests.renew(|| 7);
        assert_eq!((sids, frames.as_str()), (vec![7], "SUB p.m.t.a 7\r\n"));
        assert_eq!(interests.refused("p.m.t.a"), Some((Source::Topic(topic("a")), false)));
        assert!(!interests.confirm(7), "it is none");
        let (sid, frame) = interests.want(&by_name("a"), || 8).unwrap();
        assert_eq!((sid, frame.is_some()), (8, true), "asked for again");
        interests.confirm(8);
        interests.want(&pattern("b.*"), || 9);
        assert!(interests.ask_again(|| 0).is_empty(), "nothing is refused");
        assert_eq!(interests.refused("p.m.t.a"), Some((Source::Topic(topic("a")), true)));
        assert_eq!(interests.refused("p.m.t.b.*").map(|(_, was_confirmed)| was_confirmed), Some(false));
        let frames: Vec<_> = interests.ask_again(|| 10).into_iter().map(|(.., frame)| frame).collect();
        assert_eq!(frames, ["SUB p.m.t.a 10\r\n", "SUB p.m.t.b.* 10\r\n"]);
    }

    #[test]
    fn a_mark_stands_for_another_offset() {
        let interests = Interests::new(Arc::new(Names::new("p")));
        interests.want(&by_name("a"), || 5);
        interests.note_mark(&topic("a"), 17, 0);
        assert_eq!((interests.before(&topic("a"), 17), interests.before(&topic("a"), 16)), (0, 16));
    }
}
