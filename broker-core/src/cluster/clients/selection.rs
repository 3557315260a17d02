//! Which clients are meant.

use std::sync::Arc;

use rustc_hash::FxHashSet;
use smallvec::SmallVec;
use tokio::sync::oneshot;

use crate::{
    broker::Inner,
    fanout::{Inbox, Op},
    session::{ClientId, seat::Seat},
    topic::{TopicName, TopicPattern},
};

/// Something that a client has to meet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    Client(ClientId),
    User(Arc<str>),
    /// Subscribed to it by its name.
    Topic(TopicName),
    Except(ClientId),
}

/// The clients that meet all conditions: all clients where there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Selection {
    pub(crate) conditions: SmallVec<[Condition; 2]>,
}

impl Selection {
    pub(crate) fn add(&mut self, condition: Condition) {
        self.conditions.push(condition);
    }

    /// The connections of this node that are meant.
    pub(crate) async fn find(&self, broker: &Inner) -> Vec<Arc<Seat>> {
        let registry = &broker.registry;
        let mut found = match self.narrowest() {
            Some(Condition::Client(client)) => registry.seat(*client).into_iter().collect(),
            Some(Condition::User(user)) => registry.seats_of(user).into_vec(),
            Some(Condition::Topic(topic)) => {
                // No shard knows yet of those that are being subscribed anew; looked at before, none slips through.
                let mut found = registry.seats_waiting_for(topic.as_str());
                let waited: FxHashSet<_> = found.iter().map(|seat| seat.client()).collect();
                let subscribed = broker.subscribed_to(topic).await;
                let others = subscribed.into_iter().filter(|client| !waited.contains(client));
                found.extend(others.filter_map(|client| registry.seat(client)));
                found
            }
            _ => registry.seats(),
        };
        found.retain(|seat| self.meets(seat));
        found
    }

    /// Those of these clients that are meant, and connected to this node.
    pub(super) fn among(&self, broker: &Inner, clients: Vec<ClientId>) -> Vec<Arc<Seat>> {
        let mut found: Vec<_> =
            clients.into_iter().filter_map(|client| broker.registry.seat(client)).collect();
        found.retain(|seat| self.meets(seat));
        found
    }

    /// The condition that leaves the fewest.
    fn narrowest(&self) -> Option<&Condition> {
        let rank = |condition: &&Condition| match condition {
            Condition::Client(_) => 0,
            Condition::User(_) => 1,
            Condition::Topic(_) => 2,
            Condition::Except(_) => 3,
        };
        self.conditions.iter().min_by_key(rank)
    }

    fn meets(&self, seat: &Seat) -> bool {
        seat.is_admitted()
            && self.conditions.iter().all(|condition| match condition {
                Condition::Client(client) => seat.client() == *client,
                Condition::User(user) => seat.user().as_ref() == Some(user),
                Condition::Topic(topic) => {
                    // What it had on its last connection it has.
                    seat.is_subscribed(topic.as_str()) || seat.is_waiting(topic.as_str())
                }
                Condition::Except(client) => seat.client() != *client,
            })
    }
}

impl Inner {
    /// Waits until all that has been published to a topic by now has been handed out on this node, so that what comes next does not
    /// overtake it. Of a pattern nothing is known.
    pub(super) async fn passed(&self, topic: &TopicPattern) {
        let Some(topic) = topic.to_exact().and_then(|name| self.table.find(&name)) else { return };
        let tell = |inbox: &Arc<Inbox>| {
            let (tell, told) = oneshot::channel();
            inbox.send(Op::Passed { topic: topic.id(), tell });
            told
        };
        let all: Vec<_> = self.inboxes.iter().map(tell).collect();
        for told in all {
            // A shard that has ended hands nothing out any more.
            let _ = told.await;
        }
    }

    /// Who is subscribed to a topic by its name, as the shards know it: nobody else has to be looked at.
    async fn subscribed_to(&self, name: &TopicName) -> Vec<ClientId> {
        let Some(topic) = self.table.find(name) else { return Vec::new() };
        let mut clients = Vec::new();
        let answers: Vec<_> = self
            .inboxes
            .iter()
            .map(|inbox| {
                let (tell, told) = oneshot::channel();
                inbox.send(Op::Who { topic: topic.id(), tell });
                told
            })
            .collect();
        for answer in answers {
            clients.extend(answer.await.unwrap_or_default());
        }
        clients
    }
}
