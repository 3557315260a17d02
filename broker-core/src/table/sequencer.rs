//! What a topic's lock guards: its order, its tail, and who holds it.

use std::{sync::Arc, time::Duration};

use smallvec::SmallVec;
use tokio::time::Instant;

use super::{Arrival, PatternArrival, PatternIndex};
use crate::{
    backend::{NodeId, Origin},
    fanout::Whom,
    log::TopicLog,
    message::{Epoch, LogPlace, Message, Position},
    topic::TopicName,
};

/// How many other nodes' counts one topic keeps; the one heard of longest ago goes first.
const MAX_ORIGINS: usize = 256;

/// How many logs that are no more one topic remembers.
const MAX_PAST: usize = 4;

/// How long a log that was said to be no more is believed to be so.
const PAST_FOR: Duration = Duration::from_secs(1);

/// What a topic's sequencing lock guards.
pub(crate) struct Sequencer {
    /// Subscriptions to the topic itself, per shard.
    subscribers: SmallVec<[u32; 4]>,
    /// Shards that hold a pattern that matches, as of a version of the index.
    pattern_shards: u64,
    pattern_version: u64,
    /// The log's end, while somebody here is subscribed.
    pub(crate) tail: Tail,
    /// The backend was told that this node wants the topic.
    pub(crate) wanted: bool,
    /// The backend is told, or may have been: who asked it may have gone before it answered.
    pub(crate) asked: bool,
    stream: u64,
    seq: u64,
    origins: Vec<Heard>,
    deaf: Deaf,
    /// The last message of a logged topic that went to those who are subscribed by a pattern.
    by_pattern: Option<Position>,
    /// They were told of a loss since, nobody knows up to where.
    by_pattern_is_told: bool,
    /// See [`PatternIndex::deafness`]: what those who are subscribed by a pattern know of.
    deafness_told: u64,
    /// How often the log that is held here was replaced.
    generation: u32,
    /// Logs that are no more, until when that is believed.
    past: Vec<(Epoch, Instant)>,
}

/// Whether the backend may have given this node nothing of an ephemeral topic for a while.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Deaf {
    No,
    /// The subscribers do not know yet.
    Untold,
    Told,
}

/// What was lost before another node's message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Before {
    /// So many of the same stream.
    Missed(u64),
    /// Of a stream that is new here nothing was expected.
    Unknown,
}

/// What a node holds of a topic's log.
pub(crate) enum Tail {
    /// Nobody is subscribed.
    None,
    /// It is being read from the backend, which has to reach the last offset that was seen meanwhile. It is known by
    /// `news` that something was seen while an answer was on its way.
    Filling { seen: u64, news: u32 },
    /// All that the backend retains, within the topic's limits.
    Ready(Box<TopicLog>),
}

/// How far another node's messages have been received.
struct Heard {
    node: NodeId,
    stream: u64,
    /// From here on no number is missing that has not been told.
    first: u64,
    seq: u64,
    /// Nothing was lost since without having been told.
    is_known: bool,
}

impl Sequencer {
    pub(super) fn new() -> Self {
        Self {
            subscribers: SmallVec::new(),
            pattern_shards: 0,
            pattern_version: u64::MAX,
            tail: Tail::None,
            wanted: false,
            asked: false,
            stream: crate::random::name(),
            seq: 0,
            origins: Vec::new(),
            deaf: Deaf::No,
            by_pattern: None,
            by_pattern_is_told: false,
            deafness_told: 0,
            generation: 0,
            past: Vec::new(),
        }
    }

    pub(crate) fn add_subscriber(&mut self, shard: usize) {
        if self.subscribers.len() <= shard {
            self.subscribers.resize(shard + 1, 0);
        }
        self.subscribers[shard] += 1;
    }

    /// True when it was the last one.
    pub(crate) fn remove_subscriber(&mut self, shard: usize) -> bool {
        if let Some(count) = self.subscribers.get_mut(shard) {
            *count = count.saturating_sub(1);
        }
        !self.has_subscribers()
    }

    /// Subscriptions to the topic itself.
    pub(crate) fn subscribers(&self) -> usize {
        self.subscribers.iter().map(|count| *count as usize).sum()
    }

    pub(crate) fn has_subscribers(&self) -> bool {
        self.subscribers.iter().any(|count| *count > 0)
    }

    /// Whether some are on this shard, or on their way there.
    pub(crate) fn has_subscribers_on(&self, shard: usize) -> bool {
        self.subscribers.get(shard).is_some_and(|count| *count > 0)
    }

    /// Nothing would be lost if the topic were given up.
    pub(crate) fn is_idle(&self) -> bool {
        !self.has_subscribers() && !self.asked && matches!(self.tail, Tail::None)
    }

