//! What becomes of sessions whose connection is lost and whose clients may come back: what the app has said to their clients they find.

use super::{
    carry_out::{Done, Results, is_for_sessions},
    order::Order,
    selection::{Condition, Selection},
};
use crate::{
    broker::Inner,
    outbox::Subject,
    session::seat::{Away, By, Leaving, Parked},
    topic::TopicPattern,
};

impl Selection {
    fn meets_parked(&self, parked: &Parked) -> bool {
        self.conditions.iter().all(|condition| match condition {
            Condition::Client(client) => parked.client == *client,
            Condition::User(user) => parked.user.as_ref() == Some(user),
            Condition::Topic(topic) => is_subscribed(parked, topic.as_str()),
            Condition::Except(client) => parked.client != *client,
        })
    }
}

/// Carries an order out at the sessions of this node that wait for their clients.
pub(super) fn carry_out(broker: &Inner, selection: &Selection, order: &Order, results: &mut Results) {
    if !is_for_sessions(order) {
        return;
    }
    let limit = broker.limits.subscriptions_per_connection;
    broker.parking.retain(|parked| {
        if !selection.meets_parked(parked) {
            return true;
        }
        let done = match order {
            Order::Subscribe(topic) => subscribe(parked, topic, limit),
            Order::Unsubscribe(topic) => end(broker, parked, |subject| subject.as_str() == topic.as_str()),
            Order::Move { from, to } => go(broker, parked, from, to, limit),
            Order::Revoke(pattern) => end(broker, parked, |subject| subject.is_within(pattern)),
            _ => {
                end(broker, parked, |_| true);
                Done::Changed
            }
        };
        results.note(parked.client, done);
        !matches!(order, Order::Disconnect(_))
    });
}

fn is_subscribed(parked: &Parked, name: &str) -> bool {
    parked.subscriptions.iter().any(|away| away.subject.as_str() == name)
}

fn subscribe(parked: &mut Parked, topic: &TopicPattern, limit: usize) -> Done {
    if is_subscribed(parked, topic.as_str()) {
        return Done::AsBefore;
    }
    if parked.subscriptions.len() >= limit {
        return Done::Failed;
    }
    let Ok(subject) = Subject::parse(topic.as_str()) else { return Done::Failed };
    parked.subscriptions.push(Away { subject, by: By::Server, watches: false, after: None });
    Done::Changed
}

/// What ends by the server's will ends now: presence waits no longer for the client.
fn end(broker: &Inner, parked: &mut Parked, is: impl Fn(&Subject) -> bool) -> Done {
    let before = parked.subscriptions.len();
    let Parked { client, user, subscriptions, .. } = parked;
    subscriptions.retain(|away| {
        let ends = is(&away.subject);
        if ends && let (Subject::Topic(topic), Some(attendance)) = (&away.subject, broker.attendance.get()) {
            attendance.left(*client, user.as_ref(), topic, Leaving::Left);
        }
        !ends
    });
    (subscriptions.len() < before).into()
}

fn go(broker: &Inner, parked: &mut Parked, from: &TopicPattern, to: &TopicPattern, limit: usize) -> Done {
    if from == to || !is_subscribed(parked, from.as_str()) {
        return Done::AsBefore;
    }
    // It leaves one for the other: there is room.
    match subscribe(parked, to, limit + 1) {
        Done::Failed => Done::Failed,
        Done::Changed | Done::AsBefore => end(broker, parked, |subject| subject.as_str() == from.as_str()),
    }
}
