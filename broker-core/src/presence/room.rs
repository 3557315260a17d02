//! The members of one topic, of all nodes together, and what its watchers have been told of them.

#[cfg(all(test, not(loom)))]
mod tests;

use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound,
    sync::Arc,
    time::Duration,
};

use super::{Member, PresenceChanges, PresenceConfig, PresenceCounts, PresenceEvent, PresencePage};
use crate::{backend::NodeId, session::ClientId};

/// How long changes are gathered before watchers are told, at least.
const PACE: Duration = Duration::from_millis(50);

/// What each member adds to it, and how long it gets at most: a busy room of many is told less often.
const PACE_PER_MEMBER: Duration = Duration::from_micros(500);
const SLOWEST_PACE: Duration = Duration::from_secs(1);

/// What one event lists, bytes, more or less.
const EVENT_BYTES: usize = 48 << 10;

/// What is said of a member.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) struct Info {
    pub(crate) user: Option<Arc<str>>,
    pub(crate) meta: Option<Arc<str>>,
}

/// One node's word that a client is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) owner: NodeId,
    /// When it was said, milliseconds since 1970. Where two nodes speak of one client, the later word is shown.
    pub(crate) stamp: u64,
    pub(crate) info: Info,
    /// The app has said this of it since it came: that goes before what is granted, and with it to another node.
    pub(crate) is_amended: bool,
}

impl Entry {
    fn rank(&self) -> (u64, NodeId) {
        (self.stamp, self.owner)
    }
}

/// Who is there.
#[derive(Default)]
pub(crate) struct Members {
    /// The word that is shown, of each client.
    shown: BTreeMap<ClientId, Entry>,
    /// What other nodes say of the same clients: while a session moves from one node to another.
    others: BTreeMap<(ClientId, NodeId), Entry>,
    /// How many clients each user has.
    users: HashMap<Arc<str>, u32>,
}

/// What watchers have been told, and what they are to be told next.
pub(crate) struct Told {
    /// The number of the last event.
    pub(super) number: u64,
    /// What watchers know of those who have changed since: `None` where they know of nobody.
    changes: BTreeMap<ClientId, Option<Info>>,
    /// Somebody has come, gone, or changed.
    has_changed: bool,
    /// How many they have been told there are.
    counts: PresenceCounts,
    /// Watchers are told who comes and goes, not only how many are there.
    lists: bool,
}

impl Members {
    pub(super) fn counts(&self) -> PresenceCounts {
        PresenceCounts { clients: self.shown.len() as u64, users: self.users.len() as u64 }
    }

    pub(super) fn info(&self, client: ClientId) -> Option<&Info> {
        self.shown(client).map(|entry| &entry.info)
    }

    /// The word that is shown of a client.
    pub(super) fn shown(&self, client: ClientId) -> Option<&Entry> {
        self.shown.get(&client)
    }

    /// The last word of a client that has in it what the app has said since it came, on whichever node.
    pub(super) fn amended(&self, client: ClientId) -> Option<&Entry> {
        let all = self.shown(client).into_iter().chain(self.others_of(client));
        all.filter(|entry| entry.is_amended).max_by_key(|entry| entry.rank())
    }

    /// What one node says of a client.
    pub(super) fn said_by(&self, owner: NodeId, client: ClientId) -> Option<&Entry> {
        let shown = self.shown.get(&client).filter(|entry| entry.owner == owner);
        shown.or_else(|| self.others.get(&(client, owner)))
    }

    fn others_of(&self, client: ClientId) -> impl Iterator<Item = &Entry> {
        self.others.range((client, NodeId::new(0))..=(client, NodeId::new(u64::MAX))).map(|(_, entry)| entry)
    }

