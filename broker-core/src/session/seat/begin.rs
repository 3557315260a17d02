//! From a wish to a place in the table: what is on its way can be ended before it has begun.

use std::sync::Arc;

use bytes::Bytes;

use super::{By, Held, Seat, Subscription, Terms, by_server::action, table::OnItsWay};
use crate::{
    broker::Begun,
    fanout::Op,
    hooks::Happened,
    message::{Gap, GapReason},
    outbox::Subject,
    policy::Grant,
    session::{CommandError, ErrorCode, Start, Subscribed, authorize::authorize},
};

/// A subscription that has been asked for; dropped, it is forgotten.
pub(crate) struct Beginning {
    seat: Arc<Seat>,
    /// `None` once the table has forgotten it.
    ticket: Option<u32>,
    by: By,
}

/// A subscription that is allowed and has its place in its topic's order, but is not with its shard yet;
/// dropped, it is forgotten.
pub(crate) struct Starting {
    beginning: Beginning,
    begun: Begun,
    grant: Grant,
    watches: bool,
}

impl Seat {
    /// Notes that a subscription is on its way.
    pub(crate) fn begin(self: &Arc<Self>, subject: Subject, by: By) -> Result<Beginning, CommandError> {
        let limit = self.broker.limits.subscriptions_per_connection;
        let mut held = self.held.lock();
        if held.table.is_closed {
            return Err(ended(ErrorCode::Kicked, true));
        }
        let name = subject.as_str();
        let on_their_way = held.table.beginning();
        let is_new =
            held.table.get(name).is_none() && on_their_way.iter().all(|begun| begun.subject.as_str() != name);
        let count = held.table.len() + on_their_way.len();
        if is_new && count >= limit {
            let error =
                CommandError::new(ErrorCode::LimitExceeded, "too many subscriptions on this connection");
            return Err(error.field("topic").limit(limit as u64, count as u64 + 1));
        }
        held.table.next_ticket = held.table.next_ticket.wrapping_add(1);
        let ticket = held.table.next_ticket;
        held.table.rare().beginning.push(OnItsWay { ticket, subject, is_asked: false, ended: None });
        Ok(Beginning { seat: self.clone(), ticket: Some(ticket), by })
    }
}

impl Beginning {
    /// Asks the policy and the backend.
    pub(crate) async fn ask(self, subject: Subject, start: Start) -> Result<Starting, CommandError> {
        let seat = &self.seat;
        let Some(identity) = seat.identity() else {
            return Err(CommandError::new(ErrorCode::Unauthenticated, "send `connect` first"));
        };
        seat.held.lock().note_asked(&self);
        let grant = authorize(&seat.broker, &identity, action(&subject, self.by)).await?;
        self.start(subject, start, grant).await
    }

    /// Asks the backend.
    pub(crate) async fn start(
        self,
        subject: Subject,
        start: Start,
        grant: Grant,
    ) -> Result<Starting, CommandError> {
        let seat = &self.seat;
        let begun = match subject {
            Subject::Topic(topic) => seat.broker.begin(seat.shard, topic, start).await?,
            Subject::Pattern(pattern) => seat.broker.begin_pattern(seat.shard, pattern, start).await?,
        };
        Ok(Starting { begun, grant, watches: false, beginning: self })
    }
}

impl Drop for Beginning {
    fn drop(&mut self) {
        if self.ticket.is_some() {
            let seat = self.seat.clone();
            seat.held.lock().forget(self);
        }
    }
}

impl Starting {
    /// Tells the client that it has missed what came while it was away, where that is not kept.
    pub(crate) fn after_absence(&mut self) {
        if self.begun.outcome.position.is_none() {
            self.begun.outcome.recovered = Some(false);
            self.begun.tell(Gap::new(GapReason::History, None));
        }
    }

    /// The client is told who is there.
    pub(crate) fn watch(&mut self, watches: bool) {
        self.watches = watches;
    }

    pub(crate) fn outcome(&self) -> Subscribed {
        self.begun.outcome
    }

    pub(crate) fn name(&self) -> &str {
        self.begun.subject.as_str()
    }

    /// What has ended it on its way, if something has.
    pub(crate) fn ended(&self) -> Option<CommandError> {
        self.beginning.seat.held.lock().ended(&self.beginning)
    }
}

