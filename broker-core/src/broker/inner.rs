//! What all handles of one broker share.

use std::{
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    sync::{Semaphore, watch},
    task::JoinHandle,
};

use super::{
    TooManyFormats,
    agreement::Agreement,
    interest::{Janitor, PatternFlights},
    parking::Parking,
    registry::Registry,
    settle::Settler,
    uncarried::Uncarried,
};
use crate::{
    Limits,
    backend::{Backend, BackendState, Capabilities, NodeId, blocks::Reasons},
    calls::CallId,
    cluster::Cluster,
    fanout::{Find, Inbox, Left, Shard, ShardContext},
    hooks::Hooks,
    message::{Encoder, Format, MAX_FORMATS, MessageParts},
    outbox::{Budget, OutboxLimits, Shared},
    policy::Policies,
    presence::Presence,
    publish::{Echoes, PublishError},
    session::{ClientId, Heirs, clock::Clock, seat::Attendance},
    stats::Totals,
    table::Table,
    topic::{Address, TopicName},
};

/// How many sessions are looked for on all nodes at once.
const MAX_SEARCHES: usize = 64;

/// What all handles of one broker share.
pub(crate) struct Inner {
    pub(crate) node: NodeId,
    pub(crate) limits: Limits,
    pub(crate) ping: Duration,
    pub(crate) table: Arc<Table>,
    pub(crate) inboxes: Box<[Arc<Inbox>]>,
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) capabilities: Capabilities,
    pub(crate) policies: Policies,
    pub(crate) hooks: Hooks,
    pub(crate) totals: Arc<Totals>,
    pub(crate) budget: Arc<Budget>,
    pub(crate) registry: Arc<Registry>,
    /// Sessions without a connection.
    pub(crate) parking: Parking,
    /// How many sessions are looked for on all nodes at once.
    pub(crate) searches: Semaphore,
    pub(crate) heirs: Heirs,
    /// A message to an address has come, or may have.
    pub(crate) is_addressed: AtomicBool,
    /// What of sessions has its time.
    pub(crate) clock: Arc<Clock>,
    /// Who is there.
    pub(crate) presence: Arc<Presence>,
    /// Who hears of subscriptions by name, where somebody does.
    pub(crate) attendance: OnceLock<Arc<dyn Attendance>>,
    pub(crate) subscriptions: Arc<AtomicUsize>,
    pub(crate) backend_state: watch::Sender<BackendState>,
    /// Why the backend failed lately.
    pub(super) reasons: Mutex<Reasons>,
    /// Acknowledgements of the backend that somebody waits for.
    pub(crate) awaited: Arc<AtomicUsize>,
    /// Publishes that the backend has not acknowledged.
    pub(crate) in_flight: Arc<AtomicUsize>,
    pub(crate) draining: watch::Sender<bool>,
    pub(crate) janitor: Arc<Janitor>,
    pub(super) settler: Arc<Settler>,
    pub(crate) uncarried: Uncarried,
    pub(crate) echoes: Arc<Echoes>,
    pub(super) agreement: Agreement,
    pub(crate) cluster: Cluster,
    pub(crate) runtime: tokio::runtime::Handle,
    pub(super) pattern_flights: PatternFlights,
    formats: Mutex<Vec<Format>>,
    next_shard: AtomicUsize,
    pub(super) tasks: Mutex<Vec<JoinHandle<()>>>,
    shards: Mutex<Vec<JoinHandle<()>>>,
    /// The backend was told to end.
    pub(super) is_stopped: AtomicBool,
    /// The number of the server's last call.
    last_call: AtomicU64,
    this: Weak<Self>,
}

/// How often this node says that it is there.
#[derive(Clone, Copy)]
pub(super) struct Pace {
    /// To clients.
    pub(super) ping: Duration,
    /// To other nodes.
    pub(super) heartbeat: Duration,
}

