//! What one client makes of what it receives.

use std::collections::{BTreeMap, HashMap};

use super::{
    direct::DirectTrack,
    frames::{Seen, SeenReply},
    track::{Begun, PatternTrack, Track},
    truth::Truth,
};
use crate::{
    message::{Gap, LogPlace, Position},
    session::{ClientId, Start},
    topic::{TopicName, TopicPattern},
};

/// A client's requests, subscriptions, and what came.
pub(super) struct View {
    pub(super) client: ClientId,
    pub(super) requests: HashMap<u64, Request>,
    pub(super) exact: BTreeMap<String, Track>,
    pub(super) patterns: BTreeMap<String, PatternTrack>,
    /// Which subscription brought each message.
    brought: HashMap<(u64, bool), u64>,
    instance: HashMap<String, u64>,
    instances: u64,
    pub(super) messages: u64,
    pub(super) closed: Option<u16>,
    /// What is for the connection itself, where it is one.
    direct: Option<DirectTrack>,
    /// The last position of each topic, as a client remembers it.
    pub(super) positions: BTreeMap<String, Position>,
}

/// A command that was sent.
#[derive(Clone, Debug)]
pub(super) enum Request {
    /// One subscription, or in a `connect` several.
    Subscribe {
        wanted: Vec<(String, Start)>,
        before: Option<Vec<usize>>,
        begun: Vec<Begun>,
    },
    Unsubscribe {
        name: String,
    },
    /// The message's number.
    Publish(u64),
    Ping,
}

impl View {
    pub(super) fn new(client: ClientId, direct: Option<DirectTrack>) -> Self {
        Self {
            client,
            direct,
            requests: HashMap::new(),
            exact: BTreeMap::new(),
            patterns: BTreeMap::new(),
            brought: HashMap::new(),
            instance: HashMap::new(),
            instances: 0,
            messages: 0,
            closed: None,
            positions: BTreeMap::new(),
        }
    }

    /// A subscription has just got its place.
    pub(super) fn began(&mut self, id: u64, now: Vec<Begun>) {
        if let Some(Request::Subscribe { begun, .. }) = self.requests.get_mut(&id) {
            *begun = now;
        }
    }

    /// A subscription is about to get its place.
    pub(super) fn begins(&mut self, id: u64, tops: Vec<usize>) {
        if let Some(Request::Subscribe { before, .. }) = self.requests.get_mut(&id) {
            before.get_or_insert(tops);
        }
    }

    pub(super) fn see(&mut self, truth: &Truth, seen: Seen) {
        assert!(self.closed.is_none(), "the close frame is the last, but {seen:?} follows");
        match seen {
            Seen::Message { topic, uid, place } => self.message(truth, &topic, uid, place),
            Seen::Cursor { topic, position } => self.track(&topic, "a cursor").cursor(truth, position),
            Seen::Live { topic, position } => self.live(truth, &topic, position),
            Seen::Gap { subject, gap } => self.gap(truth, &subject, &gap),
            Seen::Reply { id, reply } => self.reply(truth, id, reply),
            Seen::Ping => {}
            Seen::Close(code) => self.closed = Some(code),
        }
    }

    pub(super) fn live(&mut self, truth: &Truth, topic: &str, position: Position) {
        self.track(topic, "live").live(truth, position);
        self.positions.insert(topic.to_owned(), position);
    }

    pub(super) fn gap(&mut self, truth: &Truth, subject: &str, gap: &Gap) {
        match (self.patterns.get_mut(subject), &mut self.direct) {
            (Some(track), _) => track.gap(gap),
            (None, Some(direct)) if subject == "$direct" => direct.gap(gap),
            _ => self.track(subject, "a gap").gap(truth, gap),
        }
    }

    fn track(&mut self, topic: &str, what: &str) -> &mut Track {
        self.exact.get_mut(topic).unwrap_or_else(|| panic!("{what} of {topic}, which is not subscribed"))
    }

