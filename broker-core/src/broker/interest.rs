//! What this node wants of its backend: a desired set, settled topic by topic.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Weak},
};

use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use tokio::{sync::Notify, time::Instant};

use super::Inner;
use crate::{
    backend::{BackendError, HistoryQuery, Interest, Retention},
    fanout::Left,
    log::TopicLog,
    table::{Tail, TopicId, TopicState},
    topic::TopicPattern,
};

/// Gives up what nobody on this node wants any more, one after the other.
#[derive(Default)]
pub(crate) struct Janitor {
    /// What has left twice is settled once.
    topics: Mutex<FxHashMap<TopicId, Arc<TopicState>>>,
    /// Shards wait for this lock, so nothing is searched for under it.
    patterns: Mutex<HashSet<TopicPattern>>,
    notify: Notify,
}

impl Janitor {
    pub(super) fn left(&self, left: Left) {
        match left {
            Left::Topic(topic) => {
                self.topics.lock().insert(topic.id(), topic);
            }
            Left::Pattern(pattern) => {
                self.patterns.lock().insert(pattern);
            }
        }
        self.notify.notify_one();
    }

    pub(super) async fn run(self: Arc<Self>, broker: Weak<Inner>) {
        loop {
            self.notify.notified().await;
            // All at once: to look for one after the other in a table that empties takes ever longer.
            let topics = std::mem::take(&mut *self.topics.lock());
            let patterns = std::mem::take(&mut *self.patterns.lock());
            for topic in topics.into_values() {
                let Some(broker) = broker.upgrade() else { return };
                broker.give_up(&topic).await;
                let name = topic.name().clone();
                drop(topic);
                broker.table.close_if_idle(&name);
            }
            for pattern in patterns {
                let Some(broker) = broker.upgrade() else { return };
                broker.give_up_pattern(&pattern).await;
            }
        }
    }
}

impl Inner {
    /// Sees to it that the backend gives this node the messages of a topic, and that the tail of a logged
    /// one is here. With the backend away this succeeds on an ephemeral topic, whose
    /// subscribers are told of the gap when it is back.
    pub(super) async fn want(&self, topic: &TopicState) -> Result<(), BackendError> {
        let _flight = topic.interest.lock().await;
        if is_ready(topic) {
            return Ok(());
        }
        topic.sequencer().asked = true;
        let subscribed = self.backend.subscribe(&topic.interest()).await;
        let top = match subscribed {
            Ok(top) => top,
            Err(error) if !topic.is_logged() && error.retry_can_help() => None,
            Err(error) => return Err(error),
        };
        if let Some(retention) = topic.retention() {
            topic.sequencer().tail = Tail::Filling { seen: top.map_or(0, |top| top.offset) };
            if let Err(error) = self.fill(topic, retention).await {
                topic.sequencer().tail = Tail::None;
                return Err(error);
            }
        }
        topic.sequencer().wanted = true;
        Ok(())
    }

    /// Reads a topic's log from the backend until nothing that was seen meanwhile is missing.
    async fn fill(&self, topic: &TopicState, retention: Retention) -> Result<(), BackendError> {
        let limit = self.limits.history_page_messages;
        let latest = match retention.latest_keys {
            0 => Vec::new(),
            _ => self.backend.history(topic.name(), HistoryQuery::Latest).await?.messages,
        };
        let query = HistoryQuery::Before { offset: None, limit: retention.history.messages };
        let first = self.backend.history(topic.name(), query).await?;
        let mut log = TopicLog::from_page(&first, self.capabilities.dense_offsets, retention, Instant::now());
        loop {
            {
                let mut sequencer = topic.sequencer();
                let Tail::Filling { seen } = sequencer.tail else { return Ok(()) };
                if log.last() >= seen {
                    log.restore_latest(&latest);
                    sequencer.tail = Tail::Ready(log);
                    return Ok(());
                }
            }
            let query = HistoryQuery::After { offset: log.last(), limit };
            let page = self.backend.history(topic.name(), query).await?;
            if page.epoch != log.epoch() {
                log = TopicLog::from_page(&page, self.capabilities.dense_offsets, retention, Instant::now());
                continue;
            }
            if page.messages.is_empty() {
                // It was seen, but is not retained.
                log.skip_to(page.last);
                if let Tail::Filling { seen } = &mut topic.sequencer().tail {
                    *seen = (*seen).min(page.last);
                }
            }
            for message in page.messages {
                log.append(message, Instant::now());
            }
        }
    }

