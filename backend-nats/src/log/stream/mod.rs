//! The stream that holds the logs.
//!
//! Its identity is the epoch of all logs in it. A stream that the backend creates has the epoch in its name, and the name is in every
//! acknowledgement, in every message that it publishes again and in every answer to a read; a message goes to a stream by its name.
//! So nothing is ever taken for a part of another log, however streams are deleted and made anew.

mod config;
mod find;
mod limits;
mod watch;

use std::{collections::HashMap, sync::Arc};

pub(in crate::log) use config::unfit_in;
use fanfare_core::{backend::Retention, message::Epoch};
pub(crate) use limits::Limits;
use parking_lot::Mutex;

use super::{Keep, api::Api, same::Acknowledged, trim::Trim};
use crate::{
    names::Names,
    settings::{Settings, Streams},
    wire::Queue,
};

/// Of how many streams it is remembered that they were met.
const MAX_EPOCHS: usize = 64;

/// The stream that holds the logs, as long as nothing says that it is another.
pub(crate) struct Logs {
    pub(crate) api: Api,
    pub(crate) names: Arc<Names>,
    pub(crate) settings: Arc<Settings>,
    queue: Arc<Queue>,
    state: Mutex<State>,
    /// One task at a time looks for the stream.
    looking: tokio::sync::Mutex<()>,
    /// A stream has been found that is another one than that which had its name.
    another: tokio::sync::Notify,
    pub(in crate::log) acknowledged: Mutex<Acknowledged>,
    /// The subjects that are being trimmed, and what is to be done next.
    pub(in crate::log) trimming: Mutex<HashMap<Arc<str>, Option<Trim>>>,
}

#[derive(Default)]
struct State {
    stream: Option<Arc<Stream>>,
    /// The same; also while it is looked whether it holds enough.
    certain: Option<Arc<Stream>>,
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
        let (state, looking, another, acknowledged, trimming) = Default::default();
        Self { api, names, settings, queue, state, looking, another, acknowledged, trimming }
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
        (state.stream, state.certain, state.knows_values) = (None, None, false);
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

    /// The stream that has been looked at since we are connected, and has not been gone since.
    pub(in crate::log) fn certain(&self) -> Option<Arc<Stream>> {
        self.state.lock().certain.clone()
    }

    fn is_managed(&self) -> bool {
        !self.is_checked()
    }

    pub(in crate::log) fn is_checked(&self) -> bool {
        self.settings.logs.streams == Streams::Checked
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

    /// A message of ours has been pushed that a stream has stored. If it is not the one that is known, that one has been replaced.
    pub(crate) fn has_pushed(&self, stream: &str, offset: u64) {
        self.has_reached(stream, offset);
        let Some(epoch) = self.names.epoch(stream) else { return };
        let mut state = self.state.lock();
        let is_new = state.stream.as_ref().is_some_and(|known| *known.name != *stream)
            && !state.epochs.contains_key(stream);
        if is_new {
            if state.epochs.len() > MAX_EPOCHS {
                state.epochs.clear();
            }
            state.epochs.insert(stream.to_owned(), epoch);
            drop(state);
            self.forget();
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
pub(in crate::log) fn identity(name: &str, created: &str) -> Epoch {
    // FNV-1a: every node comes to the same, whatever compiled it.
    let bytes = name.bytes().chain([0]).chain(created.bytes());
    let hash = bytes
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    Epoch::new(hash.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_epoch_of_a_stream_is_the_same_for_ever() {
        let of = |name, created| identity(name, created).value();
        assert_eq!(of("logs", "2024-01-01T00:00:00Z"), 0x671c_2b41_4ee7_dd90);
        assert_ne!(of("logs", "2024-01-01T00:00:01Z"), 0x671c_2b41_4ee7_dd90);
        assert_ne!(of("log", "s2024-01-01T00:00:00Z"), of("logs", "2024-01-01T00:00:00Z"));
    }
}
