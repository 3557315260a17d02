//! The replica in the broker: its lock, its timers, its network, and the way to those who watch.
//!
//! One lock guards the replica and who watches on this node. Below it come a presence topic's own lock, outboxes and inboxes; above it
//! the seat of a session. What the replica says is posted and pushed under the lock, so in its order.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Weak},
};

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use tokio::{sync::Notify, time::Instant};

use super::{
    PresenceConfig, PresencePage,
    event::{watched_by, write},
    replica::{Effect, Replica},
    watchers::Watched,
};
use crate::{
    backend::NodeId,
    broker::Inner,
    cluster::{Cluster, NodeEvent, attachments, parcels},
    fanout::Reservation,
    message::{Epoch, LogPlace, Message, MessageParts, Payload, Position},
    session::ClientId,
    subscriber::SubscriptionId,
    topic::TopicName,
};

/// What the permits of one event are charged, bytes: most are smaller.
const EVENT_COST: usize = 4 << 10;

/// Presence on this node.
pub(crate) struct Presence {
    /// Some topic keeps presence; otherwise nothing here ever happens.
    is_kept: bool,
    pub(super) state: Mutex<State>,
    pub(crate) behind: Arc<Behind>,
    /// A topic has become ready.
    ready: Notify,
    epoch: Epoch,
    pub(super) broker: Weak<Inner>,
}

/// What the lock guards.
pub(super) struct State {
    pub(super) replica: Replica,
    pub(super) watched: HashMap<TopicName, Watched>,
    /// Topics whose watchers are to be told something.
    due: BTreeSet<TopicName>,
    /// When the task looks again by itself.
    wakes_at: Option<Instant>,
}

/// Watchers that have to begin anew, as their shards find out. A shard does not wait for more than a push to this list.
#[derive(Default)]
pub(crate) struct Behind {
    all: Mutex<Vec<(TopicName, ClientId, SubscriptionId)>>,
    notify: Notify,
}

impl Behind {
    /// A watcher of a presence topic has sent all it has, and is to get a snapshot.
    pub(crate) fn add(&self, topic: &TopicName, client: ClientId, subscription: SubscriptionId) {
        if let Some(topic) = watched_by(topic) {
            self.all.lock().push((topic, client, subscription));
            self.notify.notify_one();
        }
    }
}

impl Presence {
    pub(crate) fn new(broker: Weak<Inner>, node: NodeId, is_alone: bool, is_kept: bool) -> Arc<Self> {
        let state = State {
            replica: Replica::new(node, is_alone),
            watched: HashMap::new(),
            due: BTreeSet::new(),
            wakes_at: None,
        };
        Arc::new(Self {
            is_kept,
            state: Mutex::new(state),
            behind: Arc::default(),
            ready: Notify::new(),
            epoch: Epoch::random(),
            broker,
        })
    }

    pub(crate) fn is_kept(&self) -> bool {
        self.is_kept
    }

    /// Takes part in the cluster. Before the backend starts.
    pub(crate) fn register(&self, cluster: &Cluster) {
        // A node that keeps none answers, too: who asks all need not wait for it.
        cluster.on_parcel(parcels::PRESENCE, |broker, from, content| {
            broker.presence.change(broker, |state, now| {
                if state.replica.receive(from, content, now).is_err() {
                    tracing::debug!(target: "fanfare::core", %from, "an unknown frame of presence");
                }
            });
        });
        if !self.is_kept {
            return;
        }
        cluster.on_node(|broker, event| {
            broker.presence.change(broker, |state, now| match event {
                NodeEvent::Up(node) => state.replica.node_up(node, now),
                NodeEvent::Away(node) => state.replica.node_away(node, now),
            });
        });
        cluster.on_heartbeat(
            attachments::PRESENCE,
            |broker| {
                let sent = broker.presence.state.lock().replica.sent();
                Some(Bytes::copy_from_slice(&sent.to_be_bytes()))
            },
            |broker, from, content| {
                if let Some(number) = content.first_chunk().map(|number| u64::from_be_bytes(*number)) {
                    broker.presence.change(broker, |state, now| state.replica.heartbeat(from, number, now));
                }
            },
        );
        self.register_questions(cluster);
    }

    /// How presence behaves on a topic, if it is kept there.
    pub(crate) fn config(&self, broker: &Inner, topic: &TopicName) -> Option<PresenceConfig> {
        if !self.is_kept || topic.is_system() {
            return None;
        }
        broker.table.config(topic).presence_config()
    }

    /// Changes something, and does what comes of it.
    pub(super) fn change<R>(&self, broker: &Inner, change: impl FnOnce(&mut State, Instant) -> R) -> R {
        let now = Instant::now();
        let mut state = self.state.lock();
        let result = change(&mut state, now);
        self.settle(broker, &mut state, now);
        result
    }

