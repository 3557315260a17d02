//! Who watches presence: what has to be told it is a snapshot, from which on it gets all that comes.

use std::sync::Arc;

use super::{
    serve::{Watch, tell},
    shard::Shard,
    subs::{Place, Progress, SubKey},
};
use crate::{
    message::Message,
    session::ClientId,
    subscriber::{Batch, Notice, SubscriptionId, Then},
};

impl Shard {
    /// Hands a snapshot over to a watcher that waits for one. What is fanned out of before it is not for this one.
    pub(super) fn present(&mut self, client: ClientId, subscription: SubscriptionId, message: Arc<Message>) {
        let Some(key) = self.subs.find(client, subscription) else { return };
        let Some(position) = message.position() else { return };
        let pull = self.pull_handle(client);
        let Some(sub) = self.subs.get_mut(key).filter(|sub| matches!(sub.progress, Progress::Awaiting))
        else {
            return;
        };
        let messages = [message];
        let batch = Batch {
            topic: messages[0].topic(),
            subscription,
            messages: &messages,
            first: 0,
            joined: None,
            has_exclusions: false,
            more_follows: false,
            page: false,
        };
        self.context.totals.offered.add(1);
        let offer = Watch::new(&self.context.totals).offer(&*sub.subscriber, &batch);
        match offer.then {
            Then::Continue => sub.progress = Progress::Ahead(position, 0),
            // It did not even fit an empty queue: when there is room again, once more.
            Then::CatchUp { .. } => tell(&*sub.subscriber, subscription, Notice::CatchingUp(pull)),
            Then::Stop => sub.progress = Progress::Stopped,
        }
    }

    /// Whether a subscription waits for a snapshot: it has sent all it had, and is to get one now.
    pub(super) fn is_awaiting(&self, key: SubKey) -> bool {
        let Some(sub) = self.subs.get(key).filter(|sub| matches!(sub.progress, Progress::Awaiting)) else {
            return false;
        };
        if let Place::Topic { topic, .. } = sub.place
            && let Some(topic) = self.topics.get(&topic)
        {
            self.context.behind.add(topic.state.name(), sub.client, sub.id);
        }
        true
    }
}
