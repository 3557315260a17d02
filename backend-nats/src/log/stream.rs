//! The stream that holds the logs.
//!
//! Its identity is the epoch of all logs in it. A stream that the backend creates has the epoch in its name, and the name is in every
//! acknowledgement, in every message that it publishes again and in every answer to a read; a message goes to a stream by its name.
//! So nothing is ever taken for a part of another log, however streams are deleted and made anew.

use std::{
    collections::{HashMap, HashSet},
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use fanfare_core::{backend::Retention, message::Epoch};
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::json;

use super::{
    Keep,
    api::{Api, Config, Info, NAME_IN_USE, OVERLAPS, Refusal, Republish, STREAM_NOT_FOUND},
};
use crate::{
    error::Trouble,
    names::Names,
    settings::{LogSettings, Settings, Storage, Streams},
    wire::Queue,
};

/// What a stream holds of each topic, at the least: messages, time.
const LEAST_MESSAGES: u64 = 64;
const LEAST_AGE: Duration = Duration::from_secs(600);

/// A stream that would hold messages for longer than this holds them for ever.
const FOREVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// How often it is tried again where others change streams at the same time.
const TRIES: usize = 8;

/// The stream that holds the logs, as long as nothing says that it is another.
pub(crate) struct Logs {
    pub(crate) api: Api,
    pub(crate) names: Arc<Names>,
    pub(crate) settings: Arc<Settings>,
    queue: Arc<Queue>,
    state: Mutex<State>,
    /// One task at a time looks for the stream.
    looking: tokio::sync::Mutex<()>,
    /// The subjects that are being trimmed.
    pub(super) trimming: Mutex<HashSet<Arc<str>>>,
}

#[derive(Default)]
struct State {
    stream: Option<Arc<Stream>>,
    /// What topics are known to need.
    needs: Limits,
    /// The highest offset that is known of each stream: one that has less has lost its end.
    reached: HashMap<String, u64>,
    epochs: HashMap<String, Epoch>,
    knows_values: bool,
    version: (u64, u64),
}

/// A stream that holds logs.
#[derive(Clone, Debug)]
pub(crate) struct Stream {
    pub(crate) name: Arc<str>,
    pub(crate) epoch: Epoch,
    pub(crate) limits: Limits,
    pub(crate) replicas: usize,
}

/// What a stream holds of each topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) messages: u64,
    pub(crate) age: Duration,
    /// How long ids are remembered.
    pub(crate) window: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { messages: LEAST_MESSAGES, age: LEAST_AGE, window: Duration::from_millis(100) }
    }
}

impl Limits {
    fn of(retention: &Retention) -> Self {
        let window = retention.history.idempotency_window.clamp(Duration::from_millis(100), FOREVER);
        // Longer than a message is retained: what is there no more is known to have been there.
        let age = retention.history.ttl.saturating_mul(3).max(window).max(LEAST_AGE);
        Self { messages: held(retention.history.messages as u64), age, window }
    }

    fn with(self, other: Self) -> Self {
        Self {
            messages: self.messages.max(other.messages),
            age: self.age.max(other.age),
            window: self.window.max(other.window),
        }
    }

    fn hold(self, other: Self) -> bool {
        self.with(other) == self
    }
}

/// How many messages of a topic are held that retains so many: at least two more, by which it is known where its log begins.
pub(crate) fn held(messages: u64) -> u64 {
    messages.saturating_add(2).next_power_of_two().clamp(LEAST_MESSAGES, 1 << 40)
}

impl Logs {
    pub(crate) fn new(queue: Arc<Queue>, names: Arc<Names>, settings: Arc<Settings>) -> Self {
        let api = Api::new(queue.clone(), settings.clone());
        let (state, looking, trimming) = Default::default();
        Self { api, names, settings, queue, state, looking, trimming }
    }

    /// A topic is used that retains this. What is published waits until the stream holds as much.
    pub(crate) fn need(&self, retention: &Retention) {
        let mut state = self.state.lock();
        let needs = state.needs.with(Limits::of(retention));
        if needs == state.needs {
            return;
        }
        state.needs = needs;
        if state.stream.take().is_some() {
            drop(state);
            self.queue.forget_stream();
        }
    }

    /// The stream is to be looked at anew.
    pub(crate) fn forget(&self) {
        let mut state = self.state.lock();
        (state.stream, state.knows_values) = (None, false);
        drop(state);
        self.queue.forget_stream();
    }

    /// Another server is asked from here on.
    pub(crate) fn meet(&self, version: (u64, u64)) {
        self.state.lock().version = version;
    }

    pub(super) fn version(&self) -> (u64, u64) {
        self.state.lock().version
    }

    /// The stream, where it is known.
    pub(super) fn known(&self) -> Option<Arc<Stream>> {
        self.state.lock().stream.clone()
    }