    /// One node's entries after a client, in order.
    pub(super) fn of_owner_after(
        &self,
        owner: NodeId,
        after: Option<ClientId>,
    ) -> impl Iterator<Item = (ClientId, &Entry)> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let shown = self.shown.range((from, Bound::Unbounded));
        shown.filter_map(move |(client, entry)| {
            let own = if entry.owner == owner { Some(entry) } else { self.others.get(&(*client, owner)) };
            own.map(|entry| (*client, entry))
        })
    }

    /// Takes one node's word of a client: that it is there, or that it is not. Returns what was shown before, where
    /// something else is shown now.
    pub(super) fn set(
        &mut self,
        owner: NodeId,
        client: ClientId,
        entry: Option<Entry>,
    ) -> Option<Option<Info>> {
        let before = self.shown.remove(&client);
        let mut best = match before.clone() {
            Some(shown) if shown.owner != owner => {
                self.others.remove(&(client, owner));
                Some(shown)
            }
            _ => {
                let next = self.others_of(client).max_by_key(|entry| entry.rank()).map(|entry| entry.owner);
                next.and_then(|next| self.others.remove(&(client, next)))
            }
        };
        if let Some(entry) = entry {
            best = Some(match best {
                None => entry,
                Some(held) => {
                    let (first, second) =
                        if held.rank() > entry.rank() { (held, entry) } else { (entry, held) };
                    self.others.insert((client, second.owner), second);
                    first
                }
            });
        }
        let after = best.as_ref().map(|entry| &entry.info);
        let before = before.map(|entry| entry.info);
        let has_changed = before.as_ref() != after;
        let (old, new) =
            (before.as_ref().and_then(|info| info.user.clone()), after.and_then(|i| i.user.clone()));
        if old != new {
            self.count_user(old, new);
            self.shrink();
        }
        if let Some(best) = best {
            self.shown.insert(client, best);
        }
        has_changed.then_some(before)
    }

    fn count_user(&mut self, old: Option<Arc<str>>, new: Option<Arc<str>>) {
        if let Some(user) = new {
            *self.users.entry(user).or_default() += 1;
        }
        if let Some(user) = old
            && let Some(count) = self.users.get_mut(&user)
        {
            *count -= 1;
            if *count == 0 {
                self.users.remove(&user);
            }
        }
    }

    /// One user's name is held once, however many clients it has.
    pub(super) fn intern(&self, info: &mut Info) {
        if let Some(user) = &mut info.user
            && let Some((held, _)) = self.users.get_key_value(user)
        {
            *user = held.clone();
        }
    }

    /// A page of the list as it is now.
    pub(super) fn page(&self, after: Option<ClientId>, limit: usize) -> PresencePage {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let listed = self.shown.range((from, Bound::Unbounded)).map(|(client, entry)| (*client, &entry.info));
        page(listed, limit, self.counts())
    }

    /// Gives back room that is not needed any more.
    fn shrink(&mut self) {
        if self.users.capacity() > 4 * self.users.len().max(16) {
            self.users.shrink_to_fit();
        }
    }
}

impl Told {
    pub(super) fn new(number: u64) -> Self {
        Self {
            number,
            changes: BTreeMap::new(),
            has_changed: false,
            counts: PresenceCounts::default(),
            lists: true,
        }
    }

    /// Notes what watchers know of a client that has changed.
    pub(super) fn note(&mut self, client: ClientId, before: Option<Info>) {
        self.has_changed = true;
        if self.lists {
            self.changes.entry(client).or_insert(before);
        }
    }

    /// Whether there is something to tell.
    pub(super) fn is_due(&self) -> bool {
        self.has_changed
    }

    #[cfg(all(test, not(loom)))]
    pub(super) fn noted(&self) -> usize {
        self.changes.len()
    }

    /// How long changes are gathered.
    pub(super) fn pace(&self, members: &Members) -> Duration {
        let members = u32::try_from(members.shown.len()).unwrap_or(u32::MAX);
        let slower = PACE_PER_MEMBER.saturating_mul(members);
        if self.lists { (PACE + slower).min(SLOWEST_PACE) } else { SLOWEST_PACE }
    }

