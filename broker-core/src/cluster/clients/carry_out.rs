//! What this node does to its own clients.

use std::{sync::Arc, task::Poll};

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, stream::FuturesUnordered};
use rustc_hash::FxHashMap;

use super::{
    order::Order,
    outcome::{Listed, MemberInfo, Tally},
    parked,
    selection::Selection,
};
use crate::{
    broker::Inner,
    session::{
        ClientId, CloseReason, ErrorCode,
        seat::{Leaving, Seat},
    },
    topic::TopicPattern,
};

/// How many clients are waited for at once: what waits is the backend or the policy.
const AT_ONCE: usize = 256;

/// After so many clients other tasks get their turn.
const SLICE: usize = 256;

/// How often those are looked for at most who have found another connection meanwhile: a client that never stops changing it holds up nobody.
const ROUNDS: usize = 8;

/// What has become of an order at one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Done {
    AsBefore,
    Failed,
    Changed,
}

impl From<bool> for Done {
    fn from(changed: bool) -> Self {
        if changed { Self::Changed } else { Self::AsBefore }
    }
}

/// What has become of it at each. A client that loses its connection meanwhile, or comes back, is met twice and counts once.
#[derive(Default)]
pub(super) struct Results(FxHashMap<ClientId, Done>);

impl Results {
    pub(super) fn note(&mut self, client: ClientId, done: Done) {
        let held = self.0.entry(client).or_insert(done);
        *held = done.max(*held);
    }

    fn tally(&self) -> Tally {
        let count = |what| self.0.values().filter(|done| **done == what).count();
        Tally { clients: self.0.len(), changed: count(Done::Changed), failed: count(Done::Failed) }
    }
}

/// Carries an order out at the clients of this node that are meant, those included whose connection is lost and whose session
/// waits for them.
pub(crate) async fn carry_out(broker: &Inner, selection: &Selection, order: Order) -> Bytes {
    if let Order::List { limit } = order {
        return list(broker, &selection.find(broker).await, limit).encode();
    }
    let mut results = Results::default();
    let followed = broker.parking.follow();
    parked::carry_out(broker, selection, &order, &mut results);
    at_seats(broker, selection.find(broker).await, &order, &mut results).await;
    // Those that have lost their connection meanwhile.
    parked::carry_out(broker, selection, &order, &mut results);
    if is_for_sessions(&order) {
        // Those that have found another one: it may not have been looked at.
        for _ in 0..ROUNDS {
            let seats = selection.among(broker, followed.take());
            if seats.is_empty() {
                break;
            }
            at_seats(broker, seats, &order, &mut results).await;
            parked::carry_out(broker, selection, &order, &mut results);
        }
    }
    results.tally().encode()
}

/// Whether an order is for clients wherever their sessions are. When they are taken up they are authorized anew; and who is told to come back
/// is to find its session.
pub(super) fn is_for_sessions(order: &Order) -> bool {
    match order {
        Order::List { .. } | Order::Reauthorize => false,
        Order::Disconnect(reason) => Leaving::of(reason) == Leaving::Left,
        _ => true,
    }
}

async fn at_seats(broker: &Inner, seats: Vec<Arc<Seat>>, order: &Order, results: &mut Results) {
    match order {
        Order::List { .. } => {}
        Order::Subscribe(topic) => each(seats, results, |seat| subscribe(seat, topic)).await,
        Order::Unsubscribe(topic) => {
            broker.passed(topic).await;
            each(seats, results, |seat| std::future::ready(leave(&seat, topic).into())).await;
        }
        Order::Move { from, to } => {
            let (movers, others): (Vec<_>, Vec<_>) =
                seats.into_iter().partition(|seat| from != to && seat.is_subscribed(from.as_str()));
            for seat in others {
                results.note(seat.client(), Done::AsBefore);
            }
            move_all(broker, movers, from, to, results).await;
        }
        Order::Disconnect(reason) => {
            each(seats, results, |seat| std::future::ready(close(&seat, reason))).await;
        }
        Order::Revoke(pattern) => {
            // With all of them before anything is waited for: no policy that takes its time is in the way.
            for seat in &seats {
                results.note(seat.client(), (seat.revoke_within(pattern) > 0).into());
            }
            let beyond = |seat: Arc<Seat>| async move { (seat.revoke_beyond(pattern).await > 0).into() };
            each(seats, results, beyond).await;
        }
        Order::Reauthorize => {
            let again = |seat: Arc<Seat>| async move { (seat.reauthorize().await > 0).into() };
            each(seats, results, again).await;
        }
    }
}

fn list(broker: &Inner, seats: &[Arc<Seat>], limit: u32) -> Listed {
    let named = seats.iter().take(limit as usize);
    let member = |seat: &Arc<Seat>| MemberInfo {
        client: seat.client(),
        user: seat.user(),
        node: broker.node,
        transport: seat.transport.into(),
    };
    Listed { total: seats.len(), clients: named.map(member).collect() }
}

async fn subscribe(seat: Arc<Seat>, topic: &TopicPattern) -> Done {
    match seat.subscribe_by_server(topic.as_str()).await {
        Ok(is_new) => is_new.into(),
        Err(error) => {
            tracing::debug!(target: "fanfare::core", client = %seat.client(), %error, "a client could not be subscribed");
            Done::Failed
        }
    }
}

fn leave(seat: &Seat, topic: &TopicPattern) -> bool {
    seat.unsubscribe_by_server(topic.as_str(), ErrorCode::Kicked, false)
}

/// First the new topic, and then, when all of the old one has been handed out that was published before anybody had the new one, the
/// old one is left: there is no message between the two that is missed.
async fn move_all(
    broker: &Inner,
    seats: Vec<Arc<Seat>>,
    from: &TopicPattern,
    to: &TopicPattern,
    results: &mut Results,
) {
    let mut arrived = Results::default();
    each(seats.clone(), &mut arrived, |seat| subscribe(seat, to)).await;
    broker.passed(from).await;
    for seat in seats {
        let client = seat.client();
        let done = match arrived.0.get(&client) {
            Some(Done::Failed) => Done::Failed,
            _ => leave(&seat, from).into(),
        };
        results.note(client, done);
    }
}

fn close(seat: &Seat, reason: &CloseReason) -> Done {
    seat.dismiss(reason.clone());
    Done::Changed
}

/// Does something with each. One that has to wait does not hold up the others, up to a number.
async fn each<F>(seats: Vec<Arc<Seat>>, results: &mut Results, act: impl Fn(Arc<Seat>) -> F)
where
    F: Future<Output = Done>,
{
    let mut waiting = FuturesUnordered::new();
    for (index, seat) in seats.into_iter().enumerate() {
        if index % SLICE == SLICE - 1 {
            tokio::task::yield_now().await;
        }
        let client = seat.client();
        let mut acting = Box::pin(act(seat).map(move |done| (client, done)));
        match std::future::poll_fn(|cx| Poll::Ready(acting.poll_unpin(cx))).await {
            Poll::Ready((client, done)) => results.note(client, done),
            Poll::Pending => waiting.push(acting),
        }
        while waiting.len() >= AT_ONCE
            && let Some((client, done)) = waiting.next().await
        {
            results.note(client, done);
        }
    }
    while let Some((client, done)) = waiting.next().await {
        results.note(client, done);
    }
}
