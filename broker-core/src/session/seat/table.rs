//! The table: what a client is subscribed to, and what is about to be added.

use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;
use tokio::time::Instant;

use super::{Held, Seat, events::Events};
use crate::{
    fanout::Op,
    hooks::{Happened, Unsubscribed},
    message::{Payload, Position},
    outbox::Subject,
    policy::Grant,
    session::{CloseKind, CloseReason, ErrorCode, clock::Alarm},
    subscriber::SubscriptionId,
};

/// What the client is subscribed to.
#[derive(Default)]
pub(super) struct Table {
    /// Most connections have one or two.
    subscriptions: SmallVec<[Subscription; 1]>,
    /// Most of the time none.
    pub(super) rare: Option<Box<Rare>>,
    pub(super) next_ticket: u32,
    /// The session has ended: nothing is added any more, and what is listed is what there was.
    pub(super) is_closed: bool,
}

/// What a table holds now and then.
#[derive(Default)]
pub(super) struct Rare {
    pub(super) beginning: Vec<OnItsWay>,
    /// What an earlier connection was subscribed to, and this one is about to take up.
    pub(super) waiting: Vec<Away>,
    /// What hooks have not heard yet.
    pub(super) events: Events,
    /// When the clock looks at the seat.
    pub(super) look_at: Option<Alarm>,
    /// When the admission ends.
    pub(super) expires: Option<Instant>,
    /// When the client is told that its token is about to expire.
    pub(super) notice_at: Option<Instant>,
}

/// A subscription without a connection.
#[derive(Clone, Debug)]
pub(crate) struct Away {
    pub(crate) subject: Subject,
    pub(crate) by: By,
    /// Its client is told who is there.
    pub(crate) watches: bool,
    /// Where it began, in a log: what its client has from later it knows itself.
    pub(crate) after: Option<Position>,
}

/// A subscription that the shard serves.
pub(crate) struct Subscription {
    pub(crate) subject: Subject,
    /// The outbox's number of it.
    pub(crate) id: SubscriptionId,
    /// Another one for each beginning, and none twice in one session's life.
    pub(crate) ticket: u32,
    pub(crate) by: By,
    /// The client is told who is there.
    pub(crate) watches: bool,
    /// Where it began, in a log.
    pub(crate) began: Option<Box<Position>>,
    /// What the policy said beyond yes.
    pub(crate) terms: Option<Box<Terms>>,
}

/// Who made a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    Client,
    Server,
}

/// What a policy's grant says beyond yes.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    /// When the policy is asked again.
    pub(crate) expires: Option<Instant>,
    /// What the app says of the member in presence lists.
    pub(crate) presence: Option<Payload>,
    /// Not shown in presence lists.
    pub(crate) hidden: bool,
}

/// How a subscription ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leaving {
    /// On purpose: the client or the server ended it, or said goodbye.
    Left,
    /// The connection was lost, and its client may come back.
    Lost,
}

/// A subscription that has been asked for and is not with the shard yet.
pub(super) struct OnItsWay {
    pub(super) ticket: u32,
    pub(super) subject: Subject,
    /// It depends on the policy.
    pub(super) is_asked: bool,
    /// It is not to be, and why, and whether it may be asked for again.
    pub(super) ended: Option<(ErrorCode, bool)>,
}

impl Subscription {
    fn as_away(&self) -> Away {
        let after = self.began.as_deref().copied();
        Away { subject: self.subject.clone(), by: self.by, watches: self.watches, after }
    }
}

impl Leaving {
    /// Whether a client whose connection ended like this may come back.
    pub(crate) fn of(reason: &CloseReason) -> Self {
        match reason.kind {
            // Its page may be loaded again; it may have a new token.
            CloseKind::Lost | CloseKind::Away | CloseKind::Internal | CloseKind::TokenExpired => Self::Lost,
            // Come back later; come back now.
            kind if kind.code() >= 4100 => Self::Lost,
            _ => Self::Left,
        }
    }
}

impl Terms {
    /// Nothing where the grant is a mere yes: most are.
    pub(super) fn of(grant: Grant) -> Option<Box<Self>> {
        if grant.expires.is_none() && grant.presence.is_none() && !grant.hidden {
            return None;
        }
        let expires = grant.expires.and_then(|after| Instant::now().checked_add(after));
        Some(Box::new(Self { expires, presence: grant.presence, hidden: grant.hidden }))
    }
}

