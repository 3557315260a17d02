//! The backend: what the core calls.

use std::{
    fmt,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use fanfare_core::{
    backend::{
        Accepted, Backend, BackendError, BackendErrorKind, BackendState, Capabilities, HistoryQuery, Ingress,
        Interest, NodeId, Outgoing, Page, envelope::Envelope,
    },
    message::Position,
    topic::TopicName,
};
use futures_util::{FutureExt, future::BoxFuture};
use parking_lot::Mutex;
use redis::Value;
use tokio::{
    sync::watch,
    time::{Instant, timeout, timeout_at},
};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

use crate::{
    error::Trouble,
    keep::{Health, Node, Peer, Role, change, lost, within},
    log::{self, After, Runs, Scripts},
    names::Names,
    receive::{Interests, Lanes, Pushed, frame},
    settings::{RedisBuilder, Settings},
    wire::{Confirm, Expect, Lost, Retry, Subscribing, command, value},
};

/// How long a start waits for the server before it says that there is none; the core tries again.
const START_WITHIN: Duration = Duration::from_secs(4);

/// How many last values are read at once.
const VALUES_AT_ONCE: usize = 256;

/// Carries messages between the nodes of a cluster over Redis, and keeps the logs of logged topics there.
///
/// See the [crate](crate)'s documentation for what Redis gives and what it costs.
pub struct RedisBackend {
    settings: Arc<Settings>,
    names: Arc<Names>,
    scripts: Arc<Scripts>,
    running: Mutex<Option<Arc<Running>>>,
    state: watch::Sender<BackendState>,
}

/// What lives from start to shutdown.
struct Running {
    node: Arc<Node>,
    peer: Arc<Peer>,
    tasks: TaskTracker,
    stop: CancellationToken,
    _guard: DropGuard,
}

impl RedisBackend {
    /// A backend for the server at a URL; see [the crate](crate#urls) for what URLs there are.
    ///
    /// What is wrong with the URL is said by [`RedisBuilder::build`].
    pub fn builder(url: impl AsRef<str>) -> RedisBuilder {
        RedisBuilder::new(url.as_ref())
    }

    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            names: Arc::new(Names::new(&settings.prefix, settings.db)),
            scripts: Arc::new(Scripts::new()),
            settings: Arc::new(settings),
            running: Mutex::default(),
            state: watch::Sender::new(BackendState::Down),
        }
    }

    fn running(&self, operation: &'static str) -> Result<Arc<Running>, BackendError> {
        self.running.lock().clone().ok_or_else(|| {
            BackendError::new(BackendErrorKind::Unavailable, operation, "the backend does not run")
        })
    }

    fn launch(&self, ingress: Ingress) -> Arc<Running> {
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let interests = Arc::new(Interests::new(self.names.clone()));
        let lanes = Lanes::new(ingress.clone(), tasks.clone(), stop.clone());
        let node = Arc::new(Node {
            settings: self.settings.clone(),
            names: self.names.clone(),
            scripts: self.scripts.clone(),
            health: Health::new(ingress.clone()),
            pushed: Pushed::new(self.names.clone(), ingress.clone(), interests.clone(), lanes),
            interests,
            id: ingress.node(),
            probes: AtomicU64::new(0),
        });
        let peer = Arc::new(Peer::new(0, None, &self.settings));
        node.health.expect(peer.id);
        for role in [Role::Commands, Role::Pushes] {
            let (stop, keep) = (stop.clone(), node.clone().keep(peer.clone(), role));
            tasks.spawn(async move { stop.run_until_cancelled_owned(keep).await });
        }
        Arc::new(Running { node, peer, tasks, _guard: stop.clone().drop_guard(), stop })
    }
}

impl Running {
    /// Ends all tasks and with them all connections.
    async fn end(&self) {
        self.node.health.end();
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.peer.commands.close();
        self.peer.pushes.close();
    }

    fn runs(&self) -> Runs {
        let this = self.peer.run();
        Runs { all: this.clone(), this }
    }