    pub(super) fn knows_values(&self) -> bool {
        self.state.lock().knows_values
    }

    pub(super) fn know_values(&self) {
        self.state.lock().knows_values = true;
    }

    pub(super) fn forget_values(&self) {
        self.state.lock().knows_values = false;
    }

    /// Whether a read may be answered by a server that does not have all.
    pub(super) fn is_replicated(&self) -> bool {
        self.settings.logs.replicas > 1 || self.known().is_some_and(|stream| stream.is_replicated())
    }

    pub(super) fn config_of_values(&self) -> Config {
        self.config(Limits::default(), Epoch::new(0))
    }

    /// An offset has been given in a stream.
    pub(crate) fn has_reached(&self, stream: &str, offset: u64) {
        let mut state = self.state.lock();
        match state.reached.get_mut(stream) {
            Some(reached) => *reached = offset.max(*reached),
            None => {
                // The streams of the past are few, and none of them comes back.
                if state.reached.len() > 8 {
                    state.reached.clear();
                }
                state.reached.insert(stream.to_owned(), offset);
            }
        }
    }

    /// The epoch of the logs in a stream.
    pub(crate) fn epoch_of(&self, stream: &str) -> Option<Epoch> {
        self.names.epoch(stream).or_else(|| self.state.lock().epochs.get(stream).copied())
    }

    /// The stream that holds the logs; looked for, and made, where it is not known.
    pub(crate) async fn stream(&self) -> Result<Arc<Stream>, Trouble> {
        if let Some(stream) = self.state.lock().stream.clone() {
            return Ok(stream);
        }
        let _looking = self.looking.lock().await;
        if let Some(stream) = self.state.lock().stream.clone() {
            return Ok(stream);
        }
        for _ in 0..TRIES {
            let needs = self.state.lock().needs;
            let Some(stream) = self.look(needs).await? else { continue };
            let stream = Arc::new(stream);
            let mut state = self.state.lock();
            if !stream.limits.hold(state.needs) && self.settings.logs.streams == Streams::Managed {
                continue;
            }
            state.epochs.insert(stream.name.to_string(), stream.epoch);
            state.stream = Some(stream.clone());
            drop(state);
            self.queue.set_stream(stream.name.clone());
            return Ok(stream);
        }
        Err(Trouble::unavailable("the stream that holds the logs changes under our hands"))
    }

    /// Sees to it that what is published finds its stream, for ever.
    pub(crate) async fn serve(&self) {
        loop {
            self.queue.until_it_lacks_a_stream().await;
            if self.queue.was_refused() {
                self.state.lock().stream = None;
            }
            let connection = self.queue.connection();
            match self.stream().await {
                Ok(stream) => self.queue.set_stream(stream.name.clone()),
                Err(trouble) => self.queue.refuse_appends(&trouble, connection),
            }
        }
    }

    /// `None` where it is to be tried again.
    async fn look(&self, needs: Limits) -> Result<Option<Stream>, Trouble> {
        #[derive(Deserialize)]
        struct Found {
            #[serde(default)]
            streams: Option<Vec<String>>,
        }
        let question = json!({ "subject": self.names.logs() });
        let found: Found = self.api.ask("STREAM.NAMES", &question).await.map_err(off)?;
        let found = found.streams.unwrap_or_default();
        let name = match found.as_slice() {
            [] => return self.create(needs).await,
            [name] => name,
            several => return self.choose(several).await,
        };
        // What is known before the question: the stream goes on while it is answered.
        let reached = self.state.lock().reached.get(name).copied().unwrap_or_default();
        let info: Info = match self.api.ask(&format!("STREAM.INFO.{name}"), &json!({})).await {
            Ok(info) => info,
            Err(refusal) if refusal.has_code(&[STREAM_NOT_FOUND]) => return Ok(None),
            Err(refusal) => return Err(refusal.into_trouble()),
        };
        let reached = if self.is_another(&info) { 0 } else { reached };
        self.check(info, needs, reached).await
    }

    /// Whether an operator has created a stream anew under the name of one that was known.
    fn is_another(&self, info: &Info) -> bool {
        let name = &info.config.name;
        let state = &mut *self.state.lock();
        let is_another = state.epochs.get(name).is_some_and(|held| {
            *held != self.names.epoch(name).unwrap_or_else(|| identity(name, &info.created))
        });
        if is_another {
            state.reached.remove(name);
        }
        is_another
    }

