//! Sessions without a connection, which their clients may take up again.

use std::{
    collections::{BTreeMap, HashMap},
    ops::DerefMut,
    sync::Arc,
    time::Duration,
};

use rustc_hash::FxBuildHasher;
use tokio::{sync::Notify, time::Instant};

use super::Inner;
use crate::{
    backend::NodeId,
    session::{
        ClientId,
        seat::{Leaving, Parked, Seat},
        secret::KeyHash,
    },
    sync::Mutex,
};

/// So long a session that was given to another node is given to nobody else, unless that node says that it has it.
const LENT_FOR: Duration = Duration::from_secs(5);

/// The sessions of this node that have lost their connection.
///
/// Its lock comes before that of a seat: what one connection loses the next one finds, at whatever moment it comes.
pub(crate) struct Parking {
    lot: Mutex<Lot>,
    /// Somebody has said whether a session that was given away has arrived.
    settled: Notify,
    within: Duration,
    limit: usize,
}

#[derive(Default)]
struct Lot {
    parked: HashMap<ClientId, Kept, FxBuildHasher>,
    /// In the order in which they came, with the time at which they go.
    order: BTreeMap<u64, (ClientId, Instant)>,
    next: u64,
    /// What each that follows the sessions has not heard yet.
    followed: Vec<(u64, Vec<ClientId>)>,
}

/// Who follows the sessions that find a connection.
pub(crate) struct Followed<'a> {
    parking: &'a Parking,
    number: u64,
}

struct Kept {
    number: u64,
    parked: Parked,
    /// Another node was given it, and has not said yet that it has it: what it was told may be lost.
    lent: Option<(NodeId, Instant)>,
}

/// A session that a connection has taken.
pub(crate) struct Found {
    /// Messages to its client may have come where it was kept.
    pub(crate) is_addressed: bool,
}

/// The session is there, and the connection cannot have it.
pub(crate) struct NotTaken;

/// What becomes of a wish for a session.
enum Lending {
    Given(Parked),
    /// Another node is being given it.
    Lent,
    Unknown,
}

impl Parking {
    pub(super) fn new(limits: &crate::Limits) -> Self {
        Self {
            lot: Mutex::default(),
            settled: Notify::new(),
            within: limits.resume_within,
            limit: limits.parked_sessions,
        }
    }

    /// Whether sessions are kept at all.
    pub(crate) fn is_open(&self) -> bool {
        !self.within.is_zero() && self.limit > 0
    }

    /// How many there are, without those that are on their way to another node.
    pub(crate) fn len(&self) -> usize {
        self.lot.lock().parked.values().filter(|kept| kept.lent.is_none()).count()
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

    fn insert(&self, lot: &mut Lot, parked: Parked, lent: Option<(NodeId, Instant)>) -> bool {
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
        lot.parked.insert(parked.client, Kept { number, parked, lent });
        lot.parked.len() == 1
    }

    /// Looks at each, under the lock: what `keep` says no to is forgotten, and its client comes back as a stranger. What it changes is
    /// what the client finds.
    pub(crate) fn retain(&self, mut keep: impl FnMut(&mut Parked) -> bool) {
        let mut lot = self.lot.lock();
        let Lot { parked, order, .. } = &mut *lot;
        parked.retain(|_, kept| {
            let is_kept = keep(&mut kept.parked);
            if !is_kept {
                order.remove(&kept.number);
            }
            is_kept
        });
        if lot.parked.is_empty() {
            (lot.parked, lot.order) = Default::default();
        }
    }

    /// From now on it is noted which sessions find a connection.
    pub(crate) fn follow(&self) -> Followed<'_> {
        let mut lot = self.lot.lock();
        let number = lot.next;
        lot.next += 1;
        lot.followed.push((number, Vec::new()));
        Followed { parking: self, number }
    }

    /// Gives some sessions to another node, as many as take about so many bytes: it is given them until it is [settled](Self::settle).
    pub(crate) fn lend_some(&self, to: NodeId, bytes: usize) -> Vec<Parked> {
        let mut lot = self.lot.lock();
        let (mut lent, mut taken) = (Vec::new(), 0);
        let until = Instant::now() + LENT_FOR;
        for kept in lot.parked.values_mut().filter(|kept| kept.lent.is_none()) {
            if taken >= bytes {
                break;
            }
            kept.lent = Some((to, until));
            taken += kept.parked.bytes();
            lent.push(kept.parked.clone());
        }
        lent
    }

    /// A session that was given to another node has arrived there, or has not.
    pub(crate) fn settle(&self, client: ClientId, key: KeyHash, to: NodeId, has_arrived: bool) {
        {
            let mut lot = self.lot.lock();
            let kept = lot.parked.get_mut(&client).filter(|kept| kept.parked.key == key);
            let Some(kept) = kept.filter(|kept| kept.lent.is_some_and(|(node, _)| node == to)) else {
                return;
            };
            kept.lent = None;
            if has_arrived {
                lot.remove(client);
            }
        }
        self.settled.notify_waiters();
    }
}

impl Followed<'_> {
    /// Which sessions have found a connection of this node since it was asked last.
    pub(crate) fn take(&self) -> Vec<ClientId> {
        let mut lot = self.parking.lot.lock();
        let mine = lot.followed.iter_mut().find(|(number, _)| *number == self.number);
        mine.map(|(_, found)| std::mem::take(found)).unwrap_or_default()
    }
}

