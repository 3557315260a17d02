//! Who is there.

use fanfare_core::presence::{Member, PresenceChanges, PresenceCounts, PresenceEvent, PresencePage};
use serde::Deserialize;
use serde_json::value::RawValue;

/// Who is there, or who comes and goes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Who<'a> {
    #[serde(borrow)]
    snapshot: Option<Vec<Someone<'a>>>,
    #[serde(default)]
    join: Vec<Someone<'a>>,
    #[serde(default)]
    leave: Vec<&'a str>,
    #[serde(default)]
    update: Vec<Someone<'a>>,
    clients: Option<u64>,
    users: Option<u64>,
    next: Option<&'a str>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Someone<'a> {
    client: &'a str,
    user: Option<&'a str>,
    #[serde(borrow)]
    meta: Option<&'a RawValue>,
}

impl Who<'_> {
    pub(crate) fn event(&self) -> PresenceEvent {
        let counts = counts(self.clients, self.users);
        if let Some(snapshot) = &self.snapshot {
            return PresenceEvent::Snapshot(page(snapshot, counts, self.next));
        }
        let mut changes = PresenceChanges::default();
        changes.counts = counts;
        changes.join = self.join.iter().map(Someone::member).collect();
        changes.leave = self.leave.iter().map(|client| client.parse().unwrap()).collect();
        changes.update = self.update.iter().map(Someone::member).collect();
        PresenceEvent::Changes(changes)
    }
}

impl Someone<'_> {
    fn member(&self) -> Member {
        let mut member = Member::new(self.client.parse().unwrap());
        member.user = self.user.map(Into::into);
        member.meta = self.meta.map(|meta| meta.get().into());
        member
    }
}

pub(crate) fn counts(clients: Option<u64>, users: Option<u64>) -> PresenceCounts {
    let mut counts = PresenceCounts::default();
    (counts.clients, counts.users) = (clients.unwrap(), users.unwrap());
    counts
}

pub(crate) fn page(members: &[Someone<'_>], counts: PresenceCounts, next: Option<&str>) -> PresencePage {
    let mut page = PresencePage::default();
    page.members = members.iter().map(Someone::member).collect();
    page.counts = counts;
    page.next = next.map(|next| next.parse().unwrap());
    page
}
