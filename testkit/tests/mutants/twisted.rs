//! A node of a hub that is wrong in one respect.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    future::{pending, ready},
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use fanfare_core::{
    backend::{
        Accepted, Backend, BackendError, BackendErrorKind, Capabilities, HistoryQuery, Ingress, Interest,
        NodeId, Outgoing, Page, memory::HubNode,
    },
    message::{Epoch, Position},
    topic::{TopicName, TopicPattern},
};
use futures_util::{FutureExt, future::BoxFuture};
use parking_lot::Mutex;
use tokio::time::{Instant, sleep};

use crate::{arrivals::Twist, fault::Fault, harness::Connections, pages};

/// What all nodes of a cluster share.
#[derive(Default)]
pub(crate) struct World {
    pub(crate) nodes: Mutex<Vec<Weak<Node>>>,
    pub(crate) connections: Connections,
    /// Positions of ids, for those who take no heed of users.
    ids: Mutex<HashMap<(TopicName, Arc<str>), Position>>,
    published: Mutex<HashSet<TopicName>>,
}

/// What a node knows of itself.
#[derive(Default)]
pub(crate) struct Inside {
    interests: Mutex<Vec<Interest>>,
    ever: Mutex<Vec<Interest>>,
    subscribes: Mutex<HashMap<TopicName, usize>>,
    known: Mutex<HashSet<TopicName>>,
    busy: Mutex<Vec<Interest>>,
    pages: Mutex<HashMap<TopicName, Page>>,
    down: AtomicBool,
    ended: AtomicBool,
    pub(crate) lock: tokio::sync::Mutex<()>,
}

impl Inside {
    pub(crate) fn wants(&self, topic: &TopicName) -> bool {
        self.interests
            .lock()
            .iter()
            .any(|interest| matches!(interest, Interest::Topic { name, .. } if name == topic))
    }

    /// Whether a topic was there when a pattern was wanted.
    pub(crate) fn knew(&self, topic: &TopicName) -> bool {
        self.known.lock().contains(topic)
    }

    pub(crate) fn subscribes(&self, topic: &TopicName) -> usize {
        self.subscribes.lock().get(topic).copied().unwrap_or_default()
    }
}

pub(crate) struct Node {
    hub: Arc<HubNode>,
    fault: Fault,
    world: Arc<World>,
    inside: Arc<Inside>,
    ingress: Mutex<Option<Ingress>>,
    published: AtomicU64,
    pending: Arc<AtomicU64>,
}

impl Node {
    pub(crate) fn new(hub: HubNode, fault: Fault, world: Arc<World>) -> Self {
        Self {
            hub: Arc::new(hub),
            fault,
            world,
            inside: Arc::default(),
            ingress: Mutex::default(),
            published: AtomicU64::new(0),
            pending: Arc::default(),
        }
    }

    pub(crate) fn set_connected(&self, connected: bool) {
        self.inside.down.store(!connected, Ordering::SeqCst);
        self.hub.set_connected(connected);
    }

    /// What is wanted is in force again; the hub has kept it.
    pub(crate) async fn renew(&self) {
        if self.fault == Fault::RenewsEverything {
            let ever = self.inside.ever.lock().clone();
            for interest in ever {
                let _ = self.hub.subscribe(&interest).await;
            }
        }
    }

    /// The hub forgets what this node wants; the node notices.
    pub(crate) async fn lose_interests(&self) {
        let interests = self.inside.interests.lock().clone();
        for interest in &interests {
            let _ = self.hub.unsubscribe(interest).await;
        }
        if self.fault != Fault::NeverRenews {
            for interest in &interests {
                let _ = self.hub.subscribe(interest).await;
            }
        }
        if let Some(ingress) = self.ingress().filter(|_| self.fault != Fault::RenewsSilently) {
            ingress.lost(None);
        }
    }

    /// Something arrives that is no message.
    pub(crate) fn garbage(&self, topic: &TopicName) {
        if let Some(ingress) = self.ingress().filter(|_| self.inside.wants(topic))
            && self.fault != Fault::IgnoresGarbage
        {
            ingress.lost(Some(topic));
        }
    }

    fn ingress(&self) -> Option<Ingress> {
        self.ingress.lock().clone()
    }

    fn is_down(&self) -> bool {
        self.inside.down.load(Ordering::SeqCst)
    }

