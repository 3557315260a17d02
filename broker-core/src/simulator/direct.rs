//! Messages to addresses, as one connection can check them: in order, once, and each that did not come told.

use super::truth::Truth;
use crate::{
    message::{Gap, GapReason},
    session::ClientId,
};

pub(super) const USERS: [&str; 2] = ["ann", "bob"];

/// A message to addresses that has been accepted.
#[derive(Clone, Debug)]
pub(super) struct Addressed {
    pub(super) uid: u64,
    pub(super) to: Vec<String>,
    pub(super) except: Vec<ClientId>,
    /// It went to topics as well, and reaches a connection once.
    pub(super) by_topics: bool,
}

/// What one connection has seen of them, and what it is owed.
#[derive(Debug)]
pub(super) struct DirectTrack {
    addresses: Vec<String>,
    client: ClientId,
    /// What was accepted before is not owed.
    owed_from: usize,
    next: usize,
    told: u64,
}

impl DirectTrack {
    pub(super) fn new(client: ClientId, user: Option<&str>, truth: &Truth) -> Self {
        let user = user.map(|user| format!("$user.{user}"));
        let addresses = ["$all".to_owned(), format!("$client.{client}")].into_iter().chain(user).collect();
        Self { addresses, client, owed_from: truth.addressed.len(), next: 0, told: 0 }
    }

    pub(super) fn message(&mut self, truth: &Truth, name: &str, uid: u64) {
        let at = truth.addressed.iter().position(|sent| sent.uid == uid);
        let at = at.unwrap_or_else(|| panic!("{uid} was never accepted for {name}"));
        let sent = &truth.addressed[at];
        assert!(sent.to.iter().any(|to| to == name), "{uid} was not for {name}");
        assert!(self.addresses.iter().any(|held| held == name), "{name} is somebody else");
        assert!(!sent.except.contains(&self.client), "{uid} is hidden from this client");
        assert!(at >= self.next, "{name}: {at} comes again, or out of order, after {}", self.next);
        self.account(truth, at);
        self.next = at + 1;
    }

    pub(super) fn gap(&mut self, gap: &Gap) {
        assert_eq!((gap.reason, gap.last, gap.next), (GapReason::Slow, None, None));
        self.told += gap.missed.unwrap_or_else(|| panic!("a slow connection's loss can be counted"));
    }

    /// Nothing more comes.
    pub(super) fn end(&mut self, truth: &Truth) {
        self.account(truth, truth.addressed.len());
    }

    /// Holds what was not seen up to a place against what was told.
    fn account(&mut self, truth: &Truth, to: usize) {
        let is_for_this = |sent: &&Addressed| {
            sent.to.iter().any(|to| self.addresses.contains(to)) && !sent.except.contains(&self.client)
        };
        let between = |from: usize| truth.addressed[from.min(to)..to].iter().filter(is_for_this);
        let surely = between(self.next.max(self.owed_from)).filter(|sent| !sent.by_topics).count() as u64;
        let most = between(self.next).count() as u64;
        let told = std::mem::take(&mut self.told);
        assert!((surely..=most).contains(&told), "{told} told of {surely}..={most} up to {to}");
    }
}
