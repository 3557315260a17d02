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
    pub(super) counts: PresenceCounts,
    /// The list is kept current.
    pub(super) is_listed: bool,
}

pub(super) fn said(member: &Member) -> Said {
    (member.user.as_deref().map(str::to_owned), member.meta.as_deref().map(str::to_owned))
}

impl Watcher {
    pub(super) fn begin(&mut self, page: &PresencePage, number: u64) {
        assert_eq!(page.next, None, "the model's snapshots list everybody");
        let members = page.members.iter().map(|member| (member.client, said(member))).collect();
        self.knows = Some(Knowledge { number, members, counts: page.counts, is_listed: true });
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
                    assert!(knows.members.remove(client).is_some(), "{client:?} leaves and was not there");
                }
                for member in &changes.update {
                    let held = knows.members.insert(member.client, said(member));
                    assert!(held.is_some(), "{:?} changes and is not there", member.client);
                    assert_ne!(held, Some(said(member)), "{:?} changes nothing", member.client);
                }
                return changes.leave.clone();
            }
        }
        Vec::new()
    }

    pub(super) fn list(&self) -> Option<&BTreeMap<ClientId, Said>> {
        self.knows.as_ref().filter(|knows| knows.is_listed).map(|knows| &knows.members)
    }
}