    fn publish(&self, message: &Outgoing) -> BoxFuture<'static, Result<Accepted, BackendError>> {
        let node = &self.node;
        let (bytes, expect) = match message.retention {
            Some(retention) => {
                let runs = self.runs();
                let call = log::append(&node.scripts, &node.names, message, retention, &runs, "PUBLISH", None);
                (call, Expect::One)
            }
            None => {
                let envelope = Envelope::encode(message);
                let topics = std::iter::once(&message.message.topic)
                    .chain(message.also.iter().map(|(name, _)| name));
                let mut commands = BytesMut::new();
                for topic in topics {
                    let channel = node.names.topic(topic);
                    commands.extend_from_slice(&command("PUBLISH", [channel.as_bytes(), &envelope]));
                }
                let count = 1 + message.also.len();
                let expect = if count == 1 { Expect::One } else { Expect::Several(count, Vec::new()) };
                (commands.freeze(), expect)
            }
        };
        let is_logged = message.retention.is_some();
        let asked = self.peer.commands.hand_over(bytes, expect, Retry::Held);
        let answer = timeout(node.settings.publish_within, asked.answer());
        async move {
            let unknown = |message| BackendError::new(BackendErrorKind::OutcomeUnknown, "publish", message);
            match answer.await {
                Ok(Ok(answer)) => accepted(answer, is_logged),
                Ok(Err(Lost::Unanswered)) => Err(unknown("the connection to Redis broke before the answer came")),
                Ok(Err(unsent)) => Err(lost(unsent).into_error("publish")),
                Err(_) => Err(unknown("Redis did not answer in time")),
            }
        }
        .boxed()
    }

    /// Calls a script that stores nothing of a message.
    async fn call(&self, bytes: Bytes) -> Result<Value, Trouble> {
        let asked = self.peer.commands.hand_over(bytes, Expect::One, Retry::Again);
        let answer = async { checked(asked.answer().await.map_err(lost)?) };
        within(self.node.settings.publish_within, answer).await
    }

    async fn change(&self, what: Subscribing, channel: String) -> Result<(), Trouble> {
        let asked = change(&self.peer, Confirm { what, channel: channel.into() });
        let answer = async { checked(asked.answer().await.map_err(lost)?) };
        within(self.node.settings.answer_within, answer).await.map(drop)
    }

    async fn subscribe(&self, interest: &Interest) -> Result<Option<Position>, Trouble> {
        let node = &self.node;
        node.interests.want(interest);
        match interest {
            Interest::Topic { name, retention } => {
                self.change(Subscribing::Channel(true), node.names.topic(name)).await?;
                let Some(retention) = retention else { return Ok(None) };
                let open = log::open(&node.scripts, &node.names, name, retention, &self.runs());
                let position = log::parse_position(&self.call(open).await?).map_err(unexpected)?;
                Ok(Some(position))
            }
            Interest::Pattern(pattern) => {
                self.change(Subscribing::Pattern(true), node.names.glob(pattern)).await?;
                Ok(None)
            }
            _ => Err(Trouble::new(BackendErrorKind::Refused, "an interest of a kind that is not known")),
        }
    }

    async fn unsubscribe(&self, interest: &Interest) -> Result<(), Trouble> {
        if !self.node.interests.give_up(interest) {
            return Ok(());
        }
        match interest {
            Interest::Topic { name, .. } => {
                self.change(Subscribing::Channel(false), self.node.names.topic(name)).await
            }
            Interest::Pattern(pattern) => {
                self.change(Subscribing::Pattern(false), self.node.names.glob(pattern)).await
            }
            _ => Ok(()),
        }
    }

    async fn history(&self, topic: &TopicName, query: HistoryQuery) -> Result<Page, Trouble> {
        match query {
            HistoryQuery::After { offset, limit } => self.page(topic, After::After(offset), limit).await,
            HistoryQuery::Before { offset, limit } => self.pages_before(topic, offset, limit).await,
            HistoryQuery::Latest => self.latest(topic).await,
            _ => Err(Trouble::new(BackendErrorKind::Refused, "a query of a kind that is not known")),
        }
    }

    async fn page(&self, topic: &TopicName, from: After, limit: usize) -> Result<Page, Trouble> {
        let node = &self.node;
        let answer = self.call(log::read(&node.scripts, &node.names, topic, from, limit)).await?;
        log::parse_page(answer, from).map_err(unexpected)
    }

    /// Pages are bounded in bytes; who asks for the last messages wants them all.
    async fn pages_before(
        &self,
        topic: &TopicName,
        offset: Option<u64>,
        limit: usize,
    ) -> Result<Page, Trouble> {
        let mut page = self.page(topic, After::Before(offset), limit).await?;
        while page.more
            && page.messages.len() < limit
            && let Some(first) = page.messages.first().and_then(|message| message.position())
        {
            let rest = limit - page.messages.len();
            let mut before = self.page(topic, After::Before(Some(first.offset)), rest).await?;
            if before.epoch != page.epoch {
                return Err(Trouble::unavailable("the log was replaced while it was read"));
            }
            page.more = before.more;
            before.messages.append(&mut page.messages);
            page.messages = before.messages;
        }
        Ok(page)
    }

    async fn latest(&self, topic: &TopicName) -> Result<Page, Trouble> {
        let node = &self.node;
        let mut values = Vec::new();
        let mut skip = 0;
        loop {
            let call = log::latest(&node.scripts, &node.names, topic, skip, VALUES_AT_ONCE);
            let (epoch, last, some, count) = log::parse_latest(self.call(call).await?).map_err(unexpected)?;
            values.extend(some);
            skip += count;
            if count < VALUES_AT_ONCE {
                // One that was written meanwhile may have been read twice.
                values.sort_by_key(|message| message.position().map(|position| position.offset));
                values.dedup_by_key(|message| message.position());
                return Ok(Page::new(epoch, last, last, values, false));
            }
        }
    }

    fn control(&self, to: Option<NodeId>, bytes: &[u8]) -> BoxFuture<'static, Result<(), BackendError>> {
        let names = &self.node.names;
        let channel = to.map_or_else(|| names.all(), |to| names.node(to));
        let publish = command("PUBLISH", [channel.as_bytes(), &frame(self.node.id, bytes)]);
        let asked = self.peer.commands.ask(publish);
        let limit = self.node.settings.publish_within;
        async move {
            let answer = async { checked(asked.answer().await.map_err(lost)?) };
            within(limit, answer).await.map(drop).map_err(|trouble| trouble.into_error("control"))
        }
        .boxed()
    }
}

