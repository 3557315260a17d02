//! Who watches on this node, and how a watcher begins.
//!
//! Events take the way of all messages: a topic of this node alone, `$presence.` and the watched topic's name, whose messages
//! its shards fan out. A watcher begins with a snapshot that its shard hands over, and gets the events with higher numbers; one that
//! has not read for so long that its queue is full loses what is in it, and begins with a snapshot again when it reads on.

use std::{collections::HashMap, sync::Arc};

use super::{
    PresenceConfig, PresenceEvent,
    event::write,
    service::{Presence, State},
};
use crate::{
    broker::Inner,
    fanout::{Cost, Event, Inbox, Insert, Item, Op, Target, bits},
    message::{Message, Payload, PayloadKind, now_ms},
    outbox::{Outbox, Subject},
    session::{
        ClientId,
        seat::{Attendance, Leaving, Seat, Subscription},
    },
    subscriber::SubscriptionId,
    table::{Table, TopicState},
    topic::{OverflowPolicy, TopicName},
};

use super::room::Info;

/// The watchers of one topic.
pub(super) struct Watched {
    topic: Arc<TopicState>,
    clients: HashMap<ClientId, Watcher>,
    /// They get a snapshot when all nodes have said who is there.
    waiting: Vec<(ClientId, SubscriptionId)>,
    /// The last one, for all that begin before the next event.
    snapshot: Option<Arc<Message>>,
}

/// One watcher.
#[derive(Clone, Copy)]
struct Watcher {
    shard: usize,
    subscription: SubscriptionId,
}

impl Watched {
    pub(super) fn topic(&self) -> &TopicState {
        &self.topic
    }

    /// The shards that have watchers.
    pub(super) fn shards(&self, table: &Table) -> u64 {
        self.topic.sequencer().shards(self.topic.name(), &table.patterns)
    }

    pub(super) fn push(&self, inboxes: &[Arc<Inbox>], shards: u64, cost: Cost, message: &Arc<Message>) {
        for index in bits(shards) {
            let event = Event::Message { message: message.clone(), special: None };
            inboxes[index].push(Item { topic: self.topic.clone(), event, cost });
        }
    }
}

impl Presence {
    /// Adds a watcher: its shard takes it in now, and hands it a snapshot as soon as there is one.
    pub(super) fn add_watcher(
        &self,
        broker: &Inner,
        topic: &TopicName,
        config: PresenceConfig,
        outbox: &Outbox,
        shard: usize,
    ) {
        let client = outbox.client();
        self.change(broker, |state, now| {
            state.replica.watch(topic, config, now);
            let new = || Watched {
                topic: broker.table.private(TopicName::of_presence(topic)),
                clients: HashMap::new(),
                waiting: Vec::new(),
                snapshot: None,
            };
            let watched = state.watched.entry(topic.clone()).or_insert_with(new);
            let name = watched.topic.name().clone();
            let subject = Subject::Topic(name);
            let subscription = outbox.add(subject, OverflowPolicy::Resync, broker.limits.queue_messages);
            watched.topic.sequencer().add_subscriber(shard);
            let insert = Insert {
                subscriber: outbox.as_subscriber(),
                subscription,
                target: Target::Presence(watched.topic.clone()),
                reply: None,
                gap: None,
            };
            broker.inboxes[shard].send(Op::Insert(Box::new(insert)));
            let before = watched.clients.insert(client, Watcher { shard, subscription });
            watched.waiting.push((client, subscription));
            if let Some(before) = before {
                // It begins anew.
                Self::let_go(broker, client, before);
                state.replica.unwatch(topic, now);
            }
            self.serve_waiting(broker, state, topic);
        });
    }

    /// A client watches no more.
    pub(super) fn remove_watcher(&self, broker: &Inner, topic: &TopicName, client: ClientId) {
        self.change(broker, |state, now| {
            let Some(watched) = state.watched.get_mut(topic) else { return };
            let Some(watcher) = watched.clients.remove(&client) else { return };
            if watched.clients.is_empty() {
                state.watched.remove(topic);
            }
            state.replica.unwatch(topic, now);
            Self::let_go(broker, client, watcher);
        });
    }

    fn let_go(broker: &Inner, client: ClientId, watcher: Watcher) {
        let op = Op::Remove { client, subscription: watcher.subscription, reply: None };
        broker.inboxes[watcher.shard].send(op);
    }