    /// Of streams that nodes have created at the same time the oldest stays: all nodes choose the same.
    async fn choose(&self, names: &[String]) -> Result<Option<Stream>, Trouble> {
        let is_managed = self.settings.logs.streams == Streams::Managed;
        if !is_managed || names.iter().any(|name| self.names.epoch(name).is_none()) {
            return Err(Trouble::configuration(format!(
                "several streams take subjects of {}: one has to take them all",
                self.names.logs()
            )));
        }
        let mut found = Vec::new();
        for name in names {
            match self.api.ask::<Info>(&format!("STREAM.INFO.{name}"), &json!({})).await {
                Ok(info) => found.push((super::time::parse(&info.created), info.created, name)),
                Err(refusal) if refusal.is_gone() => return Ok(None),
                Err(refusal) => return Err(refusal.into_trouble()),
            }
        }
        found.sort_unstable();
        for (_, _, name) in found.iter().skip(1) {
            tracing::info!(target: "fanfare::nats", stream = name, "another node was quicker: its stream stays");
            match self.api.ask::<serde_json::Value>(&format!("STREAM.DELETE.{name}"), &json!({})).await {
                Ok(_) => {}
                Err(refusal) if refusal.is_gone() => {}
                Err(refusal) => return Err(refusal.into_trouble()),
            }
        }
        Ok(None)
    }

    async fn create(&self, needs: Limits) -> Result<Option<Stream>, Trouble> {
        let logs = &self.settings.logs;
        if logs.streams == Streams::Checked {
            return Err(Trouble::configuration(format!(
                "there is no stream for {}: create one as the crate's documentation says, or let the backend create it",
                self.names.logs()
            )));
        }
        let config = self.config(needs, Epoch::random());
        match self.api.ask::<Info>(&format!("STREAM.CREATE.{}", config.name), &config).await {
            Ok(_) => {
                tracing::info!(target: "fanfare::nats", stream = config.name, "created the stream that holds the logs");
                // It is looked at again: another node may have created one at the same time, and servers let that pass.
                Ok(None)
            }
            // Another node was quicker.
            Err(refusal) if refusal.has_code(&[OVERLAPS, NAME_IN_USE]) => Ok(None),
            Err(refusal) => Err(refusal.into_trouble()),
        }
    }

    fn config(&self, needs: Limits, epoch: Epoch) -> Config {
        let LogSettings { storage, replicas, .. } = &self.settings.logs;
        let (src, dest) = (self.names.logs(), self.names.all_messages());
        Config {
            name: self.names.stream(epoch),
            description: "Logs of Fanfare's topics. Delete it, and all logs begin anew.".to_owned(),
            subjects: vec![src.clone()],
            retention: "limits".to_owned(),
            discard: "old".to_owned(),
            storage: storage_name(*storage).to_owned(),
            max_msgs: -1,
            max_bytes: -1,
            max_consumers: -1,
            max_msgs_per_subject: i64::try_from(needs.messages).unwrap_or(i64::MAX),
            max_age: age(needs.age),
            num_replicas: *replicas,
            duplicate_window: nanoseconds(needs.window),
            allow_direct: true,
            republish: Some(Republish { src, dest }),
            more: serde_json::Map::new(),
        }
    }

    /// Whether a stream holds logs as they have to be held. One of our own is changed where it does not, and replaced where it has
    /// lost its end.
    async fn check(&self, info: Info, needs: Limits, reached: u64) -> Result<Option<Stream>, Trouble> {
        let Info { config, created, state } = info;
        let is_ours = self.names.epoch(&config.name);
        let logs = &self.settings.logs;
        let is_managed = logs.streams == Streams::Managed;
        let name = &config.name;
        if is_managed && is_ours.is_none() {
            return Err(Trouble::configuration(format!(
                "the stream {name} takes {}, and is none that the backend has created: remove it, choose another prefix, or set \
                 Streams::Checked",
                self.names.logs()
            )));
        }
        if state.last_seq < reached {
            return self.replace(name, is_managed).await;
        }
        let wanted = Config { name: name.clone(), ..self.config(needs, Epoch::new(0)) };
        if let Some(what) = unfit(&config, &wanted) {
            return Err(Trouble::configuration(format!(
                "the stream {name} has {what}: change it, or remove it"
            )));
        }
        let held = Limits {
            messages: u64::try_from(config.max_msgs_per_subject)
                .ok()
                .filter(|most| *most > 0)
                .unwrap_or(u64::MAX),
            age: if config.max_age == 0 { Duration::MAX } else { Duration::from_nanos(config.max_age) },
            window: Duration::from_nanos(config.duplicate_window),
        };
        if is_managed {
            if config.storage != wanted.storage {
                return Err(Trouble::configuration(format!(
                    "the stream {name} keeps messages in {}, and the settings say {}: set the storage so, or remove the stream",
                    config.storage, wanted.storage
                )));
            }
            let limits = held.with(needs);
            if limits != held || config.num_replicas != wanted.num_replicas {
                return self.update(config, limits, wanted.num_replicas).await;
            }
        } else if !held.hold(Limits { window: Duration::ZERO, ..needs }) {
            return Err(Trouble::configuration(format!(
                "the stream {name} holds too little: topics need max_msgs_per_subject {} and max_age {:?} at the least",
                needs.messages, needs.age
            )));
        } else if held.window < needs.window {
            return Err(Trouble::configuration(format!(
                "the stream {name} remembers message ids for too short a time: topics need a duplicate_window of {:?}",
                needs.window
            )));
        }
        self.has_reached(name, state.last_seq);
        let epoch = is_ours.unwrap_or_else(|| identity(name, &created));
        let limits = if is_managed { held } else { held.with(needs) };
        Ok(Some(Stream { name: name.as_str().into(), epoch, limits, replicas: config.num_replicas }))
    }

