//! Backends that do as a test tells them.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use fanfare_core::{
    backend::{
        Accepted, Backend, BackendError, BackendErrorKind, BackendState, Capabilities, HistoryQuery,
        Incoming, Ingress, Interest, NodeId, Outgoing, Page,
    },
    message::{Epoch, LogPlace, Message, MessageParts, Position},
    topic::TopicName,
};
use futures_util::{FutureExt, future::BoxFuture};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

use super::name;

/// A backend that a test keeps a hand on.
#[derive(Debug)]
pub(crate) struct Handle<B>(pub(crate) Arc<B>);

#[async_trait]
impl<B: Backend> Backend for Handle<B> {
    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    async fn start(&self, ingress: Ingress) -> Result<(), BackendError> {
        self.0.start(ingress).await
    }

    fn publish(&self, message: Outgoing) -> BoxFuture<'static, Result<Accepted, BackendError>> {
        self.0.publish(message)
    }

    async fn subscribe(&self, interest: &Interest) -> Result<Option<Position>, BackendError> {
        self.0.subscribe(interest).await
    }

    async fn unsubscribe(&self, interest: &Interest) -> Result<(), BackendError> {
        self.0.unsubscribe(interest).await
    }

    async fn history(&self, topic: &TopicName, query: HistoryQuery) -> Result<Page, BackendError> {
        self.0.history(topic, query).await
    }

    fn control(&self, to: Option<NodeId>, frame: Bytes) -> BoxFuture<'static, Result<(), BackendError>> {
        self.0.control(to, frame)
    }

    async fn shutdown(&self, by: Instant) {
        self.0.shutdown(by).await;
    }
}

/// A backend elsewhere, with logs of its own. Each kind of call can be held up, and all of them can fail.
#[derive(Debug, Default)]
pub(crate) struct Remote {
    ingress: Mutex<Option<Ingress>>,
    echo: Mutex<Option<mpsc::Sender<Incoming>>>,
    logs: Mutex<HashMap<TopicName, FakeLog>>,
    calls: Mutex<Vec<String>>,
    down: AtomicBool,
    pub(crate) starts: Gate,
    pub(crate) acks: Gate,
    pub(crate) subscribes: Gate,
    pub(crate) reads: Gate,
}

#[derive(Debug)]
struct FakeLog {
    epoch: Epoch,
    last: u64,
    messages: Vec<Arc<Message>>,
}

/// Holds up who passes while it is shut.
#[derive(Debug)]
pub(crate) struct Gate(watch::Sender<(bool, usize)>);

impl Default for Gate {
    fn default() -> Self {
        Self(watch::Sender::new((true, 0)))
    }
}

impl Gate {
    pub(crate) fn shut(&self) {
        self.0.send_modify(|(is_open, _)| *is_open = false);
    }

    pub(crate) fn open(&self) {
        self.0.send_modify(|(is_open, _)| *is_open = true);
    }

    /// Lets those pass who wait now, and nobody who comes later.
    pub(crate) fn let_through(&self) {
        self.0.send_modify(|(_, times)| *times += 1);
    }

    fn pass(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut gate = self.0.subscribe();
        let before = gate.borrow().1;
        async move {
            let _ = gate.wait_for(|(is_open, times)| *is_open || *times > before).await;
        }
    }
}

impl Remote {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Cannot be reached.
    pub(crate) fn go_down(&self) {
        self.down.store(true, Ordering::SeqCst);
        self.ingress().state(BackendState::Down);
    }

    /// Can be reached again.
    pub(crate) fn come_up(&self) {
        self.down.store(false, Ordering::SeqCst);
        self.ingress().state(BackendState::Up);
    }

    pub(crate) fn ingress(&self) -> Ingress {
        self.ingress.lock().unwrap().clone().unwrap()
    }

    /// What has been called since the last time.
    pub(crate) fn calls(&self) -> Vec<String> {
        std::mem::take(&mut self.calls.lock().unwrap())
    }

    /// Stores a message of another node, without giving it to this one.
    pub(crate) fn store(&self, topic: &str, payload: &str) -> Incoming {
        self.append(MessageParts::new(name(topic), payload))
    }

    /// The same with a message that was published a while ago.
    pub(crate) fn store_aged(&self, topic: &str, payload: &str, age: Duration) {
        let mut parts = MessageParts::new(name(topic), payload);
        parts.time_ms -= age.as_millis() as u64;
        self.append(parts);
    }

    /// Loses what a log holds up to an offset.
    pub(crate) fn evict(&self, topic: &str, through: u64) {
        let mut logs = self.logs.lock().unwrap();
        let log = logs.entry(name(topic)).or_default();
        log.messages.retain(|message| message.position().unwrap().offset > through);
    }

    /// Loses a log: the next one has another epoch.
    pub(crate) fn lose(&self, topic: &str) {
        self.logs.lock().unwrap().remove(&name(topic));
    }

    fn append(&self, parts: MessageParts) -> Incoming {
        let mut logs = self.logs.lock().unwrap();
        let log = logs.entry(parts.topic.clone()).or_default();
        let place = LogPlace { position: Position::new(log.epoch, log.last + 1), prev: log.last };
        log.last += 1;
        log.messages.push(Arc::new(Message::logged(parts.clone(), place)));
        Incoming::logged(parts, place)
    }