impl Inner {
    pub(super) fn new(
        policies: Policies,
        backend: Arc<dyn Backend>,
        limits: Limits,
        table: Table,
        hooks: Hooks,
        shards: usize,
        pace: Pace,
    ) -> Arc<Self> {
        let (messages, bytes) = (limits.inbox_messages, limits.inbox_bytes);
        let inbox = || Arc::new(Inbox::new(messages, bytes));
        let (configs, default) = table.configs();
        let agreement = Agreement::new(configs, default);
        let keeps_presence = table.keeps_presence();
        let node = NodeId::random();
        let capabilities = backend.capabilities();
        let inner = Arc::new_cyclic(|this: &Weak<Self>| Self {
            node,
            ping: pace.ping,
            table: Arc::new(table),
            inboxes: (0..shards).map(|_| inbox()).collect(),
            capabilities,
            backend,
            policies,
            hooks,
            totals: Arc::default(),
            budget: Arc::new(Budget::new(limits.total_queue_bytes)),
            registry: Arc::new(Registry::new(&limits)),
            parking: Parking::new(&limits),
            searches: Semaphore::new(MAX_SEARCHES),
            heirs: Heirs::default(),
            is_addressed: AtomicBool::new(false),
            clock: Arc::default(),
            presence: Presence::new(this.clone(), node, capabilities.inline, keeps_presence),
            attendance: OnceLock::new(),
            subscriptions: Arc::default(),
            backend_state: watch::Sender::new(BackendState::Down),
            reasons: Mutex::default(),
            awaited: Arc::default(),
            in_flight: Arc::default(),
            draining: watch::Sender::new(false),
            janitor: Arc::default(),
            settler: Arc::default(),
            uncarried: Uncarried::default(),
            echoes: Arc::default(),
            agreement,
            cluster: Cluster::new(node, pace.heartbeat, capabilities.inline),
            runtime: tokio::runtime::Handle::current(),
            pattern_flights: PatternFlights::default(),
            formats: Mutex::default(),
            next_shard: AtomicUsize::new(0),
            tasks: Mutex::default(),
            shards: Mutex::default(),
            is_stopped: AtomicBool::new(false),
            last_call: AtomicU64::new(0),
            this: this.clone(),
            limits,
        });
        for shard in 0..shards {
            // Whoever is connected there.
            inner.table.direct.sequencer().add_subscriber(shard);
        }
        inner.spawn_shards();
        let janitor = tokio::spawn(Janitor::run(inner.janitor.clone(), Arc::downgrade(&inner)));
        let settler = tokio::spawn(inner.settler.clone().run(Arc::downgrade(&inner)));
        let clock = tokio::spawn(inner.clock.clone().run(Arc::downgrade(&inner)));
        inner.tasks.lock().extend([janitor, settler, clock]);
        inner.cluster.serve();
        crate::calls::register(&inner.cluster);
        inner.serve_presence();
        inner.hand_sessions_over();
        inner.tasks.lock().extend(Cluster::tasks(&inner, &inner.backend));
        inner
    }

    /// Members and watchers are only where some topic keeps presence.
    fn serve_presence(self: &Arc<Self>) {
        self.presence.register(&self.cluster);
        if self.presence.is_kept() {
            // Nobody else is told.
            let _ = self.attendance.set(self.presence.clone());
            self.tasks.lock().push(tokio::spawn(Presence::run(self.weak())));
        }
    }

    fn spawn_shards(&self) {
        let shards = self.shard_contexts().map(|context| tokio::spawn(Shard::new(context).run()));
        self.shards.lock().extend(shards);
    }

    /// What each shard works with.
    pub(crate) fn shard_contexts(&self) -> impl Iterator<Item = ShardContext> {
        self.inboxes.iter().enumerate().map(|(index, inbox)| ShardContext {
            index,
            inbox: inbox.clone(),
            table: self.table.clone(),
            totals: self.totals.clone(),
            left: self.left(),
            subscriptions: self.subscriptions.clone(),
            page_messages: self.limits.queue_messages,
            dense_offsets: self.capabilities.dense_offsets,
            find: self.find(),
            behind: self.presence.behind.clone(),
        })
    }

    /// Who an address stands for.
    fn find(&self) -> Box<Find> {
        let registry = self.registry.clone();
        Box::new(move |address, shard| registry.receivers(address, shard))
    }

    fn left(&self) -> Box<dyn Fn(Left) + Send + Sync> {
        let janitor = self.janitor.clone();
        Box::new(move |left| janitor.left(left))
    }