    /// Waits for ever where the fault is to hang.
    async fn hang(&self) {
        if self.fault == Fault::HangsWhileDown && self.is_down() {
            pending::<()>().await;
        }
    }

    /// Hands over after a while.
    fn later(&self, message: Outgoing) -> BoxFuture<'static, Result<Accepted, BackendError>> {
        let (hub, inside, pending) = (self.hub.clone(), self.inside.clone(), self.pending.clone());
        pending.fetch_add(1, Ordering::SeqCst);
        let task = tokio::spawn(async move {
            sleep(Duration::from_millis(1)).await;
            pending.fetch_sub(1, Ordering::SeqCst);
            if inside.ended.load(Ordering::SeqCst) {
                return Err(unavailable("publish"));
            }
            hub.publish(message).await
        });
        async move { task.await.unwrap_or_else(|_| Err(unavailable("publish"))) }.boxed()
    }

    fn alter(&self, message: &mut Outgoing) {
        if self.fault == Fault::ForgetsIds {
            message.message.message_id = None;
        }
        if let Some(retention) = &mut message.retention {
            let history = &mut retention.history;
            match self.fault {
                Fault::KeepsTooMuch => {
                    (history.messages, history.bytes) = (2 * history.messages, 4 * history.bytes)
                }
                Fault::KeepsTooLong => history.ttl *= 10,
                Fault::KeepsTooShort => history.ttl /= 10,
                Fault::IdsForEver => history.idempotency_window *= 1000,
                _ => {}
            }
        }
    }

    fn publish_with_ids(&self, message: Outgoing) -> BoxFuture<'static, Result<Accepted, BackendError>> {
        let Some(id) = message.message.message_id.clone() else { return self.hub.publish(message) };
        let key = (message.message.topic.clone(), id);
        let mut ids = self.world.ids.lock();
        if let Some(first) = ids.get(&key) {
            return ready(Ok(Accepted::duplicate_of(*first))).boxed();
        }
        let accepted = self.hub.publish(message).now_or_never().unwrap();
        if let Ok(Accepted { position: Some(position), .. }) = &accepted {
            ids.insert(key, *position);
        }
        ready(accepted).boxed()
    }

    /// Says where it will be stored, before it is.
    fn acknowledge_early(&self, message: Outgoing) -> BoxFuture<'static, Result<Accepted, BackendError>> {
        let query = HistoryQuery::After { offset: 0, limit: 1 };
        let page = self.hub.history(&message.message.topic, query).now_or_never().unwrap();
        let offset = 1 + self.pending.load(Ordering::SeqCst);
        drop(self.later(message));
        ready(page.map(|page| Accepted::at(Position::new(page.epoch, page.last + offset)))).boxed()
    }

    async fn subscribe_twisted(&self, interest: &Interest) -> Result<Option<Position>, BackendError> {
        if self.fault == Fault::PoisonedByDrop {
            if self.inside.busy.lock().contains(interest) {
                return Ok(None);
            }
            self.inside.busy.lock().push(interest.clone());
            tokio::task::yield_now().await;
            self.inside.busy.lock().retain(|busy| busy != interest);
        }
        let asked = match interest {
            Interest::Pattern(pattern) => Interest::Pattern(self.twist_pattern(pattern)),
            topic => topic.clone(),
        };
        let is_logged = matches!(interest, Interest::Topic { retention: Some(_), .. });
        if self.fault == Fault::SubscribesLater && !is_logged {
            let hub = self.hub.clone();
            tokio::spawn(async move {
                sleep(Duration::from_millis(1)).await;
                hub.subscribe(&asked).await
            });
            return Ok(None);
        }
        let top = self.hub.subscribe(&asked).await?;
        Ok(top.map(|top| match self.fault {
            Fault::TopAhead => Position::new(top.epoch, top.offset + 1),
            Fault::TopMadeUp if top.offset == 0 => Position::new(Epoch::random(), 0),
            Fault::KeepsEpoch => same_epoch(top),
            _ => top,
        }))
    }

    fn twist_pattern(&self, pattern: &TopicPattern) -> TopicPattern {
        let text = pattern.as_str();
        let text = match self.fault {
            Fault::GreedyPatterns if text.ends_with('*') => format!("{}>", &text[..text.len() - 1]),
            Fault::GlobPatterns => text.replace("[x]", "x"),
            _ => text.to_owned(),
        };
        TopicPattern::new(text).unwrap()
    }

    fn note_interest(&self, interest: &Interest) -> bool {
        let was_there = self.inside.ever.lock().contains(interest);
        let mut interests = self.inside.interests.lock();
        interests.retain(|other| other != interest);
        interests.push(interest.clone());
        self.inside.ever.lock().push(interest.clone());
        match interest {
            Interest::Topic { name, .. } => {
                *self.inside.subscribes.lock().entry(name.clone()).or_default() += 1
            }
            _ => self.inside.known.lock().extend(self.world.published.lock().iter().cloned()),
        }
        was_there
    }
}

