//! The connections of this node, and how many there may be.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use dashmap::DashMap;
use parking_lot::Mutex;
use rustc_hash::FxBuildHasher;

use crate::{
    Limits,
    outbox::Outbox,
    session::{ClientId, CloseReason},
};

/// The connections of this node.
pub(crate) struct Registry {
    outboxes: DashMap<ClientId, Outbox, FxBuildHasher>,
    count: AtomicUsize,
    limit: usize,
    users: Counts<Arc<str>>,
    addresses: Option<Counts<IpAddr>>,
}

/// How many connections share a key, and how many may.
struct Counts<K> {
    counts: Mutex<HashMap<K, usize>>,
    limit: usize,
}

/// A connection's place among all; dropped, it is free again.
pub(crate) struct Place {
    registry: Arc<Registry>,
    address: Option<IpAddr>,
    user: Option<Arc<str>>,
    client: Option<ClientId>,
}

/// There are as many connections as there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full {
    pub(crate) what: &'static str,
    pub(crate) limit: usize,
}

impl Full {
    pub(crate) const IN_ALL: &'static str = "in all";
}

impl Registry {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            outboxes: DashMap::default(),
            count: AtomicUsize::new(0),
            limit: limits.connections,
            users: Counts::new(limits.connections_per_user),
            addresses: limits.connections_per_address.map(Counts::new),
        }
    }

    /// Takes a place for a connection that is about to be made.
    pub(crate) fn enter(self: &Arc<Self>, address: Option<IpAddr>) -> Result<Place, Full> {
        if self.count.fetch_add(1, Ordering::Relaxed) >= self.limit {
            self.count.fetch_sub(1, Ordering::Relaxed);
            return Err(Full { what: Full::IN_ALL, limit: self.limit });
        }
        let mut place = Place { registry: self.clone(), address: None, user: None, client: None };
        if let (Some(address), Some(addresses)) = (address, &self.addresses) {
            if !addresses.add(address) {
                return Err(Full { what: "from this address", limit: addresses.limit });
            }
            place.address = Some(address);
        }
        Ok(place)
    }

    pub(crate) fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    pub(crate) fn close(&self, client: ClientId, reason: CloseReason) -> bool {
        let outbox = self.outboxes.get(&client).map(|outbox| outbox.clone());
        outbox.map(|outbox| outbox.close(reason)).is_some()
    }

    pub(crate) fn outboxes(&self) -> Vec<Outbox> {
        self.outboxes.iter().map(|entry| entry.value().clone()).collect()
    }
}

impl Place {
    /// Makes the connection known by its name.
    pub(crate) fn name(&mut self, client: ClientId, outbox: Outbox) {
        self.registry.outboxes.insert(client, outbox);
        self.client = Some(client);
    }

    /// Counts the connection for its user.
    pub(crate) fn admit(&mut self, user: Option<&Arc<str>>) -> Result<(), Full> {
        let Some(user) = user else { return Ok(()) };
        if !self.registry.users.add(user.clone()) {
            return Err(Full { what: "of this user", limit: self.registry.users.limit });
        }
        self.user = Some(user.clone());
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.registry.count.fetch_sub(1, Ordering::Relaxed);
        if let (Some(address), Some(addresses)) = (self.address, &self.registry.addresses) {
            addresses.remove(&address);
        }
        if let Some(user) = &self.user {
            self.registry.users.remove(user);
        }
        if let Some(client) = self.client {
            self.registry.outboxes.remove(&client);
        }
    }
}

impl<K: std::hash::Hash + Eq> Counts<K> {
    fn new(limit: usize) -> Self {
        Self { counts: Mutex::default(), limit }
    }

    fn add(&self, key: K) -> bool {
        let mut counts = self.counts.lock();
        let count = counts.entry(key).or_insert(0);
        let fits = *count < self.limit;
        *count += usize::from(fits);
        fits
    }

    fn remove(&self, key: &K) {
        let mut counts = self.counts.lock();
        if let Some(count) = counts.get_mut(key) {
            *count -= 1;
            if *count == 0 {
                counts.remove(key);
            }
        }
    }
}