    pub(crate) fn weak(&self) -> Weak<Self> {
        self.this.clone()
    }

    pub(super) fn register(&self, encoder: Arc<dyn Encoder>) -> Result<Format, TooManyFormats> {
        let mut formats = self.formats.lock();
        if formats.len() >= MAX_FORMATS {
            return Err(TooManyFormats);
        }
        let format = Format { index: formats.len() as u8, encoder };
        formats.push(format.clone());
        Ok(format)
    }

    /// The shard of the next subscriber.
    pub(crate) fn next_shard(&self) -> usize {
        self.next_shard.fetch_add(1, Ordering::Relaxed) % self.inboxes.len()
    }

    /// The name of the next call of the server.
    pub(crate) fn next_call(&self) -> CallId {
        CallId::new(self.last_call.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// What an outbox on a shard shares with the broker.
    pub(crate) fn outbox(&self, client: ClientId, shard: usize, format: Option<Format>) -> Shared {
        Shared {
            name: Shared::name_of(client),
            format,
            limits: OutboxLimits {
                queue_bytes: self.limits.queue_bytes,
                control_bytes: u32::try_from(self.limits.control_bytes).unwrap_or(u32::MAX),
                direct_messages: u32::try_from(self.limits.queue_messages).unwrap_or(u32::MAX),
            },
            budget: self.budget.clone(),
            totals: self.totals.clone(),
            inbox: self.inboxes[shard].clone(),
        }
    }

    /// Whether a message is within the limits and fits its topics.
    pub(crate) fn check(&self, parts: &MessageParts, also: &[TopicName]) -> Result<(), PublishError> {
        if self.is_draining() {
            return Err(PublishError::Draining);
        }
        let labels = [("event", &parts.event), ("key", &parts.key), ("message_id", &parts.message_id)];
        for (field, label) in labels {
            if let Some(label) = label
                && label.len() > self.limits.max_label
            {
                return Err(PublishError::TooLarge {
                    field,
                    limit: self.limits.max_label,
                    value: label.len(),
                });
            }
            if let Some(label) = label
                && (label.contains(char::is_control) || (field == "event" && label.starts_with('$')))
            {
                return Err(PublishError::InvalidLabel { field });
            }
        }
        let topics = 1 + also.len();
        if topics > self.limits.topics_per_publish {
            return Err(PublishError::TooManyTopics { limit: self.limits.topics_per_publish, value: topics });
        }
        for topic in std::iter::once(&parts.topic).chain(also) {
            let config = self.table.config(topic);
            let limit = config.message_limit().unwrap_or(usize::MAX).min(self.limits.max_message);
            if parts.payload.len() > limit {
                return Err(PublishError::TooLarge { field: "data", limit, value: parts.payload.len() });
            }
            let is_address = Address::of(topic).is_some();
            if !is_address && topic.is_system() && Address::is_reserved(topic) {
                let reason = "no such address: there are `$client.ID`, `$user.NAME` and `$all`";
                let field = if topics > 1 { "topics" } else { "topic" };
                return Err(PublishError::Unsupported { field, reason });
            }
            let is_logged = config.is_logged() && !is_address;
            if is_logged && topics > 1 {
                let reason = "a message to several topics cannot be ordered in their logs: publish to each";
                return Err(PublishError::Unsupported { field: "topics", reason });
            }
            if !is_logged && parts.message_id.is_some() {
                let reason = if is_address {
                    "what is sent to an address is not kept, and no message_id remembered: publish without one"
                } else {
                    "an ephemeral topic remembers no message_id: configure a history"
                };
                return Err(PublishError::Unsupported { field: "message_id", reason });
            }
        }
        Ok(())
    }

    pub(crate) fn take_shards(&self) -> Vec<JoinHandle<()>> {
        std::mem::take(&mut self.shards.lock())
    }

    pub(super) fn stop_tasks(&self) {
        for task in self.tasks.lock().drain(..) {
            task.abort();
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // The shards serve what waits, and end.
        for inbox in &self.inboxes {
            inbox.close();
        }
        self.stop_tasks();
        self.abandon_backend();
    }
}