    async fn update(
        &self,
        config: Config,
        limits: Limits,
        replicas: usize,
    ) -> Result<Option<Stream>, Trouble> {
        let config = Config {
            max_msgs_per_subject: i64::try_from(limits.messages).unwrap_or(-1),
            max_age: age(limits.age),
            duplicate_window: nanoseconds(limits.window),
            num_replicas: replicas,
            ..config
        };
        match self.api.ask::<Info>(&format!("STREAM.UPDATE.{}", config.name), &config).await {
            // What came of it is looked at: another node may have changed it, too.
            Ok(_) => Ok(None),
            Err(refusal) if refusal.is_gone() => Ok(None),
            Err(refusal) => Err(refusal.into_trouble()),
        }
    }

    /// A stream that ends before an offset that it has given has lost its end: another message may get that offset.
    async fn replace(&self, name: &str, is_managed: bool) -> Result<Option<Stream>, Trouble> {
        if !is_managed {
            return Err(Trouble::new(
                fanfare_core::backend::BackendErrorKind::Corrupt,
                format!(
                    "the stream {name} has lost its last messages: remove it and create it anew, so that nobody takes new ones for old"
                ),
            ));
        }
        tracing::warn!(target: "fanfare::nats", stream = name, "the stream has lost its last messages: all logs begin anew");
        match self.api.ask::<serde_json::Value>(&format!("STREAM.DELETE.{name}"), &json!({})).await {
            Ok(_) => Ok(None),
            Err(refusal) if refusal.is_gone() => Ok(None),
            Err(refusal) => Err(refusal.into_trouble()),
        }
    }
}

/// What a stream has that logs cannot do with.
fn unfit(config: &Config, wanted: &Config) -> Option<String> {
    if config.subjects != wanted.subjects {
        return Some(format!("other subjects than {}", wanted.subjects.join(", ")));
    }
    let republish = |config: &Config| config.republish.clone().unwrap_or_default();
    if republish(config) != republish(wanted) {
        let Republish { src, dest } = republish(wanted);
        return Some(format!("another republish than from {src} to {dest}"));
    }
    if config.retention != wanted.retention || config.discard != wanted.discard {
        return Some("another retention than limits, or another discard than old".to_owned());
    }
    let says = |name: &str| config.more.get(name).and_then(serde_json::Value::as_bool).unwrap_or_default();
    if !config.allow_direct || says("sealed") || says("no_ack") || config.more.contains_key("mirror") {
        return Some(
            "no direct reads (allow_direct), no acknowledgements, or is sealed or a mirror".to_owned(),
        );
    }
    None
}

/// JetStream does not answer what streams there are.
fn off(refusal: Refusal) -> Trouble {
    match refusal {
        Refusal::Nobody => Trouble::configuration(
            "JetStream is off, and logged topics need it: enable `jetstream` in the server's configuration, with a store_dir",
        ),
        refusal => refusal.into_trouble(),
    }
}

fn storage_name(storage: Storage) -> &'static str {
    match storage {
        Storage::File => "file",
        Storage::Memory => "memory",
    }
}

/// The epoch of a stream that somebody else has made.
fn identity(name: &str, created: &str) -> Epoch {
    // The hasher has no random state: every node comes to the same.
    let mut hasher = DefaultHasher::new();
    (name, created).hash(&mut hasher);
    Epoch::new(hasher.finish().max(1))
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// How long messages are held: 0 is for ever.
fn age(time: Duration) -> u64 {
    if time >= FOREVER { 0 } else { nanoseconds(time) }
}

impl Stream {
    /// Whether any of several servers may answer a read, so that one may not have all yet.
    pub(crate) fn is_replicated(&self) -> bool {
        self.replicas > 1
    }

    /// Whether messages of a topic are held that are many more than it retains.
    pub(crate) fn holds_too_much(&self, keep: Keep) -> Option<u64> {
        let enough = held(keep.messages);
        (self.limits.messages > enough).then_some(enough)
    }
}
