//! What this node still owes: interests to be renewed, logs to be caught up with, losses to be told to others.
//! Each is settled by trying until it succeeds, a few at a time, with growing pauses.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Weak},
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use parking_lot::Mutex;
use tokio::{sync::Notify, time::Instant};

use super::{Inner, call::pause};
use crate::{
    backend::{BackendState, NodeId},
    table::{TopicId, TopicState},
    topic::TopicPattern,
};

/// How many debts are settled at once: a backend that is just back is not run over.
const AT_ONCE: usize = 16;

/// Something that is owed.
#[derive(Clone)]
pub(super) enum Debt {
    /// What the backend knows of this node's interest in a topic, and what was missed.
    Topic(Arc<TopicState>),
    /// A logged topic's tail may be behind its log.
    Tail(Arc<TopicState>),
    /// What the backend knows of this node's interest in a pattern.
    Pattern(TopicPattern),
    /// Other nodes have to hear what was not carried to them.
    Uncarried,
    /// The backend has to hear what logs there are, and to say whether it can keep them.
    Logs,
    /// Other nodes have to hear how this one is configured.
    Greeting,
    /// One other node has to hear it in full; whether it is to answer.
    Introduction(NodeId, bool),
}

/// Whether an attempt settled a debt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Settled {
    Done,
    NotYet,
}

#[derive(Clone, PartialEq, Eq, Hash)]
enum Key {
    Topic(TopicId),
    Tail(TopicId),
    Pattern(TopicPattern),
    Uncarried,
    Logs,
    Greeting,
    Introduction(NodeId, bool),
}

/// All debts, each once.
#[derive(Default)]
pub(crate) struct Settler {
    owed: Mutex<Owed>,
    notify: Notify,
}

#[derive(Default)]
struct Owed {
    /// Patterns come from clients, so the hasher is a keyed one.
    debts: HashMap<Key, (Debt, Due, u32)>,
    by_time: BTreeMap<Due, Key>,
    last: u64,
}

/// When, and in which order among those of one moment.
type Due = (Instant, u64);

impl Debt {
    fn key(&self) -> Key {
        match self {
            Self::Topic(topic) => Key::Topic(topic.id()),
            Self::Tail(topic) => Key::Tail(topic.id()),
            Self::Pattern(pattern) => Key::Pattern(pattern.clone()),
            Self::Uncarried => Key::Uncarried,
            Self::Logs => Key::Logs,
            Self::Greeting => Key::Greeting,
            Self::Introduction(node, wants_answer) => Key::Introduction(*node, *wants_answer),
        }
    }
}

impl Owed {
    fn put(&mut self, debt: Debt, at: Instant, failures: u32) {
        let key = debt.key();
        if let Some((_, due, failed)) = self.debts.get(&key) {
            // The earlier of two stands.
            if due.0 <= at {
                return;
            }
            let (due, failures) = (*due, failures.max(*failed));
            self.by_time.remove(&due);
            return self.insert(key, debt, at, failures);
        }
        self.insert(key, debt, at, failures);
    }

    fn insert(&mut self, key: Key, debt: Debt, at: Instant, failures: u32) {
        self.last += 1;
        let due = (at, self.last);
        self.by_time.insert(due, key.clone());
        self.debts.insert(key, (debt, due, failures));
    }

    fn take(&mut self, now: Instant) -> Option<(Debt, u32)> {
        let first = self.by_time.first_entry().filter(|first| first.key().0 <= now)?;
        let (debt, _, failures) = self.debts.remove(&first.remove())?;
        Some((debt, failures))
    }

    fn next(&self) -> Option<Instant> {
        self.by_time.first_key_value().map(|(due, _)| due.0)
    }
}

impl Settler {
    /// Something is owed from now on. What is owed already is owed once.
    pub(super) fn owe(&self, debt: Debt) {
        self.owed.lock().put(debt, Instant::now(), 0);
        self.notify.notify_one();
    }

    /// An attempt has failed just now; the next one is after a pause.
    pub(super) fn owe_later(&self, debt: Debt, failures: u32) {
        self.owed.lock().put(debt, Instant::now() + pause(failures.saturating_sub(1)), failures);
        self.notify.notify_one();
    }