    /// Does what the replica asks for.
    fn settle(&self, broker: &Inner, state: &mut MutexGuard<'_, State>, now: Instant) {
        let mut has_work = false;
        loop {
            let effects = state.replica.poll(now);
            if effects.is_empty() {
                break;
            }
            for effect in effects {
                match effect {
                    // What does not go out is missed by its number.
                    Effect::Send(to, frame) => {
                        if let Err(error) = broker.cluster.post(to, parcels::PRESENCE, frame) {
                            tracing::debug!(target: "fanfare::core", ?error, "a frame of presence is not sent");
                        }
                    }
                    Effect::Tell(topic) => {
                        state.due.insert(topic);
                        has_work = true;
                    }
                    Effect::Ready(topic) => {
                        self.serve_waiting(broker, state, &topic);
                        self.ready.notify_waiters();
                    }
                }
            }
        }
        let next = state.replica.next_wake();
        let is_earlier = next.is_some_and(|next| state.wakes_at.is_none_or(|at| next < at));
        if has_work || is_earlier {
            self.behind.notify.notify_one();
        }
    }

    /// Looks after timers and watchers, as long as the broker lives.
    pub(crate) async fn run(broker: Weak<Inner>) {
        let Some(behind) = broker.upgrade().map(|broker| broker.presence.behind.clone()) else { return };
        loop {
            let next = {
                let Some(broker) = broker.upgrade() else { return };
                broker.presence.look(&broker).await
            };
            match next {
                Some(at) => {
                    let _ = tokio::time::timeout_at(at, behind.notify.notified()).await;
                }
                None => behind.notify.notified().await,
            }
        }
    }

    /// Does what is due. Returns when to look again.
    async fn look(&self, broker: &Inner) -> Option<Instant> {
        loop {
            let due = {
                let now = Instant::now();
                let mut state = self.state.lock();
                self.settle(broker, &mut state, now);
                let behind = std::mem::take(&mut *self.behind.all.lock());
                for (topic, client, subscription) in behind {
                    self.begin_anew(broker, &mut state, &topic, client, subscription);
                }
                let due = std::mem::take(&mut state.due);
                if due.is_empty() {
                    state.wakes_at = state.replica.next_wake();
                    return state.wakes_at;
                }
                due
            };
            for topic in due {
                self.tell(broker, &topic).await;
            }
        }
    }

    /// Tells the watchers of a topic what comes next: a permit from each shard that has some, and then all in one step.
    async fn tell(&self, broker: &Inner, topic: &TopicName) {
        let mut permits = Reservation::none(&broker.inboxes, broker.inboxes[0].cost(EVENT_COST, 1));
        loop {
            let shards = {
                let now = Instant::now();
                let mut state = self.state.lock();
                let Some(watched) = state.watched.get(topic) else { return };
                let shards = watched.shards(&broker.table);
                if permits.try_extend(shards) {
                    if let Some((number, before, event)) = state.replica.take_event(topic, now)
                        && let Some(watched) = state.watched.get(topic)
                    {
                        let message = self.message(watched.topic().name(), number, before, write(&event));
                        let cost = permits.use_up(shards);
                        watched.push(&broker.inboxes, shards, cost, &message);
                    }
                    return self.settle(broker, &mut state, now);
                }
                shards
            };
            permits.extend(shards).await;
        }
    }

    /// An event as a message of this node.
    pub(super) fn message(&self, topic: &TopicName, number: u64, before: u64, event: Bytes) -> Arc<Message> {
        let parts = MessageParts::new(topic.clone(), Payload::binary(event));
        let place = LogPlace { position: Position::new(self.epoch, number), prev: before };
        Arc::new(Message::logged(parts, place))
    }

    /// A page of who is there, as soon as that is known.
    pub(crate) async fn page(
        &self,
        broker: &Inner,
        topic: &TopicName,
        config: PresenceConfig,
        after: Option<ClientId>,
        limit: usize,
    ) -> PresencePage {
        loop {
            let ready = self.ready.notified();
            let page = self.change(broker, |state, now| {
                let is_ready = state.replica.hold(topic, config, now);
                is_ready.then(|| state.replica.page(topic, after, limit)).flatten()
            });
            if let Some(page) = page {
                return page;
            }
            // The replica sees to it that this does not take long.
            ready.await;
        }
    }

    /// This node is about to stop: its clients come back elsewhere.
    pub(crate) fn goodbye(&self, broker: &Inner) {
        if self.is_kept {
            self.change(broker, |state, _| state.replica.goodbye());
        }
    }
}