fn unexpected(_: value::Unexpected) -> Trouble {
    Trouble::new(
        BackendErrorKind::Corrupt,
        "the log holds something that is none of ours, or of a newer version: does another program use the prefix?",
    )
}

fn checked(answer: Value) -> Result<Value, Trouble> {
    match answer {
        Value::ServerError(error) => Err(Trouble::of(&error)),
        answer => Ok(answer),
    }
}

fn accepted(answer: Value, is_logged: bool) -> Result<Accepted, BackendError> {
    let failed = |trouble: Trouble| trouble.into_error("publish");
    if is_logged {
        return log::parse_accepted(checked(answer).map_err(failed)?).map_err(|_| failed(unexpected(value::Unexpected)));
    }
    match answer {
        Value::Array(answers) => {
            for answer in answers {
                checked(answer).map_err(failed)?;
            }
        }
        answer => drop(checked(answer).map_err(failed)?),
    }
    Ok(Accepted::ephemeral())
}

#[async_trait]
impl Backend for RedisBackend {
    fn capabilities(&self) -> Capabilities {
        Capabilities::default().dense_offsets(true)
    }

    async fn start(&self, ingress: Ingress) -> Result<(), BackendError> {
        // Dropped, it ends all that it has launched.
        let running = self.launch(ingress);
        let mut status = running.node.health.watch();
        let up = async {
            loop {
                let ended = status
                    .wait_for(|status| {
                        status.is_up || status.trouble.as_ref().is_some_and(Trouble::is_lasting)
                    })
                    .await;
                match ended.map(|status| status.clone()) {
                    Ok(status) if !status.is_up => return Err(status.trouble),
                    Ok(_) if !running.node.health.start() => {}
                    _ => return Ok(()),
                }
            }
        };
        let up = timeout(START_WITHIN, up).await;
        let trouble = match up {
            Ok(Ok(())) => {
                *self.running.lock() = Some(running);
                return Ok(());
            }
            Ok(Err(trouble)) => trouble,
            Err(_) => running.node.health.watch().borrow().trouble.clone(),
        };
        running.end().await;
        let trouble = trouble.unwrap_or_else(|| Trouble::unavailable("Redis does not answer"));
        Err(trouble.into_error("start"))
    }

    fn publish(&self, message: Outgoing) -> BoxFuture<'static, Result<Accepted, BackendError>> {
        match self.running("publish") {
            Ok(running) => running.publish(&message),
            Err(error) => std::future::ready(Err(error)).boxed(),
        }
    }

    async fn subscribe(&self, interest: &Interest) -> Result<Option<Position>, BackendError> {
        let running = self.running("subscribe")?;
        running.subscribe(interest).await.map_err(|trouble| trouble.into_error("subscribe"))
    }

    async fn unsubscribe(&self, interest: &Interest) -> Result<(), BackendError> {
        let running = self.running("unsubscribe")?;
        running.unsubscribe(interest).await.map_err(|trouble| trouble.into_error("unsubscribe"))
    }

    async fn history(&self, topic: &TopicName, query: HistoryQuery) -> Result<Page, BackendError> {
        let running = self.running("history")?;
        running.history(topic, query).await.map_err(|trouble| trouble.into_error("history"))
    }

    fn control(&self, to: Option<NodeId>, frame: Bytes) -> BoxFuture<'static, Result<(), BackendError>> {
        match self.running("control") {
            Ok(running) => running.control(to, &frame),
            Err(error) => std::future::ready(Err(error)).boxed(),
        }
    }

    async fn shutdown(&self, by: Instant) {
        let Some(running) = self.running.lock().take() else { return };
        running.node.health.end();
        running.peer.commands.close();
        let _ = timeout_at(by, running.peer.commands.until_idle()).await;
        running.end().await;
        self.state.send_replace(BackendState::Down);
    }
}

impl fmt::Debug for RedisBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisBackend").field("settings", &self.settings).finish_non_exhaustive()
    }
}
