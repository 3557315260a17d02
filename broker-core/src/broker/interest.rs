//! What this node wants of its backend: a desired set, settled topic by topic.

use std::sync::{Arc, Weak};

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
    /// Topics by number and patterns by text: what has left twice is settled once.
    topics: Mutex<FxHashMap<TopicId, Arc<TopicState>>>,
    patterns: Mutex<Vec<TopicPattern>>,
    notify: Notify,
}

impl Janitor {
    pub(super) fn left(&self, left: Left) {
        match left {
            Left::Topic(topic) => {
                self.topics.lock().insert(topic.id(), topic);
            }
            Left::Pattern(pattern) => {
                let mut patterns = self.patterns.lock();
                if !patterns.contains(&pattern) {
                    patterns.push(pattern);
                }
            }
        }
        self.notify.notify_one();
    }

    pub(super) async fn run(self: Arc<Self>, broker: Weak<Inner>) {
        loop {
            self.notify.notified().await;
            loop {
                let Some(broker) = broker.upgrade() else { return };
                let topic = {
                    let mut topics = self.topics.lock();
                    let id = topics.keys().next().copied();
                    id.and_then(|id| topics.remove(&id))
                };
                let pattern = self.patterns.lock().pop();
                if topic.is_none() && pattern.is_none() {
                    break;
                }
                if let Some(topic) = topic {
                    broker.give_up(&topic).await;
                    let name = topic.name().clone();
                    drop(topic);
                    broker.table.close_if_idle(&name);
                }
                if let Some(pattern) = pattern {
                    broker.give_up_pattern(&pattern).await;
                }
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

    pub(super) async fn want_pattern(&self, pattern: &TopicPattern) -> Result<(), BackendError> {
        match self.backend.subscribe(&Interest::Pattern(pattern.clone())).await {
            Err(error) if error.retry_can_help() => Ok(()),
            other => other.map(drop),
        }
    }

    /// Tells the backend that nobody here wants a topic any more, if that is still so.
    async fn give_up(&self, topic: &TopicState) {
        let _flight = topic.interest.lock().await;
        {
            let mut sequencer = topic.sequencer();
            if sequencer.has_subscribers() || !sequencer.wanted {
                return;
            }
            sequencer.tail = Tail::None;
            sequencer.wanted = false;
            sequencer.forget_origins();
        }
        if let Err(error) = self.backend.unsubscribe(&topic.interest()).await {
            report(&error);
        }
    }

    async fn give_up_pattern(&self, pattern: &TopicPattern) {
        if self.table.patterns.contains(pattern) {
            return;
        }
        if let Err(error) = self.backend.unsubscribe(&Interest::Pattern(pattern.clone())).await {
            report(&error);
        }
        // Somebody may have come back meanwhile: wanting twice is the same as once.
        if self.table.patterns.contains(pattern) {
            let _ = self.want_pattern(pattern).await;
        }
    }

    /// Wants everything anew after the backend has been away, and finds out what was missed.
    pub(super) async fn resume(&self) {
        for pattern in self.table.patterns.all() {
            if let Err(error) = self.want_pattern(&pattern).await {
                report(&error);
            }
        }
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
                Ok(_) => self.tell_lost(&topic, None),
                Err(error) => report(&error),
            }
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
