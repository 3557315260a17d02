//! The way from a backend to its core.

mod lanes;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Waker},
};

use bytes::Bytes;
use lanes::{Entry, Lanes};
use parking_lot::Mutex;
use tokio::{runtime::Handle, sync::watch, task::JoinSet};

use crate::{
    backend::{BackendState, Incoming, Ingress, NodeId},
    topic::TopicName,
};

/// The way from a backend to its core: what arrives is given to an [`Ingress`] as the contract has it.
///
/// - The messages of one topic are given one after the other, and those of other topics do not wait for them. A message to several
///   topics waits for all of them.
/// - No call waits, so that whoever receives goes on receiving. What the core takes slowly is kept: 4,096 messages of a topic, 65,536
///   messages or 64 MiB in all. What goes beyond is dropped, and told as lost at its place.
/// - Nothing is told before [`begin`](Self::begin): what a backend comes by while it starts is nothing to the core.
/// - Nothing from before an outage is given after it: [`state`](Self::state) drops what waits, also in a delivery that has begun.
///
/// What waits is given by tasks on the runtime that the inbox was made in, which end when there is nothing to give, and with the
/// inbox.
pub struct Inbox {
    shared: Arc<Shared>,
    tasks: Mutex<JoinSet<()>>,
    runtime: Handle,
}

struct Shared {
    ingress: Ingress,
    lanes: Mutex<Lanes>,
    /// How often everything was dropped.
    cleared: watch::Sender<u64>,
    /// What the core was told last; `None` while it is told nothing.
    told: Mutex<Option<BackendState>>,
}

type Delivery = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Inbox {
    /// An inbox without messages, which has not begun.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn new(ingress: Ingress) -> Self {
        let shared = Shared {
            ingress,
            lanes: Mutex::default(),
            cleared: watch::Sender::default(),
            told: Mutex::default(),
        };
        Self { shared: Arc::new(shared), tasks: Mutex::default(), runtime: Handle::current() }
    }

    /// The backend has started: what comes from now on is told, and the core takes it to be up.
    pub fn begin(&self) {
        *self.shared.told.lock() = Some(BackendState::Up);
        self.shared.lanes.lock().open();
    }

    /// The name of the node.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.shared.ingress.node()
    }

    /// Gives a message, after those of its topics that came before.
    pub fn deliver(&self, incoming: Incoming) {
        self.put(|lanes| {
            let (lane, is_new) = lanes.of(&incoming);
            lanes.push(lane, incoming);
            is_new.then_some(lane)
        });
    }

    /// As [`deliver`](Self::deliver), and quicker: a message that nothing is before is given at once, and waits only if the core has
    /// it wait. Not for use within a call of the core's, as [`Backend::publish`](crate::backend::Backend::publish): the core may
    /// hold the lock that it needs to take the message.
    pub fn deliver_now(&self, incoming: Incoming) {
        let (lane, cleared) = {
            let mut lanes = self.shared.lanes.lock();
            if !lanes.is_open() {
                return;
            }
            let (lane, is_new) = lanes.of(&incoming);
            if !is_new {
                return lanes.push(lane, incoming);
            }
            (lane, *self.shared.cleared.borrow())
        };
        let ingress = self.shared.ingress.clone();
        let mut delivery: Delivery = Box::pin(async move { ingress.deliver(incoming).await });
        // Most of the time the core takes it at once.
        let is_done = delivery.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready();
        if is_done && self.shared.lanes.lock().end(lane) {
            return;
        }
        self.spawn(lane, (!is_done).then_some((cleared, delivery)));
    }

    /// Says that messages of a topic, or of all topics, were lost, after those that came before.
    pub fn lost(&self, topic: Option<&TopicName>) {
        self.put(|lanes| lanes.lose(topic));
    }

    /// Gives a control frame, after those that came before.
    pub fn control(&self, from: NodeId, frame: Bytes) {
        self.put(|lanes| lanes.push_control(from, frame));
    }

    /// Says whether the backend works, unless this was the last that was said. What arrived before is given no more. Not for
    /// use within a call of the core's.
    pub fn state(&self, state: BackendState) {
        // Told under a lock, so that the core hears changes in their order.
        let mut told = self.shared.told.lock();
        if told.is_some_and(|told| told != state) {
            *told = Some(state);
            self.clear();
            self.shared.ingress.state(state);
        }
    }

    /// Drops what has arrived.
    fn clear(&self) {
        let mut lanes = self.shared.lanes.lock();
        lanes.clear();
        self.shared.cleared.send_modify(|cleared| *cleared += 1);
    }

    /// Ends the inbox: nothing is given any more when this has returned.
    pub async fn end(&self) {
        self.shared.lanes.lock().close();
        let mut tasks = std::mem::take(&mut *self.tasks.lock());
        tasks.shutdown().await;
    }

    /// Puts something in, and begins a lane that is new.
    fn put(&self, put: impl FnOnce(&mut Lanes) -> Option<u64>) {
        let new = {
            let mut lanes = self.shared.lanes.lock();
            if lanes.is_open() { put(&mut lanes) } else { None }
        };
        if let Some(lane) = new {
            self.spawn(lane, None);
        }
    }

    fn spawn(&self, lane: u64, first: Option<(u64, Delivery)>) {
        let mut tasks = self.tasks.lock();
        while tasks.try_join_next().is_some() {}
        if self.shared.lanes.lock().is_open() {
            tasks.spawn_on(self.shared.clone().run(lane, first), &self.runtime);
        }
    }
}

impl Shared {
    /// Gives what there is in a lane, until there is nothing.
    async fn run(self: Arc<Self>, lane: u64, first: Option<(u64, Delivery)>) {
        let mut now = self.cleared.subscribe();
        if let Some((cleared, first)) = first {
            unless_cleared(&mut now, cleared, first).await;
        }
        loop {
            let (entry, cleared) = {
                let mut lanes = self.lanes.lock();
                let entry = lanes.pop(lane);
                if entry.is_none() {
                    lanes.end(lane);
                }
                (entry, *self.cleared.borrow())
            };
            match entry {
                Some(Entry::Message(incoming)) => {
                    unless_cleared(&mut now, cleared, self.ingress.deliver(*incoming)).await;
                }
                Some(Entry::Lost(topic)) => self.ingress.lost(topic.as_ref()),
                Some(Entry::Control(from, frame)) => self.ingress.control(from, frame),
                Some(Entry::Joined(done)) => drop(done.await),
                None => return,
            }
        }
    }
}

/// Drops a delivery when everything is dropped that has arrived.
async fn unless_cleared(
    now: &mut watch::Receiver<u64>,
    cleared: u64,
    delivery: impl Future<Output = ()> + Send,
) {
    tokio::select! {
        biased;
        _ = now.wait_for(|now| *now != cleared) => {}
        () = delivery => {}
    }
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox").field("node", &self.node()).finish_non_exhaustive()
    }
}