#[async_trait]
impl Backend for Node {
    fn capabilities(&self) -> Capabilities {
        self.hub.capabilities()
    }

    async fn start(&self, ingress: Ingress) -> Result<(), BackendError> {
        if self.fault == Fault::StartLeavesTask {
            tokio::spawn(pending::<()>());
            tokio::task::yield_now().await;
        }
        *self.ingress.lock() = Some(ingress.clone());
        let twist = Twist::new(self.fault, ingress.clone(), self.inside.clone());
        let to = Ingress::to(ingress.node(), Arc::new(twist));
        if self.fault == Fault::StartsLater {
            let hub = self.hub.clone();
            tokio::spawn(async move {
                sleep(Duration::from_millis(10)).await;
                hub.start(to).await
            });
            return Ok(());
        }
        self.world.connections.fetch_add(1, Ordering::SeqCst);
        self.hub.start(to).await?;
        if self.fault == Fault::DeliversUnwanted {
            self.hub.subscribe(&Interest::Pattern(TopicPattern::new(">").unwrap())).await?;
        }
        Ok(())
    }

    fn publish(&self, mut message: Outgoing) -> BoxFuture<'static, Result<Accepted, BackendError>> {
        self.alter(&mut message);
        self.world.published.lock().insert(message.message.topic.clone());
        let n = self.published.fetch_add(1, Ordering::SeqCst);
        let is_logged = message.retention.is_some();
        let hub = self.hub.clone();
        match self.fault {
            Fault::HangsWhileDown if self.is_down() => pending().boxed(),
            Fault::HandsOverWhenPolled => async move { hub.publish(message).await }.boxed(),
            Fault::OverfullIsRefused if n > 1000 => {
                ready(Err(BackendError::new(BackendErrorKind::Refused, "publish", "too much"))).boxed()
            }
            Fault::DropsAtShutdown => self.later(message),
            Fault::ReordersPublishes if n % 4 == 1 => self.later(message),
            Fault::AcknowledgesBeforeStoring if is_logged => self.acknowledge_early(message),
            Fault::IdsWithoutUsers => self.publish_with_ids(message),
            Fault::LiesAboutStoring if is_logged && n % 50 == 49 => {
                drop(hub.publish(message));
                ready(Err(unavailable("publish"))).boxed()
            }
            Fault::KeepsEpoch => {
                let accepted = hub.publish(message).now_or_never().unwrap();
                let same = |mut accepted: Accepted| {
                    accepted.position = accepted.position.map(same_epoch);
                    accepted
                };
                ready(accepted.map(same)).boxed()
            }
            _ => hub.publish(message),
        }
    }

    async fn subscribe(&self, interest: &Interest) -> Result<Option<Position>, BackendError> {
        self.hang().await;
        let was_there = self.note_interest(interest);
        if self.fault == Fault::SubscribesOnce && was_there {
            return Ok(None);
        }
        self.subscribe_twisted(interest).await
    }

    async fn unsubscribe(&self, interest: &Interest) -> Result<(), BackendError> {
        self.hang().await;
        let was_there = self.inside.interests.lock().contains(interest);
        self.inside.interests.lock().retain(|other| other != interest);
        if self.fault == Fault::UnsubscribeTwiceFails && !was_there {
            return Err(BackendError::new(BackendErrorKind::Refused, "unsubscribe", "nobody wants it"));
        }
        if let Interest::Topic { name, .. } = interest {
            self.inside.subscribes.lock().remove(name);
            if self.fault == Fault::ForgetsPatternsWithNames {
                let ever = self.inside.ever.lock().clone();
                let patterns =
                    ever.into_iter().filter(|i| matches!(i, Interest::Pattern(p) if p.matches(name)));
                for pattern in patterns {
                    self.hub.unsubscribe(&pattern).await?;
                }
            }
        }
        let asked = match interest {
            Interest::Pattern(pattern) => Interest::Pattern(self.twist_pattern(pattern)),
            topic => topic.clone(),
        };
        self.hub.unsubscribe(&asked).await
    }

    async fn history(&self, topic: &TopicName, query: HistoryQuery) -> Result<Page, BackendError> {
        self.hang().await;
        let _locked = match self.fault {
            Fault::LockedWhileDelivering => Some(self.inside.lock.lock().await),
            _ => None,
        };
        let query = match (self.fault, query) {
            (Fault::ReadsFromOffset, HistoryQuery::After { offset, limit }) => {
                HistoryQuery::After { offset: offset.saturating_sub(1), limit }
            }
            (Fault::ReadsToOffset, HistoryQuery::Before { offset: Some(offset), limit }) => {
                HistoryQuery::Before { offset: Some(offset + 1), limit }
            }
            (Fault::LatestOfTheHistory, HistoryQuery::Latest) => {
                let all = self.hub.history(topic, HistoryQuery::After { offset: 0, limit: 1000 }).await?;
                return Ok(pages::latest_of(all));
            }
            (_, query) => query,
        };
        let page = self.hub.history(topic, query).await?;
        if self.fault == Fault::StaleHistory {
            return Ok(self.inside.pages.lock().entry(topic.clone()).or_insert(page).clone());
        }
        pages::twist(self.fault, page, query)
    }

    fn control(&self, to: Option<NodeId>, frame: Bytes) -> BoxFuture<'static, Result<(), BackendError>> {
        match self.fault {
            Fault::HangsWhileDown if self.is_down() => pending().boxed(),
            Fault::ControlForAll => self.hub.control(None, frame),
            Fault::ControlEcho => {
                if let Some(ingress) = self.ingress() {
                    ingress.control(ingress.node(), frame.clone());
                }
                self.hub.control(to, frame)
            }
            _ => self.hub.control(to, frame),
        }
    }

    async fn shutdown(&self, by: Instant) {
        self.inside.ended.store(true, Ordering::SeqCst);
        match self.fault {
            Fault::NeverEnds => return,
            Fault::LeavesTask => drop(tokio::spawn(pending::<()>())),
            Fault::WaitsAtShutdown => {
                while self.is_down() {
                    sleep(Duration::from_secs(1)).await;
                }
            }
            Fault::ShutsEverybodyDown => {
                let nodes: Vec<_> = self.world.nodes.lock().iter().filter_map(Weak::upgrade).collect();
                for node in nodes {
                    node.hub.shutdown(by).await;
                }
            }
            _ => {}
        }
        if self.fault != Fault::LeavesConnection && self.ingress.lock().take().is_some() {
            self.world.connections.fetch_sub(1, Ordering::SeqCst);
        }
        self.hub.shutdown(by).await;
    }
}

