//! The connections of this node, by their names and by their users, and how many there may be.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use smallvec::SmallVec;

use super::resuming::Resuming;
use crate::{
    Limits,
    outbox::Outbox,
    session::{
        ClientId, CloseReason,
        seat::{Leaving, Parked, Seat},
    },
    sync::{Map, Mutex},
};

/// The connections of this node.
pub(crate) struct Registry {
    seats: Map<ClientId, Arc<Seat>>,
    count: AtomicUsize,
    limit: usize,
    users: Users,
    addresses: Option<Counts<IpAddr>>,
    resuming: Resuming,
}

/// How many connections share a key, and how many may.
struct Counts<K> {
    counts: Mutex<HashMap<K, usize>>,
    limit: usize,
}

/// The connections of each user.
struct Users {
    seats: Mutex<HashMap<Arc<str>, Seats>>,
    limit: usize,
}

/// Most users have one connection.
type Seats = SmallVec<[Arc<Seat>; 1]>;

/// A connection's place among all; dropped, it is free again.
pub(crate) struct Place {
    registry: Arc<Registry>,
    /// Where the connections of an address are counted.
    address: Option<Box<IpAddr>>,
    user: Option<Arc<str>>,
    seat: Option<Arc<Seat>>,
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
            seats: Map::default(),
            count: AtomicUsize::new(0),
            limit: limits.connections,
            users: Users { seats: Mutex::default(), limit: limits.connections_per_user },
            addresses: limits.connections_per_address.map(Counts::new),
            resuming: Resuming::default(),
        }
    }

    /// Takes a place for a connection that is about to be made.
    pub(crate) fn enter(self: &Arc<Self>, address: Option<IpAddr>) -> Result<Place, Full> {
        if self.count.fetch_add(1, Ordering::Relaxed) >= self.limit {
            self.count.fetch_sub(1, Ordering::Relaxed);
            return Err(Full { what: Full::IN_ALL, limit: self.limit });
        }
        let mut place = Place { registry: self.clone(), address: None, user: None, seat: None };
        if let (Some(address), Some(addresses)) = (address, &self.addresses) {
            if !addresses.add(address) {
                return Err(Full { what: "from this address", limit: addresses.limit });
            }
            place.address = Some(Box::new(address));
        }
        Ok(place)
    }

    pub(crate) fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    pub(crate) fn close(&self, client: ClientId, reason: CloseReason) -> bool {
        self.seat(client).map(|seat| seat.dismiss(reason)).is_some()
    }

    /// All connections, those that are not admitted yet among them.
    pub(crate) fn outboxes(&self) -> Vec<Outbox> {
        self.seats.iter().map(|entry| entry.value().outbox.clone()).collect()
    }

    /// The connection of this name, admitted or not.
    pub(crate) fn seat(&self, client: ClientId) -> Option<Arc<Seat>> {
        self.seats.get(&client).map(|seat| seat.value().clone())
    }

    /// The connections of a user.
    pub(crate) fn seats_of(&self, user: &str) -> Seats {
        self.users.seats.lock().get(user).cloned().unwrap_or_default()
    }

    /// The connections whose sessions had a subscription to this, and which have not been subscribed to it anew.
    pub(crate) fn seats_waiting_for(&self, name: &str) -> Vec<Arc<Seat>> {
        let resuming = self.resuming.all(|client| self.has_left(client));
        let seats = resuming.into_iter().filter_map(|client| self.seat(client));
        seats.filter(|seat| seat.is_waiting(name)).collect()
    }

    fn has_left(&self, client: ClientId) -> bool {
        self.seat(client).is_some_and(|seat| !seat.waiting().is_empty())
    }

    /// The connections of all clients that are admitted.
    pub(crate) fn seats(&self) -> Vec<Arc<Seat>> {
        // Without the lock of the map.
        self.seats_where(|_| true).into_iter().filter(|seat| seat.is_admitted()).collect()
    }

    /// Those of all connections, admitted or not, that a quick test finds.
    pub(super) fn seats_where(&self, is: impl Fn(&Arc<Seat>) -> bool) -> Vec<Arc<Seat>> {
        // One that takes an earlier session up stands here under both names for a moment: it counts once.
        let found =
            self.seats.iter().filter(|entry| *entry.key() == entry.value().client() && is(entry.value()));
        found.map(|entry| entry.value().clone()).collect()
    }
}

impl Registry {
    /// A connection that is over, but not gone yet, counts for its user no more, and nothing is for it.
    pub(super) fn forget(&self, seat: &Arc<Seat>) {
        if let Some(user) = seat.user() {
            self.users.remove(&user, seat);
        }
        self.seats.remove_if(&seat.client(), |_, held| Arc::ptr_eq(held, seat));
    }
}

impl Place {
    /// Gives the connection the name of the session that it takes up, if it can.
    pub(crate) fn adopt(&self, parked: Parked) -> Result<(), Parked> {
        let Some(seat) = &self.seat else { return Err(parked) };
        let before = seat.client();
        seat.adopt(parked)?;
        self.registry.seats.insert(seat.client(), seat.clone());
        self.registry.seats.remove_if(&before, |_, held| Arc::ptr_eq(held, seat));
        self.registry.resuming.add(seat.client(), |client| self.registry.has_left(client));
        Ok(())
    }

    /// Makes the connection known by its name.
    pub(crate) fn name(&mut self, seat: Arc<Seat>) {
        self.registry.seats.insert(seat.client(), seat.clone());
        self.seat = Some(seat);
    }

    /// Counts the connection for its user, once, and makes it known by it.
    pub(crate) fn admit(&mut self, user: Option<&Arc<str>>) -> Result<(), Full> {
        let (Some(user), Some(seat), None) = (user, &self.seat, &self.user) else { return Ok(()) };
        if !self.registry.users.add(user, seat) {
            return Err(Full { what: "of this user", limit: self.registry.users.limit });
        }
        self.user = Some(user.clone());
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.registry.count.fetch_sub(1, Ordering::Relaxed);
        if let (Some(address), Some(addresses)) = (&self.address, &self.registry.addresses) {
            addresses.remove(address);
        }
        let Some(seat) = self.seat.take() else { return };
        if let Some(user) = &self.user {
            self.registry.users.remove(user, &seat);
        }
        self.registry.seats.remove_if(&seat.client(), |_, held| Arc::ptr_eq(held, &seat));
        // One that ended in good order has left already.
        seat.broker.part(&seat, Leaving::Lost);
    }
}

impl Users {
    fn add(&self, user: &Arc<str>, seat: &Arc<Seat>) -> bool {
        let mut users = self.seats.lock();
        let fits = users.get(user).map_or(0, |seats| seats.len()) < self.limit;
        if fits {
            users.entry(user.clone()).or_default().push(seat.clone());
        }
        fits
    }

    fn remove(&self, user: &Arc<str>, seat: &Arc<Seat>) {
        let mut users = self.seats.lock();
        let Some(seats) = users.get_mut(user) else { return };
        if let Some(index) = seats.iter().position(|held| Arc::ptr_eq(held, seat)) {
            seats.swap_remove(index);
        }
        if seats.is_empty() {
            users.remove(user);
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