    /// Whether a message that does not follow what came before can be told from one that does.
    pub(crate) fn knows_what_came_last(&self) -> bool {
        self.by_pattern.is_some() || !self.origins.is_empty()
    }

    /// The shards that hold subscribers of the topic, by its name or by a pattern.
    pub(crate) fn shards(&mut self, name: &TopicName, patterns: &PatternIndex) -> u64 {
        if self.pattern_version != patterns.version() {
            (self.pattern_shards, self.pattern_version) = patterns.shards(name);
        }
        let exact = self.subscribers.iter().enumerate().filter(|(_, count)| **count > 0);
        exact.fold(self.pattern_shards, |mask, (shard, _)| mask | 1 << shard)
    }

    /// The number of the next message of this node on an ephemeral topic.
    pub(crate) fn next_origin(&mut self, node: NodeId) -> Origin {
        self.seq += 1;
        Origin { node, stream: self.stream, seq: self.seq }
    }

    /// What was lost of another node's messages before this one; `None` when this one has been received before.
    pub(crate) fn hear(&mut self, origin: Origin) -> Option<Before> {
        let (known, before) = match self.heard(origin.node) {
            Some(heard) => (heard.is_known && heard.stream == origin.stream, heard.seq),
            None => (false, 0),
        };
        if known && origin.seq <= before {
            return None;
        }
        let first = self.heard(origin.node).filter(|_| known).map_or(origin.seq, |heard| heard.first);
        self.note(origin, first);
        Some(if known { Before::Missed(origin.seq - before - 1) } else { Before::Unknown })
    }

    /// What was lost of another node's messages, which says that it could not carry those up to
    /// this one: how many, if that can be known. `None` when the loss has been told.
    pub(crate) fn hear_of_loss(&mut self, origin: Origin) -> Option<Option<u64>> {
        let heard = self.heard(origin.node).filter(|heard| heard.is_known && heard.stream == origin.stream);
        let Some(&Heard { first, seq, .. }) = heard else {
            self.note(origin, origin.seq);
            return Some(None);
        };
        if origin.seq < first {
            // Its later messages were here before this word of what came before them.
            self.note(Origin { seq, ..origin }, origin.seq);
            return Some(None);
        }
        if origin.seq <= seq {
            return None;
        }
        self.note(origin, first);
        Some(Some(origin.seq - seq))
    }

    fn heard(&self, node: NodeId) -> Option<&Heard> {
        self.origins.iter().find(|heard| heard.node == node)
    }

    fn note(&mut self, Origin { node, stream, seq }: Origin, first: u64) {
        self.origins.retain(|heard| heard.node != node);
        if self.origins.len() >= MAX_ORIGINS {
            self.origins.remove(0);
        }
        self.origins.push(Heard { node, stream, first, seq, is_known: true });
    }

    /// It is told that messages were lost, of whichever node: what comes next is not compared.
    pub(crate) fn has_lost(&mut self, whom: Whom) {
        if whom != Whom::ByName {
            self.by_pattern_is_told = true;
        }
        if whom == Whom::ByPattern {
            return;
        }
        self.deaf = Deaf::No;
        for heard in &mut self.origins {
            heard.is_known = false;
        }
    }

    /// Nobody on this node wants the topic any more.
    pub(crate) fn leave(&mut self) {
        self.tail = Tail::None;
        self.wanted = false;
        self.has_lost(Whom::ByName);
    }

    /// The backend gives this node nothing of the topic, until it is told anew that it is wanted. False where
    /// there is nothing to tell it.
    pub(crate) fn become_deaf(&mut self) -> bool {
        if self.wanted && self.deaf == Deaf::No {
            self.deaf = Deaf::Untold;
        }
        self.asked
    }

    /// A message has come. True when those who are subscribed by name have still to be told that others before it may
    /// be lost.
    pub(crate) fn hears_again(&mut self) -> bool {
        let untold = self.deaf == Deaf::Untold;
        if untold {
            self.deaf = Deaf::Told;
        }
        untold
    }

    pub(crate) fn log(&self) -> Option<&TopicLog> {
        match &self.tail {
            Tail::Ready(log) => Some(log),
            Tail::None | Tail::Filling { .. } => None,
        }
    }

    pub(crate) fn log_mut(&mut self) -> Option<&mut TopicLog> {
        match &mut self.tail {
            Tail::Ready(log) => Some(log),
            Tail::None | Tail::Filling { .. } => None,
        }
    }

    /// How often the log was replaced while it was held here: who begins now has nothing to do with what replaced it before.
    pub(crate) fn generation(&self) -> u32 {
        self.generation
    }

