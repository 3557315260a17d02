//! Sessions without a connection, which their clients may take up again.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use rustc_hash::FxBuildHasher;
use tokio::time::Instant;

use super::Inner;
use crate::{
    session::{
        ClientId,
        seat::{Leaving, Parked, Seat},
        secret::KeyHash,
    },
};

/// The sessions of this node that have lost their connection.
///
/// Its lock comes before that of a seat: what one connection loses the next one finds, at whatever moment it comes.
pub(crate) struct Parking {
    lot: Mutex<Lot>,
    within: Duration,
    limit: usize,
}

#[derive(Default)]
struct Lot {
    parked: HashMap<ClientId, (u64, Parked), FxBuildHasher>,
    /// In the order in which they came, with the time at which they go.
    order: BTreeMap<u64, (ClientId, Instant)>,
    next: u64,
}

impl Parking {
    pub(super) fn new(limits: &crate::Limits) -> Self {
        Self { lot: Mutex::default(), within: limits.resume_within, limit: limits.parked_sessions }
    }

    /// Whether sessions are kept at all.
    pub(crate) fn is_open(&self) -> bool {
        !self.within.is_zero() && self.limit > 0
    }

    pub(crate) fn len(&self) -> usize {
        self.lot.lock().parked.len()
    }

    /// Lets those go whose time has come. Returns when the next one goes.
    fn sweep(&self, now: Instant) -> Option<Instant> {
        let mut lot = self.lot.lock();
        while let Some((_, (client, until))) = lot.order.first_key_value() {
            let (client, until) = (*client, *until);
            if until > now {
                return Some(until);
            }
            lot.remove(client);
        }
        None
    }

    fn insert(&self, lot: &mut Lot, parked: Parked) -> bool {
        if !self.is_open() {
            return false;
        }
        lot.remove(parked.client);
        while lot.parked.len() >= self.limit
            && let Some((_, (oldest, _))) = lot.order.first_key_value()
        {
            let oldest = *oldest;
            lot.remove(oldest);
        }
        let (number, until) = (lot.next, Instant::now() + self.within);
        lot.next += 1;
        lot.order.insert(number, (parked.client, until));
        lot.parked.insert(parked.client, (number, parked));
        lot.parked.len() == 1
    }

    /// Looks at each, under the lock: what `keep` says no to is forgotten, and its client comes back as a stranger. What it changes is
    /// what the client finds.
    pub(crate) fn retain(&self, mut keep: impl FnMut(&mut Parked) -> bool) {
        let mut lot = self.lot.lock();
        let Lot { parked, order, .. } = &mut *lot;
        parked.retain(|_, (number, parked)| {
            let is_kept = keep(parked);
            if !is_kept {
                order.remove(number);
            }
            is_kept
        });
        if lot.parked.is_empty() {
            *lot = Lot { next: lot.next, ..Lot::default() };
        }
    }
}

impl Lot {
    fn remove(&mut self, client: ClientId) -> Option<Parked> {
        let (number, parked) = self.parked.remove(&client)?;
        self.order.remove(&number);
        if self.parked.is_empty() {
            self.parked = HashMap::default();
        }
        Some(parked)
    }
}

impl Inner {
    /// Ends the subscriptions of a connection that is over. Its session is kept where its client may come back.
    pub(crate) fn part(&self, seat: &Seat, how: Leaving) {
        let is_first = {
            let mut lot = self.parking.lot.lock();
            seat.close(how).is_some_and(|parked| self.parking.insert(&mut lot, parked))
        };
        if is_first {
            self.clock.wake();
        }
    }

    /// Keeps a session that was on its way to a connection.
    pub(crate) fn keep(&self, parked: Parked) {
        let is_first = self.parking.insert(&mut self.parking.lot.lock(), parked);
        if is_first {
            self.clock.wake();
        }
    }

    /// Lets sessions go that nobody has come back for. Returns when the next one goes.
    pub(crate) fn sweep_parking(&self, now: Instant) -> Option<Instant> {
        self.parking.sweep(now)
    }

    /// Gives a session of this node to who has its secret, once: one that was kept, or one whose connection is still there, which
    /// is closed then.
    pub(crate) fn claim(&self, client: ClientId, key: KeyHash, user: Option<&str>) -> Option<Parked> {
        let mut lot = self.parking.lot.lock();
        if lot.parked.get(&client).is_some_and(|(_, parked)| parked.is_of(key, user)) {
            return lot.remove(client);
        }
        let seat: Arc<Seat> = self.registry.seat(client)?;
        let parked = seat.surrender(key, user)?;
        // It makes room for its successor among its user's.
        self.registry.forget_user_of(&seat);
        Some(parked)
    }
}
