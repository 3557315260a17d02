//! What this node wants of its backend: a desired set, settled topic by topic.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Weak},
};

use futures_util::FutureExt;
use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use tokio::sync::Notify;

use super::{
    Inner,
    settle::{Debt, Settled},
};
use crate::{
    backend::{BackendError, BackendErrorKind, Interest},
    fanout::{Left, Whom},
    message::Position,
    table::{TopicId, TopicState},
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
    /// one is here. Where the backend does not answer this succeeds on an ephemeral topic: it is tried again until it
    /// does, and the subscribers are told of the gap then.
    pub(super) async fn want(&self, topic: &Arc<TopicState>) -> Result<(), BackendError> {
        let failures = topic.interest.failures();
        let mut flight = topic.interest.lock().await;
        if is_ready(topic) {
            return Ok(());
        }
        if let Some(error) = flight.failed_since(failures) {
            return Err(error);
        }
        let result = self.try_to_want(topic).await;
        if let Err(error) = &result {
            flight.fail(error);
        }
        result
    }

    /// Sees to it that the backend gives this node what is for connections themselves, from its start to its end.
    pub(super) async fn want_nodes(&self) -> Result<(), BackendError> {
        if self.capabilities.inline { Ok(()) } else { self.want(&self.table.direct).await }
    }

    async fn try_to_want(&self, topic: &Arc<TopicState>) -> Result<(), BackendError> {
        topic.sequencer().asked = true;
        match self.subscribe(&topic.interest()).await {
            Ok(top) => {
                if let Some(retention) = topic.retention() {
                    self.fill(topic, retention, top).await?;
                }
                topic.sequencer().wanted = true;
            }
            Err(error) if !topic.is_logged() && error.retry_can_help() => {
                {
                    let mut sequencer = topic.sequencer();
                    sequencer.wanted = true;
                    sequencer.become_deaf();
                }
                self.settler.owe_later(Debt::Topic(topic.clone()), 1);
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Tells the backend of an interest; fails at once while it is known to be away.
    async fn subscribe(&self, interest: &Interest) -> Result<Option<Position>, BackendError> {
        if !self.is_up() {
            let message = "the backend is away";
            return Err(BackendError::new(BackendErrorKind::Unavailable, "subscribe", message));
        }
        self.call("subscribe", self.backend.subscribe(interest)).await
    }

    /// Tells the backend that an interest is over: also while it is away, in case that it renews interests
    /// by itself, but then without waiting.
    async fn unsubscribe(&self, interest: &Interest) -> Settled {
        let mut unsubscribed = self.backend.unsubscribe(interest);
        if !self.is_up() {
            let _ = (&mut unsubscribed).now_or_never();
            return Settled::Done;
        }
        match self.call("unsubscribe", unsubscribed).await {
            Err(error) if error.retry_can_help() => Settled::NotYet,
            Err(_) => Settled::Done,
            Ok(()) => Settled::Done,
        }
    }

    /// The same for a pattern.
    pub(super) async fn want_pattern(&self, pattern: &TopicPattern) -> Result<(), BackendError> {
        let flight = self.pattern_flights.of(pattern);
        let mut told = flight.lock().await;
        if matches!(*told, Told::Wanted | Told::Owed) {
            return Ok(());
        }
        *told = Told::Perhaps;
        match self.subscribe(&Interest::Pattern(pattern.clone())).await {
            Ok(_) => *told = Told::Wanted,
            Err(error) if error.retry_can_help() => {
                *told = Told::Owed;
                self.table.patterns.become_deaf(pattern);
                self.settler.owe_later(Debt::Pattern(pattern.clone()), 1);
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Tells the backend that nobody here wants a topic any more, if that is still so.
    async fn give_up(&self, topic: &Arc<TopicState>) {
        if self.try_to_give_up(topic).await == Settled::NotYet {
            self.settler.owe_later(Debt::Topic(topic.clone()), 1);
        }
    }

    async fn try_to_give_up(&self, topic: &TopicState) -> Settled {
        let _flight = topic.interest.lock().await;
        {
            let mut sequencer = topic.sequencer();
            if sequencer.has_subscribers() || !sequencer.asked {
                return Settled::Done;
            }
            sequencer.leave();
        }
        let settled = self.unsubscribe(&topic.interest()).await;
        // The backend may still give it to this node.
        topic.sequencer().asked = settled == Settled::NotYet;
        settled
    }

    async fn give_up_pattern(&self, pattern: &TopicPattern) {
        if self.try_to_give_up_pattern(pattern).await == Settled::NotYet {
            self.settler.owe_later(Debt::Pattern(pattern.clone()), 1);
        }
    }

    async fn try_to_give_up_pattern(&self, pattern: &TopicPattern) -> Settled {
        let flight = self.pattern_flights.of(pattern);
        let mut settled = Settled::Done;
        {
            let mut told = flight.lock().await;
            if !self.table.patterns.contains(pattern) && *told != Told::Nothing {
                self.table.patterns.hears(pattern);
                settled = self.unsubscribe(&Interest::Pattern(pattern.clone())).await;
                *told = if settled == Settled::Done { Told::Nothing } else { Told::Perhaps };
            }
        }
        drop(flight);
        self.pattern_flights.forget(pattern);
        settled
    }

    /// Tells the backend anew that a topic is wanted, and finds out what was missed meanwhile.
    pub(super) async fn settle_topic(&self, topic: &Arc<TopicState>) -> Settled {
        if !topic.sequencer().wanted {
            let settled = self.try_to_give_up(topic).await;
            if settled == Settled::Done {
                // Nothing need be kept of it.
                self.janitor.left(Left::Topic(topic.clone()));
            }
            return settled;
        }
        let subscribed = {
            let _flight = topic.interest.lock().await;
            if !topic.sequencer().wanted {
                return Settled::Done;
            }
            self.subscribe(&topic.interest()).await
        };
        match subscribed {
            Err(_) => Settled::NotYet,
            Ok(top) if topic.is_logged() => self.catch_up_with(topic, top).await,
            Ok(_) => {
                self.tell_lost(topic, Whom::ByName);
                Settled::Done
            }
        }
    }

    /// The same for a pattern.
    pub(super) async fn settle_pattern(&self, pattern: &TopicPattern) -> Settled {
        {
            let flight = self.pattern_flights.of(pattern);
            let mut told = flight.lock().await;
            if self.table.patterns.contains(pattern) {
                *told = Told::Owed;
                return match self.subscribe(&Interest::Pattern(pattern.clone())).await {
                    Err(_) => Settled::NotYet,
                    Ok(_) => {
                        *told = Told::Wanted;
                        self.table.patterns.hears(pattern);
                        self.tell_patterns_lost(Some(pattern));
                        Settled::Done
                    }
                };
            }
        }
        self.try_to_give_up_pattern(pattern).await
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
    /// It does not know yet, and is told again and again.
    Owed,
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