impl Seat {
    /// Gives subscriptions to their shard, which hands the reply over when nothing of the topics' earlier
    /// subscriptions can follow any more, and nothing of these has come. All or none.
    ///
    /// # Errors
    ///
    /// All of them again when something has [ended](Starting::ended) one on its way: then the reply says what is not so.
    pub(crate) fn attach(
        self: &Arc<Self>,
        all: Vec<Starting>,
        mut reply: Option<Bytes>,
    ) -> Result<(), Vec<Starting>> {
        let mut held = self.held.lock();
        if all.iter().any(|starting| held.ended(&starting.beginning).is_some()) {
            // They are forgotten without the lock.
            drop(held);
            return Err(all);
        }
        // What is begun anew ends before the reply, which comes before the first message.
        let made_way: Vec<_> = all.iter().map(|starting| held.make_way(self, starting.name())).collect();
        for (starting, goes_on) in all.into_iter().zip(made_way) {
            held.attach(self, starting, reply.take(), goes_on);
        }
        held.set_clock(self);
        Ok(())
    }
}

impl Seat {
    /// The same for one, unless the client has been subscribed meanwhile: what it asked for itself goes on undisturbed. False then.
    pub(crate) fn attach_where_new(
        self: &Arc<Self>,
        one: Starting,
        reply: Bytes,
    ) -> Result<bool, Vec<Starting>> {
        let mut held = self.held.lock();
        if held.table.get(one.name()).is_some() {
            // It is forgotten without the lock.
            drop(held);
            return Ok(false);
        }
        if held.ended(&one.beginning).is_some() {
            drop(held);
            return Err(vec![one]);
        }
        held.attach(self, one, Some(reply), false);
        held.set_clock(self);
        Ok(true)
    }
}

impl Held {
    fn ended(&self, beginning: &Beginning) -> Option<CommandError> {
        let mut found = self.table.beginning().iter().filter(|begun| Some(begun.ticket) == beginning.ticket);
        found.find_map(|begun| begun.ended).map(|(code, retry)| ended(code, retry))
    }

    /// The policy decides on it: what it said may be looked at again.
    fn note_asked(&mut self, beginning: &Beginning) {
        let on_their_way = self.table.rare.iter_mut().flat_map(|rare| &mut rare.beginning);
        for begun in on_their_way.filter(|begun| Some(begun.ticket) == beginning.ticket) {
            begun.is_asked = true;
        }
    }

    fn forget(&mut self, beginning: &mut Beginning) -> u32 {
        let ticket = beginning.ticket.take().unwrap_or_default();
        if let Some(rare) = &mut self.table.rare {
            rare.beginning.retain(|begun| begun.ticket != ticket);
        }
        self.table.tidy();
        ticket
    }

    /// Ends the subscription of the same name without a word: it goes on as another. False when there is none.
    fn make_way(&mut self, seat: &Seat, name: &str) -> bool {
        let Some(before) = self.table.take(name) else { return false };
        let op = Op::Remove { client: seat.client(), subscription: before.id, reply: None };
        seat.broker.inboxes[seat.shard].send(op);
        true
    }

    fn attach(&mut self, seat: &Seat, starting: Starting, reply: Option<Bytes>, goes_on: bool) {
        let Starting { mut beginning, begun, grant, watches } = starting;
        let ticket = self.forget(&mut beginning);
        let (subject, by) = (begun.subject.clone(), beginning.by);
        // One `connect` may name a topic twice.
        let goes_on = self.make_way(seat, subject.as_str()) || goes_on;
        self.table.taken_up(subject.as_str());
        let began = begun.outcome.position.map(Box::new);
        let id = begun.attach(&seat.outbox, reply);
        let subscription = Subscription { subject, id, ticket, by, watches, began, terms: Terms::of(grant) };
        self.tell_joined(seat, &subscription);
        if !goes_on {
            self.note(seat, Happened::Began(subscription.subject.clone()));
        }
        self.table.push(subscription);
    }
}

/// Why a subscription that was on its way is not to be.
pub(super) fn ended(code: ErrorCode, retry: bool) -> CommandError {
    let message = match code {
        ErrorCode::Revoked => "the right to this was taken back",
        _ => "the server has ended this",
    };
    let mut error = CommandError::new(code, message).field("topic");
    error.retry = retry;
    error
}
