//! One watcher: what it has been told, and whether that can be.

use std::collections::BTreeMap;

use super::super::{Member, PresenceCounts, PresenceEvent, PresencePage};
use crate::session::ClientId;

type Said = (Option<String>, Option<String>);

/// One watcher.
#[derive(Default)]
pub(super) struct Watcher {
    /// `None` while it waits for a snapshot.
    pub(super) knows: Option<Knowledge>,
}

pub(super) struct Knowledge {
    number: u64,
    members: BTreeMap<ClientId, Said>,
    /// The snapshot ended there: of those behind it some may not be known.
    next: Option<ClientId>,
    pub(super) counts: PresenceCounts,
    /// The list is kept current.
    pub(super) is_listed: bool,
}

pub(super) fn said(member: &Member) -> Said {
    (member.user.as_deref().map(str::to_owned), member.meta.as_deref().map(str::to_owned))
}

impl Watcher {
    pub(super) fn begin(&mut self, page: &PresencePage, number: u64) {
        let members = page.members.iter().map(|member| (member.client, said(member))).collect();
        let (next, counts) = (page.next, page.counts);
        self.knows = Some(Knowledge { number, members, next, counts, is_listed: true });
    }

    /// Takes an event; returns who has left by it.
    pub(super) fn hear(&mut self, number: u64, before: u64, event: &PresenceEvent) -> Vec<ClientId> {
        let Some(knows) = &mut self.knows else { return Vec::new() };
        if number <= knows.number {
            return Vec::new();
        }
        assert_eq!(knows.number, before, "an event is missing");
        knows.number = number;
        knows.counts = event.counts();
        match event {
            PresenceEvent::Counts(_) => knows.is_listed = false,
            PresenceEvent::Snapshot(page) => self.begin(page, number),
            PresenceEvent::Changes(changes) => {
                assert!(knows.is_listed, "changes of a list that is not kept");
                for member in &changes.join {
                    let held = knows.members.insert(member.client, said(member));
                    assert_eq!(held, None, "{:?} joins twice", member.client);
                }
                for client in &changes.leave {
                    let held = knows.members.remove(client);
                    assert!(
                        held.is_some() || knows.is_beyond(*client),
                        "{client:?} leaves and was not there"
                    );
                }
                for member in &changes.update {
                    let held = knows.members.insert(member.client, said(member));
                    let is_there = held.is_some() || knows.is_beyond(member.client);
                    assert!(is_there, "{:?} changes and is not there", member.client);
                    assert_ne!(held, Some(said(member)), "{:?} changes nothing", member.client);
                }
                return changes.leave.clone();
            }
        }
        Vec::new()
    }

    /// What it knows of a list that is kept is the truth.
    pub(super) fn check(&self, truth: &BTreeMap<ClientId, Said>) {
        let Some(knows) = self.knows.as_ref().filter(|knows| knows.is_listed) else { return };
        let is_due = |client: &ClientId| !knows.is_beyond(*client) || knows.members.contains_key(client);
        let due: BTreeMap<_, _> = truth.iter().filter(|(client, _)| is_due(client)).collect();
        assert_eq!(knows.members.iter().collect::<BTreeMap<_, _>>(), due);
    }
}

impl Knowledge {
    fn is_beyond(&self, client: ClientId) -> bool {
        self.next.is_some_and(|next| client > next)
    }
}
