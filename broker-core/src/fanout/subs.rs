//! The subscriptions of one shard.

use std::{collections::VecDeque, sync::Arc};

use rustc_hash::FxHashMap;
use slab::Slab;
use smallvec::SmallVec;

use crate::{
    message::{Message, Position},
    session::ClientId,
    subscriber::{Subscriber, SubscriptionId},
    table::TopicId,
    topic::{TopicName, TopicPattern},
};

/// A subscription's place in the shard.
pub(super) type SubKey = u32;

/// One subscription.
pub(super) struct Sub {
    pub(super) subscriber: Arc<dyn Subscriber>,
    pub(super) client: ClientId,
    pub(super) id: SubscriptionId,
    pub(super) place: Place,
    pub(super) progress: Progress,
}

/// What a subscription is for.
pub(super) enum Place {
    Topic {
        topic: TopicId,
        /// Where it stands in the topic's list.
        index: u32,
    },
    Pattern(Box<ByPattern>),
}

/// A subscription to a pattern.
pub(super) struct ByPattern {
    pub(super) pattern: TopicPattern,
    /// The generation of the shard's patterns that it came with.
    pub(super) since: u64,
}

/// How far a subscription is with its topic.
pub(super) enum Progress {
    /// It gets what comes.
    Live,
    /// It gets what comes after a position that the topic's turns have not reached yet. It knows how often the log had been
    /// replaced when it got there, and has nothing to do with turns that tell of what was before.
    Ahead(Position, u32),
    /// It pulls what it has missed.
    CatchingUp(Box<CatchUp>),
    /// It waits for a snapshot.
    Awaiting,
    /// Its connection is closing.
    Stopped,
}

/// What a subscription that catches up is still to get.
pub(super) struct CatchUp {
    /// Goes first: last values, which the log's order does not hold any more.
    pub(super) snapshot: VecDeque<Arc<Message>>,
    /// Then everything after this.
    pub(super) after: Position,
}

/// All subscriptions of a shard, and which connection has which.
#[derive(Default)]
pub(super) struct Subs {
    all: Slab<Sub>,
    of_client: FxHashMap<ClientId, SmallVec<[SubKey; 2]>>,
}

impl Subs {
    pub(super) fn insert(&mut self, sub: Sub) -> SubKey {
        let client = sub.client;
        let key = self.all.insert(sub) as SubKey;
        self.of_client.entry(client).or_default().push(key);
        key
    }

    pub(super) fn remove(&mut self, key: SubKey) -> Option<Sub> {
        let sub = self.all.try_remove(key as usize)?;
        if let Some(keys) = self.of_client.get_mut(&sub.client) {
            keys.retain(|held| *held != key);
            if keys.is_empty() {
                self.of_client.remove(&sub.client);
            }
        }
        Some(sub)
    }

    pub(super) fn find(&self, client: ClientId, id: SubscriptionId) -> Option<SubKey> {
        let keys = self.of_client.get(&client)?;
        keys.iter().copied().find(|key| self.all.get(*key as usize).is_some_and(|sub| sub.id == id))
    }

    pub(super) fn get(&self, key: SubKey) -> Option<&Sub> {
        self.all.get(key as usize)
    }

    pub(super) fn get_mut(&mut self, key: SubKey) -> Option<&mut Sub> {
        self.all.get_mut(key as usize)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Sub> {
        self.all.iter().map(|(_, sub)| sub)
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// A connection's most specific subscription to a pattern that matches a topic.
    pub(super) fn best_pattern(&self, client: ClientId, topic: &TopicName) -> Option<SubKey> {
        let mut best: Option<(SubKey, &TopicPattern)> = None;
        for key in self.of_client.get(&client)? {
            if let Some(Place::Pattern(held)) = self.all.get(*key as usize).map(|sub| &sub.place)
                && held.pattern.matches(topic)
                && best.is_none_or(|(_, best)| held.pattern.cmp_specificity(best).is_gt())
            {
                best = Some((*key, &held.pattern));
            }
        }
        best.map(|(key, _)| key)
    }

    /// A connection's subscription to a topic by its name.
    pub(super) fn by_name(&self, client: ClientId, topic: TopicId) -> Option<&Sub> {
        let mut subs = self.of_client.get(&client)?.iter().filter_map(|key| self.all.get(*key as usize));
        subs.find(|sub| matches!(sub.place, Place::Topic { topic: held, .. } if held == topic))
    }

    /// Keeps no more room than is needed, when most of it is unused.
    pub(super) fn shrink(&mut self) {
        if self.all.is_empty() {
            *self = Self::default();
        }
    }
}
