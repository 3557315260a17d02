//! What of a session others can reach: who it is, and what it is subscribed to.
//!
//! A session's commands are served by its connection's task, one after the other. What the app does with a client, a
//! subscription that it makes, one that it ends, a right that it takes back, comes from any task and at any time: while a
//! command of the client is being served, too. So the table of subscriptions stands behind a lock, in the seat of the session, which
//! the registry of this node leads to.
//!
//! # Locks
//!
//! A seat's lock comes before all others: topic, outbox and inbox are locked below it. Nothing is awaited under it, no
//! policy, hook or encoder of the app runs below it.
//!
//! # What is on its way
//!
//! A subscription takes its time: the policy is asked, and the backend. Meanwhile the table knows it as one that begins
//! ([`Beginning`]), so that what ends subscriptions ends it as well: one that was allowed before a right was taken back is not
//! subscribed after.

mod begin;
mod by_server;
mod events;
#[cfg(all(test, loom))]
mod loom_model;
mod park;
mod table;
mod timing;

use std::sync::Arc;

pub(crate) use begin::Starting;
use bytes::Bytes;
pub(crate) use park::Parked;
use table::Table;
pub(crate) use table::{Attendance, Away, By, Leaving, Subscription, Terms};
use tokio::time::Instant;

use super::{ClientId, CloseReason, CommandError, ErrorCode, aside::Owed, secret::KeyHash};
use crate::{
    broker::Inner,
    calls::Asked,
    fanout::Farewell,
    hooks::{Client, Happened, Unsubscribed},
    outbox::Outbox,
    policy::Identity,
    subscriber::SubscriptionId,
    sync::Mutex,
};

/// The part of a session that others can reach.
pub(crate) struct Seat {
    pub(crate) broker: Arc<Inner>,
    pub(crate) outbox: Outbox,
    pub(crate) shard: usize,
    pub(crate) transport: &'static str,
    /// The calls of the server that wait for the client.
    pub(crate) asked: Asked,
    /// What was served aside, and is to be counted.
    pub(super) owed: Owed,
    held: Mutex<Held>,
}

/// What the lock guards.
struct Held {
    /// `None` until the client is admitted.
    identity: Option<Arc<Identity>>,
    /// With what the client can take the session up again.
    key: Option<KeyHash>,
    /// The client has taken up an earlier session.
    resumed: bool,
    /// The app has ended the connection, and why.
    dismissed: Option<Box<CloseReason>>,
    table: Table,
}

impl Seat {
    pub(crate) fn new(
        broker: Arc<Inner>,
        outbox: Outbox,
        shard: usize,
        transport: &'static str,
    ) -> Arc<Self> {
        let held =
            Held { identity: None, key: None, resumed: false, dismissed: None, table: Table::default() };
        let (asked, owed) = (Asked::default(), Owed::default());
        Arc::new(Self { broker, outbox, shard, transport, asked, owed, held: Mutex::new(held) })
    }

    /// The connection's public name.
    pub(crate) fn client(&self) -> ClientId {
        self.outbox.client()
    }

    /// Who the client is, once it is admitted.
    pub(crate) fn identity(&self) -> Option<Arc<Identity>> {
        self.held.lock().identity.clone()
    }

    /// The user, if the client is admitted and has one.
    pub(crate) fn user(&self) -> Option<Arc<str>> {
        self.held.lock().identity.as_ref()?.user.clone()
    }

    pub(crate) fn is_admitted(&self) -> bool {
        self.held.lock().identity.is_some()
    }

    /// The client as hooks see it, once it is admitted.
    pub(crate) fn as_client(&self) -> Option<Client> {
        let (identity, resumed) = {
            let held = self.held.lock();
            (held.identity.clone()?, held.resumed)
        };
        Some(Client { id: self.client(), identity, transport: self.transport, resumed })
    }

    /// Ends the connection by the app's wish. What has been published to it before goes out before the close frame, as far as the write deadline
    /// allows; from now on no command is served, and a client that is not to come back cannot take its session up again, whatever becomes of the
    /// connection meanwhile.
    pub(crate) fn dismiss(&self, reason: CloseReason) {
        {
            let mut held = self.held.lock();
            if held.dismissed.is_some() {
                return;
            }
            if Leaving::of(&reason) == Leaving::Left {
                held.key = None;
            }
            held.dismissed = Some(Box::new(reason.clone()));
        }
        let farewell = Farewell { outbox: self.outbox.clone(), reason };
        self.broker.inboxes[self.shard].send_farewell(farewell);
    }

    /// Why the app has ended the connection, if it has.
    pub(crate) fn dismissed(&self) -> Option<CloseReason> {
        self.held.lock().dismissed.as_deref().cloned()
    }

    /// What a command was allowed is not done any more when the app has ended the connection meanwhile.
    pub(super) fn check_stays(&self) -> Result<(), CommandError> {
        match self.held.lock().dismissed {
            None => Ok(()),
            Some(_) => Err(CommandError::new(ErrorCode::Kicked, "the server has ended the connection")),
        }
    }

    /// When the admission ends; `None` is never.
    pub(super) fn expires(&self) -> Option<Instant> {
        self.held.lock().expires()
    }

    /// What the client is subscribed to, by its own wish or the server's: topics and patterns as text, in no order.
    pub(crate) fn subscriptions(&self) -> Vec<Arc<str>> {
        self.held.lock().table.iter().map(|held| held.subject.text()).collect()
    }

    /// Whether the client is subscribed to exactly this topic or pattern.
    pub(crate) fn is_subscribed(&self, name: &str) -> bool {
        self.subscription(name).is_some()
    }

    /// The outbox's number of a subscription, by the topic or pattern as it was subscribed.
    pub(crate) fn subscription(&self, name: &str) -> Option<SubscriptionId> {
        self.held.lock().table.get(name).map(|held| held.id)
    }

    /// Ends a subscription by the client's wish; the reply is its last word. False when there is none.
    pub(super) fn unsubscribe(&self, name: &str, reply: Option<Bytes>) -> bool {
        let mut held = self.held.lock();
        let gone = held.table.take(name);
        let Some(gone) = gone else { return false };
        held.release(self, &gone, reply, Leaving::Left);
        held.note(self, Happened::Ended(gone.subject, Unsubscribed::ByClient));
        true
    }
}

impl std::fmt::Debug for Seat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Seat").field("client", &self.client()).finish_non_exhaustive()
    }
}
