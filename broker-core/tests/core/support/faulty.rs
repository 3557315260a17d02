//! A node of a hub whose calls fail or hang, as a test says.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use fanfare_core::{
    backend::{
        Accepted, Arrivals, Backend, BackendError, BackendErrorKind, BackendState, Capabilities,
        HistoryQuery, Incoming, Ingress, Interest, NodeId, Outgoing, Page,
        memory::{HubNode, MemoryHub},
    },
    message::Position,
    topic::TopicName,
};
use futures_util::{FutureExt, future::BoxFuture};
use tokio::time::Instant;

/// A node of a hub whose calls fail or hang, as a test says.
#[derive(Debug)]
pub(crate) struct Faulty {
    pub(crate) hub: HubNode,
    faults: Mutex<HashMap<&'static str, Fault>>,
    calls: Mutex<HashMap<&'static str, usize>>,
    ingress: Mutex<Option<Ingress>>,
    /// Calls that are at work now, and the most that ever were.
    busy: Arc<Mutex<(usize, usize)>>,
    heard: Arc<Mutex<Hearing>>,
}

#[derive(Clone, Copy, Debug)]
enum Fault {
    Fail(usize, BackendErrorKind),
    Hang,
    Take(Duration),
}

#[derive(Debug, Default)]
struct Hearing {
    is_deaf: bool,
}

impl Faulty {
    pub(crate) fn of(hub: &MemoryHub) -> Arc<Self> {
        Arc::new(Self {
            hub: hub.node(),
            faults: Mutex::default(),
            calls: Mutex::default(),
            ingress: Mutex::default(),
            busy: Arc::default(),
            heard: Arc::default(),
        })
    }

    /// The next so many calls fail, although the backend stays up.
    pub(crate) fn fail(&self, call: &'static str, times: usize) {
        self.fail_as(call, times, BackendErrorKind::Unavailable);
    }

    pub(crate) fn fail_as(&self, call: &'static str, times: usize, kind: BackendErrorKind) {
        self.faults.lock().unwrap().insert(call, Fault::Fail(times, kind));
    }

    /// Calls do nothing and never return.
    pub(crate) fn hang(&self, call: &'static str) {
        self.faults.lock().unwrap().insert(call, Fault::Hang);
    }

    /// Calls take a moment.
    pub(crate) fn slow(&self, call: &'static str) {
        self.slow_by(call, Duration::from_millis(1));
    }

    /// Calls take so long.
    pub(crate) fn slow_by(&self, call: &'static str, time: Duration) {
        self.faults.lock().unwrap().insert(call, Fault::Take(time));
    }

    pub(crate) fn heal(&self) {
        self.faults.lock().unwrap().clear();
    }

    /// Nothing that other nodes publish arrives.
    pub(crate) fn deafen(&self, is_deaf: bool) {
        self.heard.lock().unwrap().is_deaf = is_deaf;
    }

    /// How many calls there were since the last time.
    pub(crate) fn calls(&self, call: &'static str) -> usize {
        self.calls.lock().unwrap().remove(call).unwrap_or(0)
    }

    /// How many calls were at work at once, at most.
    pub(crate) fn most_at_once(&self) -> usize {
        self.busy.lock().unwrap().1
    }

    pub(crate) fn ingress(&self) -> Ingress {
        self.ingress.lock().unwrap().clone().unwrap()
    }

    fn pass(&self, call: &'static str) -> BoxFuture<'static, Result<(), BackendError>> {
        *self.calls.lock().unwrap().entry(call).or_default() += 1;
        let mut faults = self.faults.lock().unwrap();
        match faults.get_mut(call) {
            Some(Fault::Hang) => std::future::pending().boxed(),
            Some(Fault::Take(time)) => {
                let (at_work, time) = (AtWork::begin(&self.busy), *time);
                async move {
                    tokio::time::sleep(time).await;
                    drop(at_work);
                    Ok(())
                }
                .boxed()
            }
            Some(Fault::Fail(times, kind)) if *times > 0 => {
                *times -= 1;
                std::future::ready(Err(BackendError::new(*kind, call, "it is to fail"))).boxed()
            }
            _ => std::future::ready(Ok(())).boxed(),
        }
    }
}

/// What every node wants from the beginning is none of the interests that most tests are about.
fn subscribes(interest: &Interest) -> &'static str {
    match interest {
        Interest::Topic { name, .. } if name.as_str() == "$nodes" => "subscribe to nodes",
        _ => "subscribe",
    }
}

struct AtWork(Arc<Mutex<(usize, usize)>>);

impl AtWork {
    fn begin(busy: &Arc<Mutex<(usize, usize)>>) -> Self {
        let mut held = busy.lock().unwrap();
        held.0 += 1;
        held.1 = held.1.max(held.0);
        Self(busy.clone())
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        self.0.lock().unwrap().0 -= 1;
    }
}

/// Stands between the hub and the broker.
struct Ear {
    ingress: Ingress,
    heard: Arc<Mutex<Hearing>>,
}

#[async_trait]
impl Arrivals for Ear {
    async fn deliver(&self, incoming: Incoming) {
        if !self.heard.lock().unwrap().is_deaf {
            self.ingress.deliver(incoming).await;
        }
    }

    fn lost(&self, topic: Option<&TopicName>) {
        self.ingress.lost(topic);
    }

    fn control(&self, from: NodeId, frame: Bytes) {
        self.ingress.control(from, frame);
    }

    fn state(&self, state: BackendState) {
        self.ingress.state(state);
    }
}

#[async_trait]
impl Backend for Faulty {
    fn capabilities(&self) -> Capabilities {
        self.hub.capabilities()
    }

    async fn start(&self, ingress: Ingress) -> Result<(), BackendError> {
        self.pass("start").await?;
        *self.ingress.lock().unwrap() = Some(ingress.clone());
        let ear = Ear { ingress: ingress.clone(), heard: self.heard.clone() };
        self.hub.start(Ingress::to(ingress.node(), Arc::new(ear))).await
    }

    fn publish(&self, message: Outgoing) -> BoxFuture<'static, Result<Accepted, BackendError>> {
        let passed = self.pass("publish");
        match passed.now_or_never() {
            Some(Ok(())) => self.hub.publish(message),
            Some(Err(error)) => std::future::ready(Err(error)).boxed(),
            None => std::future::pending().boxed(),
        }
    }

    async fn subscribe(&self, interest: &Interest) -> Result<Option<Position>, BackendError> {
        self.pass(subscribes(interest)).await?;
        self.hub.subscribe(interest).await
    }

    async fn unsubscribe(&self, interest: &Interest) -> Result<(), BackendError> {
        self.pass("unsubscribe").await?;
        self.hub.unsubscribe(interest).await
    }

    async fn history(&self, topic: &TopicName, query: HistoryQuery) -> Result<Page, BackendError> {
        self.pass("history").await?;
        self.hub.history(topic, query).await
    }

    fn control(&self, to: Option<NodeId>, frame: Bytes) -> BoxFuture<'static, Result<(), BackendError>> {
        match self.pass("control").now_or_never() {
            Some(Ok(())) => self.hub.control(to, frame),
            Some(Err(error)) => std::future::ready(Err(error)).boxed(),
            None => std::future::pending().boxed(),
        }
    }

    async fn shutdown(&self, by: Instant) {
        let _ = self.pass("shutdown").await;
        self.hub.shutdown(by).await;
    }
}
