//! A node of a hub that is wrong in one respect.

mod calls;

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

use fanfare_core::{
    backend::{
        Accepted, Backend, BackendError, BackendErrorKind, HistoryQuery, Ingress, Interest, Outgoing, Page,
        memory::HubNode,
    },
    message::{Epoch, Position},
    topic::{TopicName, TopicPattern},
};
use futures_util::{FutureExt, future::BoxFuture};
use parking_lot::Mutex;
use tokio::time::sleep;

use crate::{fault::Fault, harness::Connections};

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