impl Drop for Followed<'_> {
    fn drop(&mut self) {
        self.parking.lot.lock().followed.retain(|(number, _)| *number != self.number);
    }
}

impl Lot {
    fn note_found(&mut self, client: ClientId) {
        for (_, found) in &mut self.followed {
            found.push(client);
        }
    }

    fn remove(&mut self, client: ClientId) -> Option<Parked> {
        let kept = self.parked.remove(&client)?;
        self.order.remove(&kept.number);
        if self.parked.is_empty() {
            self.parked = HashMap::default();
        }
        Some(kept.parked)
    }

    fn get(&mut self, client: ClientId, key: KeyHash, user: Option<&str>) -> Option<&mut Kept> {
        self.parked.get_mut(&client).filter(|kept| kept.parked.is_of(key, user))
    }
}

impl Inner {
    /// Ends the subscriptions of a connection that is over. Its session is kept where its client may come back.
    pub(crate) fn part(&self, seat: &Seat, how: Leaving) {
        let is_first = {
            let mut lot = self.parking.lot.lock();
            seat.close(how).is_some_and(|parked| self.parking.insert(&mut lot, parked, None))
        };
        if is_first {
            self.clock.wake();
        }
    }

    /// Keeps a session that was on its way to a connection, or comes from another node.
    pub(crate) fn keep(&self, parked: Parked) {
        let is_first = self.parking.insert(&mut self.parking.lot.lock(), parked, None);
        if is_first {
            self.clock.wake();
        }
    }

    /// Lets sessions go that nobody has come back for. Returns when the next one goes.
    pub(crate) fn sweep_parking(&self, now: Instant) -> Option<Instant> {
        self.parking.sweep(now)
    }

    /// Gives a session of this node to a connection of this node that has its secret, once: one that was kept, or one whose connection is
    /// still there, which is closed then. One that another node was given only `at_last`, when no other node has it.
    ///
    /// The connection takes it under the lock: what is done to clients meets the session here or there, and never on its way. What the
    /// connection does not take is kept, and is nobody else's to look for.
    pub(crate) fn claim(
        &self,
        client: ClientId,
        key: KeyHash,
        user: Option<&str>,
        at_last: bool,
        take: impl FnOnce(Parked) -> Result<(), Parked>,
    ) -> Option<Result<Found, NotTaken>> {
        let mut lot = self.parking.lot.lock();
        let now = Instant::now();
        let parked = match lot.get(client, key, user).map(|kept| kept.lent) {
            None => self.surrender(client, key, user),
            Some(Some((_, until))) if !at_last || now < until => None,
            Some(_) => lot.remove(client),
        }?;
        Some(self.hand(lot, parked, take))
    }

    /// The same for one that comes from another node.
    pub(crate) fn give(
        &self,
        parked: Parked,
        take: impl FnOnce(Parked) -> Result<(), Parked>,
    ) -> Result<Found, NotTaken> {
        self.hand(self.parking.lot.lock(), parked, take)
    }

    fn hand(
        &self,
        mut lot: impl DerefMut<Target = Lot>,
        parked: Parked,
        take: impl FnOnce(Parked) -> Result<(), Parked>,
    ) -> Result<Found, NotTaken> {
        let (client, is_addressed) = (parked.client, parked.is_addressed);
        let Err(parked) = take(parked) else {
            lot.note_found(client);
            return Ok(Found { is_addressed });
        };
        let is_first = self.parking.insert(&mut lot, parked, None);
        drop(lot);
        if is_first {
            self.clock.wake();
        }
        Err(NotTaken)
    }

    /// Gives a session of this node to another one. It is kept until that node says that it has it, so that a lost answer loses no session: the
    /// same node may ask again. Who else asks meanwhile waits, for a time, for what becomes of it.
    pub(crate) async fn lend(
        &self,
        client: ClientId,
        key: KeyHash,
        user: Option<&str>,
        to: NodeId,
        within: Duration,
    ) -> Option<Parked> {
        let until = Instant::now() + within;
        loop {
            let settled = self.parking.settled.notified();
            tokio::pin!(settled);
            settled.as_mut().enable();
            match self.try_lend(client, key, user, to) {
                Lending::Given(parked) => return Some(parked),
                Lending::Unknown => return None,
                Lending::Lent => tokio::time::timeout_at(until, settled).await.ok()?,
            }
        }
    }

    fn try_lend(&self, client: ClientId, key: KeyHash, user: Option<&str>, to: NodeId) -> Lending {
        let mut lot = self.parking.lot.lock();
        let now = Instant::now();
        let lent = Some((to, now + LENT_FOR));
        if let Some(kept) = lot.get(client, key, user) {
            if kept.lent.is_some_and(|(node, until)| node != to && now < until) {
                return Lending::Lent;
            }
            kept.lent = lent;
            return Lending::Given(kept.parked.clone());
        }
        let Some(parked) = self.surrender(client, key, user) else { return Lending::Unknown };
        let is_first = self.parking.insert(&mut lot, parked.clone(), lent);
        drop(lot);
        if is_first {
            self.clock.wake();
        }
        Lending::Given(parked)
    }

    /// Takes a session from a connection that is still there.
    fn surrender(&self, client: ClientId, key: KeyHash, user: Option<&str>) -> Option<Parked> {
        let seat: Arc<Seat> = self.registry.seat(client)?;
        let parked = seat.surrender(key, user)?;
        // It makes room for its successor among its user's, and what is for the client is not for this connection any more.
        self.registry.forget(&seat);
        Some(parked)
    }
}