    /// The log is replaced.
    pub(crate) fn begin_generation(&mut self) -> u32 {
        self.generation = self.generation.saturating_add(1);
        self.generation
    }

    /// Has a tail that is being filled read on until nothing follows, for something was lost meanwhile.
    /// False where none is being filled.
    pub(crate) fn fill_again(&mut self) -> bool {
        match &mut self.tail {
            Tail::Filling { seen, news } => {
                (*seen, *news) = (u64::MAX, news.wrapping_add(1));
                true
            }
            Tail::None | Tail::Ready(_) => false,
        }
    }

    /// How a logged message fits; notes it where the tail is being filled.
    pub(crate) fn arrival(&mut self, place: LogPlace) -> Arrival {
        let Position { epoch, offset } = place.position;
        match &mut self.tail {
            Tail::None => Arrival::Unwatched,
            Tail::Filling { seen, news } => {
                (*seen, *news) = ((*seen).max(offset), news.wrapping_add(1));
                Arrival::Unwatched
            }
            Tail::Ready(log) if log.epoch() != epoch => Arrival::OtherEpoch,
            Tail::Ready(log) if offset <= log.last() => Arrival::Repeat,
            Tail::Ready(log) if place.prev > log.last() => Arrival::Hole,
            Tail::Ready(_) => Arrival::Next,
        }
    }

    /// How a logged message fits to what has gone to those who are subscribed by a pattern; it goes to them now.
    /// [`shards`](Self::shards) has been asked before, under the same lock.
    pub(crate) fn arrival_by_pattern(&mut self, place: LogPlace) -> PatternArrival {
        if self.pattern_shards == 0 {
            (self.by_pattern, self.by_pattern_is_told) = (None, false);
            return if self.is_in_tail(place) { PatternArrival::Repeat } else { PatternArrival::Next };
        }
        let (seen, is_told) = (self.by_pattern, self.by_pattern_is_told);
        match seen {
            Some(last) if last.epoch == place.position.epoch && place.position.offset <= last.offset => {
                return PatternArrival::Repeat;
            }
            _ => self.patterns_are_at(place.position),
        }
        match seen {
            _ if is_told => PatternArrival::First,
            Some(last) if last.epoch != place.position.epoch || place.prev > last.offset => {
                PatternArrival::After(last)
            }
            Some(_) => PatternArrival::Next,
            None => PatternArrival::First,
        }
    }

    /// Those who are subscribed by a pattern have got what there is up to a position, or know that it is lost.
    pub(crate) fn patterns_are_at(&mut self, position: Position) {
        (self.by_pattern, self.by_pattern_is_told) = (Some(position), false);
    }

    /// A message has come while patterns are deaf. True when those who are subscribed so have still to be told that others
    /// before it may be lost.
    pub(crate) fn patterns_hear_again(&mut self, deafness: Option<u64>) -> bool {
        let untold = deafness.filter(|deafness| *deafness != self.deafness_told && self.pattern_shards != 0);
        self.deafness_told = untold.unwrap_or(self.deafness_told);
        untold.is_some()
    }

    /// Whether they have got all that the tail holds, and nothing is between. [`shards`](Self::shards) has been asked before.
    pub(crate) fn patterns_are_in_step(&self) -> bool {
        let seen = self.by_pattern;
        let is_known = seen.is_some() && !self.by_pattern_is_told;
        self.pattern_shards == 0 || (is_known && seen == self.log().map(TopicLog::top))
    }

    fn is_in_tail(&self, place: LogPlace) -> bool {
        let Position { epoch, offset } = place.position;
        self.log().is_some_and(|log| log.epoch() == epoch && offset <= log.last())
    }

    /// Whether a log is believed to be no more.
    pub(crate) fn is_past(&self, epoch: Epoch, now: Instant) -> bool {
        self.past.iter().any(|(past, until)| *past == epoch && now < *until)
    }

    /// The backend's word is that a log is no more: for a while it is not asked again.
    pub(crate) fn note_past(&mut self, epoch: Epoch, now: Instant) {
        self.past.retain(|(past, until)| *past != epoch && now < *until);
        if self.past.len() >= MAX_PAST {
            self.past.remove(0);
        }
        self.past.push((epoch, now + PAST_FOR));
    }

    /// Nothing comes of what is behind the last message, up to an offset.
    pub(crate) fn skip_to(&mut self, offset: u64) {
        if let Tail::Ready(log) = &mut self.tail {
            log.skip_to(0, offset);
        }
    }

    pub(crate) fn append(&mut self, message: Arc<Message>) {
        if let Tail::Ready(log) = &mut self.tail {
            log.append(message, Instant::now());
        }
    }
}