    fn note(&self, call: String) -> Result<(), BackendError> {
        self.calls.lock().unwrap().push(call);
        self.check()
    }

    fn check(&self) -> Result<(), BackendError> {
        if self.down.load(Ordering::SeqCst) || self.ingress.lock().unwrap().is_none() {
            return Err(BackendError::new(BackendErrorKind::Unavailable, "test", "it is down"));
        }
        Ok(())
    }

    fn read(&self, topic: &TopicName, query: HistoryQuery) -> Page {
        let mut logs = self.logs.lock().unwrap();
        let log = logs.entry(topic.clone()).or_default();
        let offset = |message: &Arc<Message>| message.position().unwrap().offset;
        let floor = log.messages.first().map_or(log.last, |first| first.place().unwrap().prev);
        let all = log.messages.iter().cloned();
        let (messages, more): (Vec<_>, bool) = match query {
            HistoryQuery::After { offset: after, limit } => {
                let found: Vec<_> = all.filter(|m| offset(m) > after).collect();
                let more = found.len() > limit;
                (found.into_iter().take(limit).collect(), more)
            }
            HistoryQuery::Before { offset: before, limit } => {
                let mut found: Vec<_> = all.filter(|m| before.is_none_or(|b| offset(m) < b)).collect();
                let skipped = found.len().saturating_sub(limit);
                (found.drain(skipped..).collect(), skipped > 0)
            }
            _ => (Vec::new(), false),
        };
        Page::new(log.epoch, floor, log.last, messages, more)
    }
}

impl Default for FakeLog {
    fn default() -> Self {
        Self { epoch: Epoch::random(), last: 0, messages: Vec::new() }
    }
}

fn said(interest: &Interest) -> String {
    match interest {
        Interest::Topic { name, .. } => name.to_string(),
        Interest::Pattern(pattern) => pattern.to_string(),
        other => format!("{other:?}"),
    }
}

#[async_trait]
impl Backend for Remote {
    fn capabilities(&self) -> Capabilities {
        Capabilities::default().dense_offsets(true)
    }

    async fn start(&self, ingress: Ingress) -> Result<(), BackendError> {
        self.starts.pass().await;
        let (echo, mut echoes) = mpsc::channel(1024);
        *self.ingress.lock().unwrap() = Some(ingress.clone());
        *self.echo.lock().unwrap() = Some(echo);
        tokio::spawn(async move {
            while let Some(incoming) = echoes.recv().await {
                ingress.deliver(incoming).await;
            }
        });
        Ok(())
    }

    fn publish(&self, message: Outgoing) -> BoxFuture<'static, Result<Accepted, BackendError>> {
        let payload = message.message.payload.as_str().unwrap_or_default();
        if let Err(error) = self.note(format!("publish {} {payload}", message.message.topic)) {
            return std::future::ready(Err(error)).boxed();
        }
        let (accepted, incoming) = match message.retention {
            None => {
                let incoming = Incoming::ephemeral(message.message, message.origin).with_also(message.also);
                (Accepted::ephemeral(), incoming)
            }
            Some(_) => {
                let incoming = self.append(message.message).from_origin(message.origin);
                (Accepted::at(incoming.log.unwrap().position), incoming)
            }
        };
        self.echo.lock().unwrap().as_ref().unwrap().try_send(incoming).unwrap();
        let acknowledged = self.acks.pass();
        async move {
            acknowledged.await;
            Ok(accepted)
        }
        .boxed()
    }

    async fn subscribe(&self, interest: &Interest) -> Result<Option<Position>, BackendError> {
        if said(interest) == "$nodes" {
            // Every node wants it from the beginning: it is none of the interests that tests are about.
            return self.check().map(|()| None);
        }
        self.note(format!("subscribe {}", said(interest)))?;
        let top = match interest {
            Interest::Topic { name, retention: Some(_) } => {
                let mut logs = self.logs.lock().unwrap();
                let log = logs.entry(name.clone()).or_default();
                Some(Position::new(log.epoch, log.last))
            }
            _ => None,
        };
        // What comes while the answer is on its way is not in it.
        self.subscribes.pass().await;
        Ok(top)
    }

    async fn unsubscribe(&self, interest: &Interest) -> Result<(), BackendError> {
        self.note(format!("unsubscribe {}", said(interest)))
    }

    async fn history(&self, topic: &TopicName, query: HistoryQuery) -> Result<Page, BackendError> {
        self.note(format!("history {topic}"))?;
        // What comes while the answer is on its way is not in it.
        let page = self.read(topic, query);
        self.reads.pass().await;
        Ok(page)
    }

    fn control(&self, _: Option<NodeId>, frame: Bytes) -> BoxFuture<'static, Result<(), BackendError>> {
        // With what is not about losses nodes compare how they are configured, and say that they are there.
        let is_of_losses = matches!(frame.get(1), Some(1 | 2));
        let noted = if is_of_losses { self.note("control".to_owned()) } else { Ok(()) };
        std::future::ready(noted).boxed()
    }

    async fn shutdown(&self, _: Instant) {
        let _ = self.note("shutdown".to_owned());
        *self.echo.lock().unwrap() = None;
    }
}
