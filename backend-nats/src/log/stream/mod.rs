//! The stream that holds the logs.
//!
//! Its identity is the epoch of all logs in it. A stream that the backend creates has the epoch in its name, and the name is in every
//! acknowledgement, in every message that it publishes again and in every answer to a read; a message goes to a stream by its name.
//! So nothing is ever taken for a part of another log, however streams are deleted and made anew.

mod config;
mod find;
mod limits;

use std::{
    collections::{HashMap, HashSet},
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use fanfare_core::{backend::Retention, message::Epoch};
pub(crate) use limits::Limits;
use parking_lot::Mutex;

use super::{Keep, api::Api};
use crate::{names::Names, settings::Settings, wire::Queue};

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
    pub(in crate::log) trimming: Mutex<HashSet<Arc<str>>>,
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

    pub(in crate::log) fn version(&self) -> (u64, u64) {
        self.state.lock().version
    }

    /// The stream, where it is known.
    pub(in crate::log) fn known(&self) -> Option<Arc<Stream>> {
        self.state.lock().stream.clone()
    }

    pub(in crate::log) fn knows_values(&self) -> bool {
        self.state.lock().knows_values
    }

    pub(in crate::log) fn know_values(&self) {
        self.state.lock().knows_values = true;
    }

    pub(in crate::log) fn forget_values(&self) {
        self.state.lock().knows_values = false;
    }

    /// Whether a read may be answered by a server that does not have all.
    pub(in crate::log) fn is_replicated(&self) -> bool {
        self.settings.logs.replicas > 1 || self.known().is_some_and(|stream| stream.is_replicated())
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
}

impl Stream {
    /// Whether any of several servers may answer a read, so that one may not have all yet.
    pub(crate) fn is_replicated(&self) -> bool {
        self.replicas > 1
    }

    /// Whether messages of a topic are held that are many more than it retains.
    pub(crate) fn holds_too_much(&self, keep: Keep) -> Option<u64> {
        let enough = limits::held(keep.messages);
        (self.limits.messages > enough).then_some(enough)
    }
}

/// The epoch of a stream that somebody else has made.
fn identity(name: &str, created: &str) -> Epoch {
    // The hasher has no random state: every node comes to the same.
    let mut hasher = DefaultHasher::new();
    (name, created).hash(&mut hasher);
    Epoch::new(hasher.finish().max(1))
}