/// The position in the only epoch that there is.
pub(crate) fn same_epoch(position: Position) -> Position {
    Position::new(Epoch::new(7), position.offset)
}

fn unavailable(operation: &'static str) -> BackendError {
    BackendError::new(BackendErrorKind::Unavailable, operation, "not now")
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("fault", &self.fault).finish_non_exhaustive()
    }
}

/// A backend that never starts.
pub(crate) struct Absence(Box<dyn Fn() -> BackendError + Send + Sync>);

impl Absence {
    pub(crate) fn new(error: impl Fn() -> BackendError + Send + Sync + 'static) -> Self {
        Self(Box::new(error))
    }
}

impl fmt::Debug for Absence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Absence")
    }
}

#[async_trait]
impl Backend for Absence {
    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    async fn start(&self, _: Ingress) -> Result<(), BackendError> {
        Err((self.0)())
    }

    fn publish(&self, _: Outgoing) -> BoxFuture<'static, Result<Accepted, BackendError>> {
        ready(Err((self.0)())).boxed()
    }

    async fn subscribe(&self, _: &Interest) -> Result<Option<Position>, BackendError> {
        Err((self.0)())
    }

    async fn unsubscribe(&self, _: &Interest) -> Result<(), BackendError> {
        Err((self.0)())
    }

    async fn history(&self, _: &TopicName, _: HistoryQuery) -> Result<Page, BackendError> {
        Err((self.0)())
    }

    fn control(&self, _: Option<NodeId>, _: Bytes) -> BoxFuture<'static, Result<(), BackendError>> {
        ready(Err((self.0)())).boxed()
    }

    async fn shutdown(&self, _: Instant) {}
}