    pub(super) fn message(&mut self, truth: &Truth, name: &str, uid: u64, place: Option<LogPlace>) {
        self.messages += 1;
        if name.starts_with('$') {
            assert!(self.brought.insert((uid, false), 0).is_none(), "{uid} for {name} comes twice");
            let direct = self.direct.as_mut().unwrap_or_else(|| panic!("{name} is no connection"));
            return direct.message(truth, name, uid);
        }
        let at = truth.place(uid, name);
        let sent = &truth.topic(name).sent[at];
        assert!(!sent.except.contains(&self.client), "{name} {at} is hidden from this client");
        if self.exact.get(name).is_some_and(|track| track.ignores(at)) {
            return;
        }
        let pattern = self.pattern_of(name);
        let subject = match (self.exact.get(name), pattern) {
            (Some(track), Some(pattern)) if !track.expects(at) => pattern,
            (Some(_), _) => name.to_owned(),
            (None, Some(pattern)) => pattern,
            (None, None) => panic!("a message of {name}, which is not subscribed"),
        };
        let instance = self.instance[&subject];
        let before = self.brought.insert((uid, place.is_some()), instance);
        assert!(before.is_none_or(|before| place.is_some() && before != instance), "{name} {at} comes twice");
        match self.patterns.get_mut(&subject) {
            Some(track) => track.message(truth, name, at),
            None => self.track(name, "a message").message(truth, at, place),
        }
        if let Some(place) = place {
            self.positions.insert(name.to_owned(), place.position);
        }
    }

    /// The most specific pattern that brings a topic.
    fn pattern_of(&self, name: &str) -> Option<String> {
        let found = self.patterns.keys().filter(|pattern| matches(pattern, name));
        found.min_by_key(|pattern| (pattern.contains('>'), pattern.len())).cloned()
    }

    fn reply(&mut self, truth: &Truth, id: u64, reply: SeenReply) {
        let request =
            self.requests.remove(&id).unwrap_or_else(|| panic!("an answer to nothing: {id} {reply:?}"));
        match (request, reply) {
            (Request::Subscribe { wanted, begun, .. }, SeenReply::Subscribed(outcome)) => {
                self.subscribed(truth, &wanted[0].0, &begun[0], outcome, true);
            }
            (Request::Subscribe { wanted, begun, .. }, SeenReply::Connected(outcomes)) => {
                assert_eq!(wanted.len(), outcomes.len());
                // What was subscribed before has ended.
                for (name, _) in &wanted {
                    self.exact.remove(name);
                    self.patterns.remove(name);
                }
                for ((name, outcome), begun) in outcomes.iter().zip(&begun) {
                    self.subscribed(truth, name, begun, *outcome, true);
                }
            }
            (Request::Unsubscribe { name }, SeenReply::Unsubscribed) => {
                let held = self.exact.remove(&name).is_some() || self.patterns.remove(&name).is_some();
                assert!(held, "{name} was not subscribed");
            }
            (Request::Unsubscribe { .. }, SeenReply::Error(crate::session::ErrorCode::NotSubscribed))
            | (Request::Publish(_), SeenReply::Published)
            // The connection was ended while it was under way.
            | (Request::Publish(_), SeenReply::Error(crate::session::ErrorCode::Kicked))
            | (Request::Ping, SeenReply::Pong) => {}
            (request, reply) => panic!("{request:?} is answered by {reply:?}"),
        }
    }

    pub(super) fn subscribed(
        &mut self,
        truth: &Truth,
        name: &str,
        begun: &Begun,
        outcome: crate::session::Subscribed,
        has_cursors: bool,
    ) {
        self.instances += 1;
        self.instance.insert(name.to_owned(), self.instances);
        let is_pattern = name.contains(['*', '>']);
        if is_pattern {
            self.patterns.insert(name.to_owned(), PatternTrack::new(name, self.client, begun));
        } else {
            let index = truth.index(name);
            let topic = &truth.topics[index];
            let mut track = Track::new(topic, index, self.client, begun, outcome, has_cursors);
            if self.pattern_of(name).is_some() {
                track.overlap(begun, index);
            }
            self.exact.insert(name.to_owned(), track);
        }
        self.find_overlaps(truth);
    }

    /// Where several subscriptions meet on a topic, a pattern's share cannot be told from outside.
    fn find_overlaps(&mut self, truth: &Truth) {
        for topic in &truth.topics {
            let exact = usize::from(self.exact.contains_key(topic.name));
            let held = self.patterns.keys().filter(|pattern| matches(pattern, topic.name)).count();
            if held + exact > 1 {
                for (pattern, track) in &mut self.patterns {
                    track.strict &= !matches(pattern, topic.name);
                }
            }
        }
    }

    pub(super) fn end(&mut self, truth: &Truth) {
        assert!(self.requests.is_empty(), "never answered: {:?}", self.requests);
        if let Some(direct) = &mut self.direct {
            direct.end(truth);
        }
        for track in self.exact.values_mut() {
            track.end(truth);
        }
        for (pattern, track) in &mut self.patterns {
            track.end(truth, |name| matches(pattern, name));
        }
    }
}

pub(super) fn matches(pattern: &str, name: &str) -> bool {
    let name = TopicName::new(name).unwrap_or_else(|error| panic!("{error}"));
    TopicPattern::new(pattern).is_ok_and(|pattern| pattern.matches(&name))
}
