//! The backend: what the core calls.

use std::{
    fmt,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use fanfare_core::{
    backend::{
        Accepted, Backend, BackendError, BackendErrorKind, BackendState, Capabilities, HistoryQuery, Ingress,
        Interest, NodeId, Outgoing, Page, Retention, envelope::Envelope,
    },
    message::Position,
    topic::TopicName,
};
use futures_util::{FutureExt, future::BoxFuture};
use parking_lot::Mutex;
use redis::Value;
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout, timeout_at},
};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

use crate::{
    error::Trouble,
    keep::{Health, Node, Peer, Servers, lost, within},
    log::{self, After, Scripts},
    names::Names,
    receive::{Interests, Lanes, Pushed, frame},
    settings::{RedisBuilder, Settings, Topology},
    wire::{Asking, Confirm, Expect, Lost, Retry, Subscribing, command, value},
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
    servers: Arc<Servers>,
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

    /// Whether the server can be reached, for readiness probes: it changes when connections are lost and made.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<BackendState> {
        self.state.subscribe()
    }

    /// How many messages came on our channels that were none of ours.
    #[must_use]
    pub fn foreign_messages(&self) -> u64 {
        self.running.lock().as_ref().map_or(0, |running| running.node.pushed.foreign())
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
            id: ingress.node(),
            settings: self.settings.clone(),
            names: self.names.clone(),
            scripts: self.scripts.clone(),
            health: Health::new(ingress.clone(), self.state.clone()),
            pushed: Pushed::new(
                matches!(self.settings.topology, Topology::Cluster(_)),
                self.names.clone(),
                ingress,
                interests.clone(),
                lanes.clone(),
            ),
            interests,
            lanes,
            probes: AtomicU64::new(0),
            runs: Mutex::default(),
        });
        let servers = Servers::start(node.clone(), tasks.clone(), stop.clone());
        let (ended, reopen) = (stop.clone(), reopen(node.clone(), servers.clone()));
        tasks.spawn(async move { ended.run_until_cancelled_owned(reopen).await });
        Arc::new(Running { node, servers, tasks, _guard: stop.clone().drop_guard(), stop })
    }
}

impl Running {
    /// Ends all tasks and with them all connections.
    async fn end(&self) {
        self.node.health.end();
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        for peer in self.servers.peers() {
            peer.commands.close();
            peer.pushes.close();
        }
    }

    /// The command that publishes, and whether a second one carries the message to those who are subscribed to patterns.
    fn commands(&self) -> (&'static str, bool) {
        match self.node.is_cluster() {
            true => ("SPUBLISH", self.node.settings.cluster_patterns),
            false => ("PUBLISH", false),
        }
    }