    /// A watcher has lost events, and is to begin anew.
    pub(super) fn begin_anew(
        &self,
        broker: &Inner,
        state: &mut State,
        topic: &TopicName,
        client: ClientId,
        subscription: SubscriptionId,
    ) {
        if let Some(watched) = state.watched.get_mut(topic) {
            watched.waiting.push((client, subscription));
            self.serve_waiting(broker, state, topic);
        }
    }

    /// Hands a snapshot to those who wait for one, if all nodes have said who is there.
    pub(super) fn serve_waiting(&self, broker: &Inner, state: &mut State, topic: &TopicName) {
        let State { replica, watched, .. } = state;
        let Some(watched) = watched.get_mut(topic).filter(|watched| !watched.waiting.is_empty()) else {
            return;
        };
        let Some(number) = replica.number(topic) else { return };
        let is_current = |held: &Arc<Message>| held.position().is_some_and(|at| at.offset == number);
        let message = match watched.snapshot.take().filter(is_current) {
            Some(held) => held,
            None => {
                let Some(page) = replica.snapshot(topic) else { return };
                let event = write(&PresenceEvent::Snapshot(page));
                self.message(watched.topic.name(), number, number, event)
            }
        };
        for (client, subscription) in std::mem::take(&mut watched.waiting) {
            // Its shard passes over one that has been subscribed anew since.
            if let Some(watcher) = watched.clients.get(&client) {
                let message = message.clone();
                broker.inboxes[watcher.shard].send(Op::Present { client, subscription, message });
            }
        }
        watched.snapshot = Some(message);
    }

    /// What is said of a member: its user, and what the app has granted it to be shown with.
    fn info(&self, broker: &Inner, user: Option<&Arc<str>>, meta: Option<&Payload>) -> Option<Info> {
        let meta = meta.and_then(|meta| {
            let shown = shown(meta, broker.limits.presence_meta);
            if shown.is_none() {
                tracing::warn!(target: "fanfare::core", length = meta.len(), "what is granted to be shown of a member is not JSON, or over the limit");
            }
            shown
        });
        let user = user.cloned();
        if user.as_ref().is_some_and(|user| user.len() + broker.limits.presence_meta > super::wire::MAX_INFO)
        {
            tracing::warn!(target: "fanfare::core", "a user's name is too long for presence: it is not a member");
            return None;
        }
        Some(Info { user, meta })
    }
}

/// JSON of an allowed length, as text.
pub(super) fn shown(meta: &Payload, limit: usize) -> Option<Arc<str>> {
    let is_json = meta.kind() == PayloadKind::Json && meta.len() <= limit;
    is_json.then(|| meta.as_str().map(Arc::from)).flatten()
}

impl Attendance for Presence {
    fn joined(&self, seat: &Seat, user: Option<&Arc<str>>, topic: &TopicName, held: &Subscription) {
        let Some(config) = self.config(&seat.broker, topic) else { return };
        self.renewed(seat, user, topic, held);
        if held.watches {
            self.add_watcher(&seat.broker, topic, config, &seat.outbox, seat.shard);
        } else {
            self.remove_watcher(&seat.broker, topic, seat.client());
        }
    }

    fn renewed(&self, seat: &Seat, user: Option<&Arc<str>>, topic: &TopicName, held: &Subscription) {
        let broker = &*seat.broker;
        let Some(config) = self.config(broker, topic) else { return };
        let client = seat.client();
        let terms = held.terms.as_deref();
        let granted = terms.and_then(|terms| terms.presence.as_ref());
        let is_hidden = terms.is_some_and(|terms| terms.hidden);
        let info = self.info(broker, user, granted).filter(|_| !is_hidden);
        self.change(broker, |state, now| match info {
            Some(info) => state.replica.join(topic, config, client, info, now_ms(), now),
            None => state.replica.leave(topic, client, now),
        });
    }

    fn left(&self, client: ClientId, _: Option<&Arc<str>>, topic: &TopicName, how: Leaving) {
        let Some(broker) = self.broker.upgrade() else { return };
        if self.config(&broker, topic).is_none() {
            return;
        }
        self.remove_watcher(&broker, topic, client);
        self.change(&broker, |state, now| match how {
            Leaving::Left => state.replica.leave(topic, client, now),
            Leaving::Lost => state.replica.lose(topic, client, now),
        });
    }
}