    /// Nobody has been told anything yet: what is there now is what the first will be told.
    pub(super) fn begin(&mut self, members: &Members, config: &PresenceConfig) {
        self.changes.clear();
        self.has_changed = false;
        self.counts = members.counts();
        self.lists = members.shown.len() <= config.listed();
    }

    /// The next event for all watchers. There may be more to tell after it.
    pub(super) fn take(&mut self, members: &Members, config: &PresenceConfig) -> Option<PresenceEvent> {
        let clients = members.shown.len();
        if !self.has_changed {
            return None;
        }
        let is_short =
            if self.lists { clients <= config.listed() } else { clients <= config.listed() * 3 / 4 };
        if !self.lists || !is_short || self.changes.len() > config.listed() {
            self.begin(members, config);
            self.lists = is_short;
            return Some(if is_short {
                PresenceEvent::Snapshot(members.page(None, config.shown()))
            } else {
                PresenceEvent::Counts(members.counts())
            });
        }
        let mut changes = PresenceChanges { counts: members.counts(), ..PresenceChanges::default() };
        let mut bytes = 0;
        while bytes < EVENT_BYTES
            && let Some((client, before)) = self.changes.pop_first()
        {
            bytes += 32;
            match (before, members.info(client)) {
                (None, Some(info)) => changes.join.push(member(client, info, &mut bytes)),
                (Some(_), None) => changes.leave.push(client),
                (Some(before), Some(info)) if before != *info => {
                    changes.update.push(member(client, info, &mut bytes));
                }
                _ => {}
            }
        }
        self.has_changed = !self.changes.is_empty();
        let is_empty = changes.join.is_empty() && changes.leave.is_empty() && changes.update.is_empty();
        let is_known = std::mem::replace(&mut self.counts, changes.counts) == changes.counts;
        match (is_empty, is_known) {
            (false, _) => Some(PresenceEvent::Changes(changes)),
            (true, true) => None,
            // Who was counted before it was to be told has gone again.
            (true, false) => {
                self.begin(members, config);
                Some(PresenceEvent::Snapshot(members.page(None, config.shown())))
            }
        }
    }

    /// What a watcher is told that begins now: what the others have been told.
    pub(super) fn snapshot(&self, members: &Members, config: &PresenceConfig) -> PresencePage {
        if self.changes.is_empty() {
            return members.page(None, config.shown());
        }
        let mut now = members.shown.iter().map(|(client, entry)| (*client, &entry.info)).peekable();
        let mut before = self.changes.iter().peekable();
        // Both in the clients' order; what was told before counts.
        let told = std::iter::from_fn(|| {
            loop {
                let changed = before.peek().map(|(client, _)| **client);
                match (now.peek().map(|(client, _)| *client), changed) {
                    (Some(client), Some(changed)) if client < changed => return now.next(),
                    (Some(_), None) => return now.next(),
                    (client, Some(changed)) => {
                        if client == Some(changed) {
                            now.next();
                        }
                        if let Some((client, Some(info))) = before.next() {
                            return Some((*client, info));
                        }
                    }
                    (None, None) => return None,
                }
            }
        });
        page(told, config.shown(), self.counts)
    }
}

fn page<'a>(
    listed: impl Iterator<Item = (ClientId, &'a Info)>,
    limit: usize,
    counts: PresenceCounts,
) -> PresencePage {
    let mut page = PresencePage { counts, ..PresencePage::default() };
    let mut bytes = 0;
    for (client, info) in listed {
        if page.members.len() >= limit || bytes > EVENT_BYTES {
            page.next = page.members.last().map(|member| member.client);
            break;
        }
        bytes += 32;
        page.members.push(member(client, info, &mut bytes));
    }
    page
}

fn member(client: ClientId, info: &Info, bytes: &mut usize) -> Member {
    let length = |text: &Option<Arc<str>>| text.as_ref().map_or(0, |text| text.len());
    *bytes += length(&info.user) + length(&info.meta);
    Member { client, user: info.user.clone(), meta: info.meta.clone() }
}
