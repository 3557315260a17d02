//! What this node does to its own clients.

use std::{sync::Arc, task::Poll};

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, stream::FuturesUnordered};

use super::{
    order::Order,
    outcome::{Listed, MemberInfo, Tally},
    selection::Selection,
};
use crate::{
    broker::Inner,
    session::{ErrorCode, seat::Seat},
    topic::TopicPattern,
};

/// How many clients are waited for at once: what waits is the backend or the policy.
const AT_ONCE: usize = 256;

/// After so many clients other tasks get their turn.
const SLICE: usize = 256;

/// What has become of an order at one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Done {
    Changed,
    AsBefore,
    Failed,
}

impl From<bool> for Done {
    fn from(changed: bool) -> Self {
        if changed { Self::Changed } else { Self::AsBefore }
    }
}

/// Carries an order out at the clients of this node that are meant.
pub(super) async fn carry_out(broker: &Inner, selection: &Selection, order: Order) -> Bytes {
    let seats = selection.find(broker).await;
    let tally = match order {
        Order::List { limit } => return list(broker, &seats, limit).encode(),
        Order::Subscribe(topic) => each(seats, |seat| subscribe(seat, topic.clone())).await,
        Order::Unsubscribe(topic) => {
            let leave = |seat: Arc<Seat>| Done::from(leave(&seat, &topic));
            each(seats, |seat| std::future::ready(leave(seat))).await
        }
        Order::Move { from, to } => each(seats, |seat| go(seat, from.clone(), to.clone())).await,
        Order::Disconnect(reason) => {
            let close = |seat: Arc<Seat>| {
                seat.outbox.close(reason.clone());
                Done::Changed
            };
            each(seats, |seat| std::future::ready(close(seat))).await
        }
        Order::Revoke(pattern) => {
            // With all of them before anything is waited for: no policy that takes its time is in the way.
            let ended: Vec<_> = seats.into_iter().map(|seat| (seat.revoke_within(&pattern), seat)).collect();
            let ask_beyond = |(ended, seat): (usize, Arc<Seat>)| {
                let pattern = pattern.clone();
                async move { Done::from(ended + seat.revoke_beyond(&pattern).await > 0) }
            };
            each(ended, ask_beyond).await
        }
        Order::Reauthorize => {
            each(seats, |seat| async move { Done::from(seat.reauthorize().await > 0) }).await
        }
    };
    tally.encode()
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

async fn subscribe(seat: Arc<Seat>, topic: TopicPattern) -> Done {
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

/// First the new topic and then the old one is left: in between the client has both, never neither.
async fn go(seat: Arc<Seat>, from: TopicPattern, to: TopicPattern) -> Done {
    if from == to || !seat.is_subscribed(from.as_str()) {
        return Done::AsBefore;
    }
    match subscribe(seat.clone(), to).await {
        Done::Failed => Done::Failed,
        Done::Changed | Done::AsBefore => leave(&seat, &from).into(),
    }
}

/// Does something with each. One that has to wait does not hold up the others, up to a number.
async fn each<S, F>(seats: Vec<S>, act: impl Fn(S) -> F) -> Tally
where
    F: Future<Output = Done>,
{
    let mut tally = Tally { clients: seats.len(), ..Tally::default() };
    let mut count = |done| match done {
        Done::Changed => tally.changed += 1,
        Done::AsBefore => {}
        Done::Failed => tally.failed += 1,
    };
    let mut waiting = FuturesUnordered::new();
    for (index, seat) in seats.into_iter().enumerate() {
        if index % SLICE == SLICE - 1 {
            tokio::task::yield_now().await;
        }
        let mut acting = Box::pin(act(seat));
        match std::future::poll_fn(|cx| Poll::Ready(acting.poll_unpin(cx))).await {
            Poll::Ready(done) => count(done),
            Poll::Pending => waiting.push(acting),
        }
        while waiting.len() >= AT_ONCE
            && let Some(done) = waiting.next().await
        {
            count(done);
        }
    }
    while let Some(done) = waiting.next().await {
        count(done);
    }
    tally
}