impl Table {
    pub(super) fn len(&self) -> usize {
        self.subscriptions.len()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Subscription> {
        self.subscriptions.iter_mut()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Subscription> {
        self.subscriptions.iter()
    }

    pub(super) fn get(&self, name: &str) -> Option<&Subscription> {
        if self.is_closed {
            return None;
        }
        self.subscriptions.iter().find(|held| held.subject.as_str() == name)
    }

    pub(super) fn push(&mut self, subscription: Subscription) {
        self.subscriptions.push(subscription);
    }

    pub(super) fn take(&mut self, name: &str) -> Option<Subscription> {
        if self.is_closed {
            return None;
        }
        let index = self.subscriptions.iter().position(|held| held.subject.as_str() == name)?;
        Some(self.subscriptions.swap_remove(index))
    }

    /// Takes out what a test finds.
    pub(super) fn take_where(&mut self, is: impl Fn(&Subscription) -> bool) -> Vec<Subscription> {
        let mut taken = Vec::new();
        if self.is_closed {
            return taken;
        }
        let mut index = 0;
        while let Some(held) = self.subscriptions.get(index) {
            if is(held) {
                taken.push(self.subscriptions.swap_remove(index));
            } else {
                index += 1;
            }
        }
        taken
    }

    /// The same where the policy has been asked, or is being asked: a client may ask again.
    pub(super) fn forestall_asked(&mut self) {
        let beginning = self.rare.iter_mut().flat_map(|rare| &mut rare.beginning);
        for begun in beginning.filter(|begun| begun.ended.is_none() && begun.is_asked) {
            begun.ended = Some((ErrorCode::Revoked, true));
        }
    }

    /// What is about to be added.
    pub(super) fn beginning(&self) -> &[OnItsWay] {
        self.rare.as_ref().map_or(&[], |rare| &rare.beginning)
    }

    /// What of an earlier connection is to be taken up.
    pub(super) fn waiting(&self) -> &[Away] {
        self.rare.as_ref().map_or(&[], |rare| &rare.waiting)
    }

    /// What an earlier connection had is there again, or is not to be.
    pub(super) fn taken_up(&mut self, name: &str) {
        if let Some(rare) = &mut self.rare {
            rare.waiting.retain(|away| away.subject.as_str() != name);
        }
        self.tidy();
    }

    pub(super) fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    /// Lets go of what is not needed any more.
    pub(super) fn tidy(&mut self) {
        let is_needed = |rare: &Rare| {
            !rare.beginning.is_empty()
                || !rare.waiting.is_empty()
                || !rare.events.is_empty()
                || rare.look_at.is_some()
                || rare.expires.is_some()
                || rare.notice_at.is_some()
        };
        if !self.rare.as_deref().is_some_and(is_needed) {
            self.rare = None;
        }
    }

    /// Ends those on their way that a test finds, and says how many.
    pub(super) fn forestall(&mut self, code: ErrorCode, retry: bool, is: impl Fn(&Subject) -> bool) -> usize {
        let Some(rare) = &mut self.rare else { return 0 };
        // What an earlier connection had goes the same way.
        rare.waiting.retain(|away| !is(&away.subject));
        let found = rare.beginning.iter_mut().filter(|begun| begun.ended.is_none() && is(&begun.subject));
        found.map(|begun| begun.ended = Some((code, retry))).count()
    }
}

impl Held {
    /// Lets a subscription that was taken out of the table go; its shard hands the frame over when nothing of the topic can
    /// follow any more.
    pub(super) fn release(&self, seat: &Seat, gone: &Subscription, last: Option<Bytes>, how: Leaving) {
        let op = Op::Remove { client: seat.client(), subscription: gone.id, reply: last };
        seat.broker.inboxes[seat.shard].send(op);
        self.tell_left(seat, gone, how);
    }

    /// Presence hears of subscriptions by name.
    pub(super) fn tell_left(&self, seat: &Seat, gone: &Subscription, how: Leaving) {
        if let (Subject::Topic(topic), Some(attendance)) = (&gone.subject, seat.broker.attendance.get()) {
            let user = self.identity.as_ref().and_then(|identity| identity.user.as_ref());
            attendance.left(seat.client(), user, topic, how);
        }
    }

    /// Notes what the policy says of a subscription now.
    pub(super) fn renew(&mut self, seat: &Seat, ticket: u32, grant: Grant) {
        let Some(held) = self.table.iter_mut().find(|held| held.ticket == ticket) else { return };
        held.terms = Terms::of(grant);
        if let (Subject::Topic(topic), Some(attendance)) = (&held.subject, seat.broker.attendance.get()) {
            let user = self.identity.as_ref().and_then(|identity| identity.user.as_ref());
            attendance.renewed(seat, user, topic, held);
        }
    }

    pub(super) fn tell_joined(&self, seat: &Seat, joined: &Subscription) {
        if let (Subject::Topic(topic), Some(attendance)) = (&joined.subject, seat.broker.attendance.get()) {
            let user = self.identity.as_ref().and_then(|identity| identity.user.as_ref());
            attendance.joined(seat, user, topic, joined);
        }
    }

    /// Ends everything, and says what there was.
    pub(super) fn close(&mut self, seat: &Seat, how: Leaving) -> Vec<Away> {
        let waiting = self.table.waiting();
        // It may be kept for minutes: with no room to spare.
        let mut away = Vec::with_capacity(waiting.len() + self.table.len());
        away.extend_from_slice(waiting);
        self.table.forestall(ErrorCode::Kicked, true, |_| true);
        self.table.is_closed = true;
        self.stop_clock(seat);
        for gone in &self.table.subscriptions {
            self.release(seat, gone, None, how);
        }
        let ended = |held: &Subscription| Happened::Ended(held.subject.clone(), Unsubscribed::Disconnected);
        let ended: Vec<_> = self.table.subscriptions.iter().map(ended).collect();
        for happened in ended {
            self.note(seat, happened);
        }
        // Hooks may still ask what there was.
        away.extend(self.table.subscriptions.iter().map(Subscription::as_away));
        away
    }
}

/// Who hears of subscriptions by name, their beginning and their end, in the order in which these happen to a session.
///
/// Called under the lock of the session's seat, from any thread: it must be quick, must not call the seat, and must lock
/// nothing that is locked while a seat is asked for something.
pub(crate) trait Attendance: Send + Sync + 'static {
    /// A subscription has been given to its shard. One that was subscribed already begins anew without having left, so that
    /// its terms may be others.
    fn joined(
        &self,
        seat: &Seat,
        user: Option<&Arc<str>>,
        topic: &crate::topic::TopicName,
        held: &Subscription,
    );

    /// The terms of a subscription are others, perhaps; it goes on.
    fn renewed(
        &self,
        seat: &Seat,
        user: Option<&Arc<str>>,
        topic: &crate::topic::TopicName,
        held: &Subscription,
    );

    /// A subscription has ended: nothing of the topic will be offered to the client.
    fn left(
        &self,
        client: crate::session::ClientId,
        user: Option<&Arc<str>>,
        topic: &crate::topic::TopicName,
        how: Leaving,
    );
}