    /// The same for a pattern; `anew` where the backend may have forgotten it.
    pub(super) async fn want_pattern(&self, pattern: &TopicPattern, anew: bool) -> Result<(), BackendError> {
        let flight = self.pattern_flights.of(pattern);
        let mut told = flight.lock().await;
        if *told == Told::Wanted && !anew {
            return Ok(());
        }
        *told = Told::Perhaps;
        match self.backend.subscribe(&Interest::Pattern(pattern.clone())).await {
            Err(error) if !error.retry_can_help() => Err(error),
            _ => {
                *told = Told::Wanted;
                Ok(())
            }
        }
    }

    /// Tells the backend that nobody here wants a topic any more, if that is still so.
    async fn give_up(&self, topic: &TopicState) {
        let _flight = topic.interest.lock().await;
        {
            let mut sequencer = topic.sequencer();
            if sequencer.has_subscribers() || !sequencer.asked {
                return;
            }
            sequencer.tail = Tail::None;
            sequencer.wanted = false;
            sequencer.asked = false;
            sequencer.forget_origins();
        }
        if let Err(error) = self.backend.unsubscribe(&topic.interest()).await {
            report(&error);
        }
    }

    async fn give_up_pattern(&self, pattern: &TopicPattern) {
        let flight = self.pattern_flights.of(pattern);
        {
            let mut told = flight.lock().await;
            if !self.table.patterns.contains(pattern) && *told != Told::Nothing {
                *told = Told::Nothing;
                if let Err(error) = self.backend.unsubscribe(&Interest::Pattern(pattern.clone())).await {
                    report(&error);
                }
            }
        }
        drop(flight);
        self.pattern_flights.forget(pattern);
    }

    /// Wants everything anew after the backend has been away, and finds out what was missed.
    pub(super) async fn resume(&self) {
        for pattern in self.table.patterns.all() {
            if let Err(error) = self.want_pattern(&pattern, true).await {
                report(&error);
            }
        }
        self.tell_patterns_lost();
        for topic in self.table.all() {
            if !topic.sequencer().has_subscribers() {
                continue;
            }
            let top = {
                let _flight = topic.interest.lock().await;
                self.backend.subscribe(&topic.interest()).await
            };
            match top {
                Ok(top) if topic.is_logged() => {
                    if let Some(top) = top {
                        self.catch_up_with(&topic, top).await;
                    }
                }
                Ok(_) => self.tell_lost(&topic, true),
                Err(error) => report(&error),
            }
        }
        self.tell_uncarried().await;
    }
}

/// What the backend was told of each pattern, with the lock under which it is told.
#[derive(Default)]
pub(crate) struct PatternFlights(Mutex<HashMap<TopicPattern, Arc<Flight>>>);

type Flight = tokio::sync::Mutex<Told>;

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Told {
    #[default]
    Nothing,
    /// Who asked may have gone before the answer came.
    Perhaps,
    Wanted,
}

impl PatternFlights {
    fn of(&self, pattern: &TopicPattern) -> Arc<Flight> {
        self.0.lock().entry(pattern.clone()).or_default().clone()
    }

    /// Forgets a pattern that nobody is about to settle.
    fn forget(&self, pattern: &TopicPattern) {
        let mut flights = self.0.lock();
        let is_idle = |flight: &Arc<Flight>| {
            Arc::strong_count(flight) == 1 && flight.try_lock().is_ok_and(|told| *told == Told::Nothing)
        };
        if flights.get(pattern).is_some_and(is_idle) {
            flights.remove(pattern);
        }
    }
}

/// A topic that somebody is about to subscribe to; dropped before they have, it is given up again.
pub(super) struct Opened<'a> {
    janitor: &'a Janitor,
    topic: Option<Arc<TopicState>>,
}

impl<'a> Opened<'a> {
    pub(super) fn new(janitor: &'a Janitor, topic: Arc<TopicState>) -> Self {
        Self { janitor, topic: Some(topic) }
    }

    /// Somebody has subscribed.
    pub(super) fn keep(mut self) {
        self.topic = None;
    }
}

impl Drop for Opened<'_> {
    fn drop(&mut self) {
        if let Some(topic) = self.topic.take() {
            self.janitor.left(Left::Topic(topic));
        }
    }
}

pub(super) fn is_ready(topic: &TopicState) -> bool {
    let sequencer = topic.sequencer();
    sequencer.wanted && (!topic.is_logged() || sequencer.log().is_some())
}

pub(super) fn report(error: &BackendError) {
    tracing::warn!(target: "fanfare::backend", error = error as &dyn std::error::Error, "the backend failed");
}