    /// Settles what is owed, until the broker has gone.
    pub(super) async fn run(self: Arc<Self>, broker: Weak<Inner>) {
        let mut attempts = FuturesUnordered::new();
        loop {
            while attempts.len() < AT_ONCE
                && let Some((debt, failures)) = { self.owed.lock().take(Instant::now()) }
            {
                attempts.push(attempt(broker.clone(), debt, failures));
            }
            let next = if attempts.len() < AT_ONCE { self.owed.lock().next() } else { None };
            let due = async {
                match next {
                    Some(next) => tokio::time::sleep_until(next).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                Some((debt, failures, settled)) = attempts.next() => {
                    if settled == Settled::NotYet {
                        self.owe_later(debt, failures + 1);
                    }
                }
                () = due => {}
                () = self.notify.notified() => {}
            }
            if broker.strong_count() == 0 {
                return;
            }
        }
    }
}

async fn attempt(broker: Weak<Inner>, debt: Debt, failures: u32) -> (Debt, u32, Settled) {
    let settled = match broker.upgrade() {
        Some(broker) => broker.settle(&debt).await,
        None => Settled::Done,
    };
    (debt, failures, settled)
}

impl Inner {
    pub(super) fn owe(&self, debt: Debt) {
        self.settler.owe(debt);
    }

    pub(super) fn is_up(&self) -> bool {
        *self.backend_state.borrow() == BackendState::Up
    }

    /// The backend can be reached, or no longer.
    pub(crate) fn backend_state(&self, state: BackendState) {
        let before = self.backend_state.send_replace(state);
        if before == state {
            return;
        }
        tracing::info!(target: "fanfare::backend", ?state, "the backend's state has changed");
        if state == BackendState::Up {
            self.resume();
        }
    }

    /// Everything that is wanted is wanted anew, and what was missed has to be found out.
    fn resume(&self) {
        for pattern in self.table.patterns.all() {
            self.table.patterns.become_deaf(&pattern);
            self.owe(Debt::Pattern(pattern));
        }
        for topic in self.table.all() {
            if topic.sequencer().become_deaf() {
                self.owe(Debt::Topic(topic));
            }
        }
        self.owe(Debt::Logs);
        self.owe(Debt::Uncarried);
        self.owe(Debt::Greeting);
    }

    /// One attempt. While the backend is away there is none: its return owes everything anew.
    async fn settle(&self, debt: &Debt) -> Settled {
        if !self.is_up() {
            return Settled::Done;
        }
        match debt {
            Debt::Topic(topic) => self.settle_topic(topic).await,
            Debt::Tail(topic) => self.settle_tail(topic).await,
            Debt::Pattern(pattern) => self.settle_pattern(pattern).await,
            Debt::Uncarried => self.tell_uncarried().await,
            Debt::Logs => self.prepare_logs().await,
            Debt::Greeting => self.greet().await,
            Debt::Introduction(node, wants_answer) => self.introduce(*node, *wants_answer).await,
        }
    }

    /// Says what logs there are before anybody needs one: what keeps them from working is said now.
    async fn prepare_logs(&self) -> Settled {
        let logs = self.table.retentions();
        if logs.is_empty() || self.capabilities.inline {
            return Settled::Done;
        }
        match self.call("prepare", self.backend.prepare(&logs)).await {
            Err(error) if error.retry_can_help() => Settled::NotYet,
            _ => Settled::Done,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn pattern(text: &str) -> Debt {
        Debt::Pattern(TopicPattern::new(text).unwrap())
    }

    fn text(debt: &Debt) -> &str {
        match debt {
            Debt::Pattern(pattern) => pattern.as_str(),
            _ => panic!("no pattern"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_owed_twice_is_settled_once_and_at_the_earlier_time() {
        let mut owed = Owed::default();
        let now = Instant::now();
        owed.put(pattern("a"), now + Duration::from_secs(2), 3);
        owed.put(pattern("b"), now + Duration::from_secs(1), 0);
        owed.put(pattern("a"), now, 0);
        owed.put(pattern("a"), now + Duration::from_secs(9), 7);
        assert_eq!(owed.next(), Some(now));
        let (debt, failures) = owed.take(now).unwrap();
        assert_eq!((text(&debt), failures), ("a", 3));
        assert!(owed.take(now).is_none(), "b is not due yet, and a was owed once");
        assert_eq!(owed.next(), Some(now + Duration::from_secs(1)));
        assert_eq!(text(&owed.take(now + Duration::from_secs(1)).unwrap().0), "b");
        assert!(owed.debts.is_empty() && owed.by_time.is_empty());
    }
}
