//! A session that changes its connection: what one seat gives up, and another takes over.

use std::sync::Arc;

use super::{Away, Leaving, Seat};
use crate::{
    message::{Gap, GapReason},
    outbox::Subject,
    session::{ClientId, CloseKind, secret::KeyHash},
    subscriber::{Notice, SubscriptionId},
};

/// A session without a connection.
#[derive(Clone, Debug)]
pub(crate) struct Parked {
    pub(crate) client: ClientId,
    pub(crate) key: KeyHash,
    pub(crate) user: Option<Arc<str>>,
    pub(crate) subscriptions: Vec<Away>,
    /// Messages to its client may have come where it was kept: to the client itself, to its user or to all.
    pub(crate) is_addressed: bool,
}

impl Parked {
    /// Whether the session belongs to who asks for it.
    pub(crate) fn is_of(&self, key: KeyHash, user: Option<&str>) -> bool {
        self.key == key && self.user.as_deref() == user
    }

    /// How much it takes to send it to another node, more or less.
    pub(crate) fn bytes(&self) -> usize {
        let names = self.subscriptions.iter().map(|away| 18 + away.subject.as_str().len());
        64 + self.user.as_ref().map_or(0, |user| user.len()) + names.sum::<usize>()
    }
}

impl Seat {
    /// Ends all subscriptions, for good: none begins any more. Returns the session, where its client can take it up again. Once.
    pub(crate) fn close(&self, how: Leaving) -> Option<Parked> {
        let mut held = self.held.lock();
        if held.table.is_closed {
            return None;
        }
        let subscriptions = held.close(self, how);
        let user = held.identity.as_ref()?.user.clone();
        let key = held.key.filter(|_| how == Leaving::Lost)?;
        Some(Parked { client: self.client(), key, user, subscriptions, is_addressed: false })
    }

    /// Gives the session up to who has its secret: the connection, which may not know yet that nobody is there any more, is closed.
    pub(crate) fn surrender(&self, key: KeyHash, user: Option<&str>) -> Option<Parked> {
        let parked = {
            let held = self.held.lock();
            let identity = held.identity.as_ref()?;
            held.key == Some(key) && identity.user.as_deref() == user
        };
        // The key of a seat does not change, and neither does its user.
        let parked = if parked { self.close(Leaving::Lost) } else { None }?;
        self.outbox.close(CloseKind::Resumed.into());
        Some(parked)
    }

    /// Takes over what a session had: it waits to be subscribed anew. Refused where this connection has subscriptions of its own.
    pub(crate) fn adopt(&self, parked: Parked) -> Result<(), Parked> {
        let mut held = self.held.lock();
        if held.table.is_closed || held.table.len() > 0 || !held.table.beginning().is_empty() {
            return Err(parked);
        }
        self.outbox.rename(parked.client);
        (held.key, held.resumed) = (Some(parked.key), true);
        held.table.rare().waiting = parked.subscriptions;
        held.table.tidy();
        Ok(())
    }

    /// Tells the client that it may have missed what was addressed to it while it was away: it is kept nowhere.
    pub(crate) fn tell_absence(&self) {
        if self.outbox.takes_direct() {
            let gap = Gap::new(GapReason::History, None);
            self.outbox.as_subscriber().notice(SubscriptionId::DIRECT, Notice::Gap(gap));
        }
    }

    /// From now on the client can take the session up again.
    pub(crate) fn set_key(&self, key: KeyHash) {
        self.held.lock().key = Some(key);
    }

    /// What is to be subscribed anew.
    pub(crate) fn waiting(&self) -> Vec<Away> {
        self.held.lock().table.waiting().to_vec()
    }

    /// Whether this is still to be subscribed anew: the right to it may have been taken back.
    pub(crate) fn is_waiting(&self, name: &str) -> bool {
        self.held.lock().table.waiting().iter().any(|away| away.subject.as_str() == name)
    }

    /// This is not to be subscribed anew: presence waits no longer for the client.
    pub(crate) fn give_up(&self, name: &str) {
        let mut held = self.held.lock();
        let given_up = held.table.waiting().iter().find(|away| away.subject.as_str() == name);
        if let (Some(Subject::Topic(topic)), Some(attendance)) =
            (given_up.map(|away| &away.subject), self.broker.attendance.get())
        {
            attendance.left(self.client(), None, topic, Leaving::Left);
        }
        held.table.taken_up(name);
    }
}
