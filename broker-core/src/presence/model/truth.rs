//! What is true: who is where.

use std::collections::{BTreeMap, HashMap};

use tokio::time::Instant;

use crate::session::ClientId;

type Key = (usize, ClientId);

/// What is true.
#[derive(Default)]
pub(super) struct Truth {
    here: BTreeMap<Key, Place>,
    /// When somebody was last not there.
    gone: HashMap<Key, Instant>,
}

/// Where a client is, or was before it was lost.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) node: usize,
    pub(super) user: Option<String>,
    pub(super) meta: Option<String>,
    pub(super) lost_until: Option<Instant>,
}

impl Truth {
    pub(super) fn get(&self, topic: usize, client: ClientId) -> Option<&Place> {
        self.here.get(&(topic, client))
    }

    pub(super) fn put(&mut self, topic: usize, client: ClientId, place: Place, now: Instant) {
        if self.here.insert((topic, client), place).is_none() {
            self.gone.insert((topic, client), now);
        }
    }

    pub(super) fn remove(&mut self, topic: usize, client: ClientId, now: Instant) {
        if self.here.remove(&(topic, client)).is_some() {
            self.gone.insert((topic, client), now);
        }
    }

    /// Whose grace is over is gone.
    pub(super) fn lapse(&mut self, now: Instant) {
        let lapsed: Vec<_> = self
            .here
            .iter()
            .filter(|(_, place)| place.lost_until.is_some_and(|until| until <= now))
            .map(|(key, _)| *key)
            .collect();
        for (topic, client) in lapsed {
            self.remove(topic, client, now);
        }
    }

    /// When a client was last not in a topic that it is in.
    pub(super) fn absent_at(&self, topic: usize, client: ClientId) -> Option<Instant> {
        self.gone.get(&(topic, client)).copied()
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (usize, ClientId, &Place)> {
        self.here.iter().map(|((topic, client), place)| (*topic, *client, place))
    }

    /// Those that are there, and have been said to be.
    pub(super) fn members(&self, topic: usize) -> BTreeMap<ClientId, (Option<String>, Option<String>)> {
        let of_topic = self.here.range((topic, ClientId::new(0))..=(topic, ClientId::new(u64::MAX)));
        of_topic.map(|((_, client), place)| (*client, (place.user.clone(), place.meta.clone()))).collect()
    }

    pub(super) fn mut_all(&mut self) -> impl Iterator<Item = (usize, ClientId, &mut Place)> {
        self.here.iter_mut().map(|((topic, client), place)| (*topic, *client, place))
    }
}
