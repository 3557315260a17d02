//! What watchers are told of a room, and when.

use super::*;

fn entry(meta: &str) -> Entry {
    let info = Info { user: Some("ann".into()), meta: Some(meta.into()) };
    Entry { owner: NodeId::new(1), stamp: 1, info, is_amended: false }
}

/// A room in which watchers are told everything that is done to it.
struct Watched {
    members: Members,
    told: Told,
    config: PresenceConfig,
}

impl Watched {
    /// With so many members, of whom the watchers know.
    fn with(members: u64, listed: usize) -> Self {
        let config = PresenceConfig::new().listed_members(listed);
        let mut watched = Self { members: Members::default(), told: Told::new(1), config };
        (1..=members).for_each(|client| watched.set(client, Some(entry("x"))));
        watched.told.begin(&watched.members, &watched.config);
        watched
    }

    fn set(&mut self, client: u64, entry: Option<Entry>) {
        let client = ClientId::new(client);
        if let Some(before) = self.members.set(NodeId::new(1), client, entry) {
            self.told.note(client, before);
        }
    }

    fn take(&mut self) -> &'static str {
        match self.told.take(&self.members, &self.config) {
            Some(PresenceEvent::Snapshot(_)) => "snapshot",
            Some(PresenceEvent::Changes(_)) => "changes",
            Some(PresenceEvent::Counts(_)) => "counts",
            None => "nothing",
        }
    }

    fn pace(&self) -> Duration {
        self.told.pace(&self.members)
    }
}

#[test]
fn a_crowd_is_listed_again_when_it_is_clearly_smaller() {
    let mut room = Watched::with(8, 8);
    let mut told = Vec::new();
    for change in [9, 8, 7, 6, 5] {
        let is_new = change == 9;
        room.set(if is_new { 9 } else { change + 1 }, is_new.then(|| entry("x")));
        told.push(room.take());
    }
    assert_eq!(told, ["counts", "counts", "counts", "snapshot", "changes"]);
}

#[test]
fn who_would_be_told_of_more_than_a_list_holds_is_told_the_list() {
    let mut room = Watched::with(10, 10);
    (1..=5).for_each(|client| room.set(client, None));
    (11..=15).for_each(|client| room.set(client, Some(entry("x"))));
    assert_eq!(room.take(), "changes");
    (6..=10).for_each(|client| room.set(client, None));
    (16..=21).for_each(|client| room.set(client, Some(entry("x"))));
    room.set(21, None);
    assert_eq!(room.take(), "snapshot", "of eleven something would have to be said");
}

#[test]
fn a_room_is_told_of_the_less_often_the_more_there_are() {
    assert_eq!(Watched::with(0, 1000).pace(), Duration::from_millis(50));
    assert_eq!(Watched::with(100, 1000).pace(), Duration::from_millis(100));
    assert_eq!(Watched::with(5000, 10_000).pace(), Duration::from_secs(1), "and not less often than that");
    assert_eq!(Watched::with(20, 10).pace(), Duration::from_secs(1), "of a crowd there is no hurry");
}

#[test]
fn a_page_is_no_longer_than_an_event() {
    let mut room = Watched::with(0, 1000);
    (1..=20).for_each(|client| room.set(client, Some(entry(&"x".repeat(8 << 10)))));
    let mut listed = 0;
    let mut after = None;
    loop {
        let page = room.members.page(after, 1000);
        assert!((1..=7).contains(&page.members.len()), "{}", page.members.len());
        listed += page.members.len();
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(listed, 20);
}

#[test]
fn room_for_users_that_have_gone_is_given_back() {
    let mut room = Watched::with(0, 1000);
    let of = |client: u64| {
        let mut entry = entry("x");
        entry.info.user = Some(client.to_string().into());
        entry
    };
    (1..=5000).for_each(|client| room.set(client, Some(of(client))));
    (1..=5000).for_each(|client| room.set(client, None));
    assert!(room.members.users.capacity() < 200, "{}", room.members.users.capacity());
}