    fn publish(&self, message: &Outgoing) -> BoxFuture<'static, Result<Accepted, BackendError>> {
        let asked = match message.retention {
            Some(retention) => vec![self.append(message, retention)],
            None => self.send(message),
        };
        let (is_logged, limit) = (message.retention.is_some(), self.node.settings.publish_within);
        let deadline = Instant::now() + limit;
        async move {
            let unknown = |message| BackendError::new(BackendErrorKind::OutcomeUnknown, "publish", message);
            let mut done = Ok(Accepted::ephemeral());
            for asked in asked {
                let answered = match timeout_at(deadline, asked.answer()).await {
                    Ok(Ok(answer)) => accepted(answer, is_logged),
                    Ok(Err(Lost::Unanswered)) => {
                        Err(unknown("the connection to Redis broke before the answer came"))
                    }
                    Ok(Err(unsent)) => Err(lost(unsent).into_error("publish")),
                    Err(_) => Err(unknown("Redis did not answer in time")),
                };
                done = done.and(answered);
            }
            done
        }
        .boxed()
    }

    fn append(&self, message: &Outgoing, retention: Retention) -> Asking {
        let node = &self.node;
        let channel = node.names.topic(&message.message.topic);
        let (publish, patterns) = self.commands();
        self.servers.hand_over(&channel, Retry::Held, |peer| {
            let also = patterns.then_some(channel.as_str());
            let runs = node.runs(peer.id);
            let call = log::append(&node.scripts, &node.names, message, retention, &runs, publish, also);
            (call, Expect::One)
        })
    }

    /// Sends an ephemeral message to each of its topics: one command, where one server has them all.
    fn send(&self, message: &Outgoing) -> Vec<Asking> {
        let envelope = Envelope::encode(message);
        let topics = std::iter::once(&message.message.topic).chain(message.also.iter().map(|(name, _)| name));
        let channels: Vec<_> = topics.map(|topic| self.node.names.topic(topic)).collect();
        let (publish, patterns) = self.commands();
        let commands = |channel: &String| {
            let first = command(publish, [channel.as_bytes(), &envelope]);
            let second = patterns.then(|| command("PUBLISH", [channel.as_bytes(), &envelope]));
            std::iter::once(first).chain(second)
        };
        let send = |channels: &[String]| {
            let commands: Vec<_> = channels.iter().flat_map(commands).collect();
            self.servers.hand_over(&channels[0], Retry::Held, |_| match commands.as_slice() {
                [command] => (command.clone(), Expect::One),
                several => (several.concat().into(), Expect::Several(several.len(), Vec::new())),
            })
        };
        if self.node.is_cluster() { channels.chunks(1).map(send).collect() } else { vec![send(&channels)] }
    }

    /// Calls a script that stores nothing of a message.
    async fn call(&self, topic: &TopicName, command: impl FnOnce(&Peer) -> Bytes) -> Result<Value, Trouble> {
        let channel = self.node.names.topic(topic);
        let asked = self.servers.hand_over(&channel, Retry::Again, |peer| (command(peer), Expect::One));
        let answer = async { checked(asked.answer().await.map_err(lost)?) };
        within(self.node.settings.publish_within, answer).await
    }

    /// Changes a subscription, and waits for the confirmation. A Cluster's server may say that it has just lost the slot.
    async fn change(&self, what: Subscribing, channel: String) -> Result<(), Trouble> {
        let limit = self.node.settings.answer_within;
        let channel: Arc<str> = channel.into();
        let confirmed = async {
            let mut pause = Duration::from_millis(10);
            loop {
                let asked = self.servers.change(Confirm { what, channel: channel.clone() });
                match asked.answer().await.map_err(lost)? {
                    Value::ServerError(error) if error.code() == "MOVED" => {
                        self.servers.look_again();
                        sleep(pause).await;
                        pause *= 2;
                    }
                    answer => return checked(answer).map(drop),
                }
            }
        };
        within(limit, confirmed).await
    }

    fn topic_channel(&self, on: bool) -> Subscribing {
        if self.node.is_cluster() { Subscribing::Shard(on) } else { Subscribing::Channel(on) }
    }

    fn check_pattern(&self) -> Result<(), Trouble> {
        if self.node.is_cluster() && !self.node.settings.cluster_patterns {
            let message = "a Redis Cluster has no patterns for sharded channels: set cluster_patterns on all nodes, which sends each message to every server, or subscribe by name";
            return Err(Trouble::new(BackendErrorKind::Refused, message));
        }
        Ok(())
    }

    async fn subscribe(&self, interest: &Interest) -> Result<Option<Position>, Trouble> {
        let node = &self.node;
        match interest {
            Interest::Topic { name, retention } => {
                node.interests.want(interest);
                self.change(self.topic_channel(true), node.names.topic(name)).await?;
                let Some(retention) = retention else { return Ok(None) };
                let open =
                    |peer: &Peer| log::open(&node.scripts, &node.names, name, retention, &node.runs(peer.id));
                let position = log::parse_position(&self.call(name, open).await?).map_err(unexpected)?;
                Ok(Some(position))
            }
            Interest::Pattern(pattern) => {
                self.check_pattern()?;
                node.interests.want(interest);
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
                self.change(self.topic_channel(false), self.node.names.topic(name)).await
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
        let answer = self.call(topic, |_| log::read(&node.scripts, &node.names, topic, from, limit)).await?;
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
            let call = |_: &Peer| log::latest(&node.scripts, &node.names, topic, skip, VALUES_AT_ONCE);
            let answer = self.call(topic, call).await?;
            let (mut page, count) = log::parse_latest(answer).map_err(unexpected)?;
            values.append(&mut page.messages);
            skip += count;
            if count < VALUES_AT_ONCE {
                // One that was written meanwhile may have been read twice.
                values.sort_by_key(|message| message.position().map(|position| position.offset));
                values.dedup_by_key(|message| message.position());
                page.messages = values;
                return Ok(page);
            }
        }
    }

    fn control(&self, to: Option<NodeId>, bytes: &[u8]) -> BoxFuture<'static, Result<(), BackendError>> {
        let names = &self.node.names;
        let channel = to.map_or_else(|| names.all(), |to| names.node(to));
        let publish = command(self.commands().0, [channel.as_bytes(), &frame(self.node.id, bytes)]);
        let asked = self.servers.hand_over(&channel, Retry::Again, |_| (publish, Expect::One));
        let limit = self.node.settings.publish_within;
        async move {
            let answer = async { checked(asked.answer().await.map_err(lost)?) };
            within(limit, answer).await.map(drop).map_err(|trouble| trouble.into_error("control"))
        }
        .boxed()
    }
}

/// Keeps logs remembered that are listened to, and not written to.
async fn reopen(node: Arc<Node>, servers: Arc<Servers>) {
    loop {
        sleep(log::REOPENED_EVERY).await;
        for (name, retention) in node.interests.wanted().topics {
            let Some(retention) = retention else { continue };
            let open = |peer: &Peer| {
                let call = log::open(&node.scripts, &node.names, &name, &retention, &node.runs(peer.id));
                (call, Expect::One)
            };
            // Another time, if not now: a log is remembered for longer than this.
            let _ = servers.hand_over(&node.names.topic(&name), Retry::Again, open).answer().await;
        }
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
        return log::parse_accepted(checked(answer).map_err(failed)?)
            .map_err(|_| failed(unexpected(value::Unexpected)));
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
        let peers = running.servers.peers();
        peers.iter().for_each(|peer| peer.commands.close());
        for peer in peers {
            let _ = timeout_at(by, peer.commands.until_idle()).await;
        }
        running.end().await;
        self.state.send_replace(BackendState::Down);
    }
}

impl fmt::Debug for RedisBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisBackend").field("settings", &self.settings).finish_non_exhaustive()
    }
}
