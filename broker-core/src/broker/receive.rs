//! What arrives from other nodes, and what did not.

use std::sync::Arc;

use parking_lot::MutexGuard;
use tokio::time::Instant;

use super::{Inner, interest::report};
use crate::{
    backend::{BackendState, HistoryQuery, Incoming, Origin},
    fanout::{Cost, Event, Item, Op, Reservation, Special, bits},
    log::TopicLog,
    message::{Gap, GapReason, LogPlace, Message, MessageParts, Position},
    table::{Arrival, Sequencer, Tail, TopicState},
    topic::TopicName,
};

impl Inner {
    /// Takes a message from the backend: the same way as one that is published here, but that its
    /// order is given.
    pub(crate) async fn receive(&self, incoming: Incoming) {
        match (incoming.log, incoming.origin) {
            (Some(place), _) => {
                if let Some(topic) = self.topic_for_receiving(&incoming.message.topic) {
                    self.receive_logged(&topic, Arc::new(Message::logged(incoming.message, place)), place)
                        .await;
                }
            }
            // Local subscribers were served when it was published.
            (None, Some(origin)) if origin.node != self.node => {
                self.receive_ephemeral(incoming, origin).await
            }
            _ => {}
        }
    }

    pub(super) fn topic_for_receiving(&self, name: &TopicName) -> Option<Arc<TopicState>> {
        self.table
            .find(name)
            .or_else(|| (self.table.patterns.shards(name).0 != 0).then(|| self.table.open(name).ok())?)
    }

    async fn receive_ephemeral(&self, incoming: Incoming, origin: Origin) {
        let Incoming { message, also, .. } = incoming;
        let several = !also.is_empty();
        let special = several.then(|| {
            let copies = self.inboxes.iter().map(|_| Default::default()).collect();
            Arc::new(Special { report: None, copies: Some(copies) })
        });
        let first = (message.topic.clone(), origin);
        for (name, origin) in std::iter::once(first).chain(also) {
            let Some(topic) = self.topic_for_receiving(&name) else { continue };
            let parts = MessageParts { topic: topic.name().clone(), ..message.clone() };
            let cost = self.inboxes[0].cost(parts.payload.len(), 1);
            let mut permits = Reservation::none(&self.inboxes, cost);
            let message = Arc::new(Message::ephemeral(parts));
            loop {
                let shards = {
                    let mut sequencer = topic.sequencer();
                    let shards = sequencer.shards(topic.name(), &self.table.patterns);
                    if permits.try_extend(shards) {
                        let Some(missed) = sequencer.hear(origin) else { break };
                        if missed > 0 {
                            let gap = Gap::new(GapReason::Backend, Some(missed));
                            self.push_lost(&topic, &mut sequencer, gap);
                        }
                        let cost = permits.use_up(shards);
                        let event = || Event::Message { message: message.clone(), special: special.clone() };
                        self.push_all(&topic, shards, cost, event);
                        break;
                    }
                    shards
                };
                permits.extend(shards).await;
            }
        }
    }

    /// Takes a logged message: the next one goes on, what is missing before it is read from the backend first.
    async fn receive_logged(&self, topic: &Arc<TopicState>, message: Arc<Message>, place: LogPlace) {
        let arrival = topic.sequencer().arrival(place);
        match arrival {
            Arrival::Repeat => return,
            Arrival::Hole => self.backfill(topic).await,
            Arrival::OtherEpoch if self.is_of_the_past(topic, place).await => {
                return self.backfill(topic).await;
            }
            Arrival::OtherEpoch => {
                self.begin_epoch(topic, Position::new(place.position.epoch, 0));
                if place.prev > 0 {
                    self.backfill(topic).await;
                }
            }
            Arrival::Next | Arrival::Unwatched => {}
        }
        // What could not be read is told as a gap by the message that does not follow.
        self.commit_logged(topic, message, place).await;
    }

    /// Whether a message of another log than the one that is held is from a log that is no more: what was on
    /// its way when a log was replaced does not bring that one back.
    async fn is_of_the_past(&self, topic: &TopicState, place: LogPlace) -> bool {
        let query = HistoryQuery::After { offset: 0, limit: 1 };
        match self.backend.history(topic.name(), query).await {
            Ok(page) => {
                let held = topic.sequencer().log().map(TopicLog::epoch);
                // A log that was never written to may have no name of its own.
                page.epoch != place.position.epoch && (page.last > 0 || held == Some(page.epoch))
            }
            // Which log is the present one is found out when the backend is back, or with the next message.
            Err(error) => {
                report(&error);
                true
            }
        }
    }

    /// Fans out a logged message at its place, unless it has been.
    async fn commit_logged(&self, topic: &Arc<TopicState>, message: Arc<Message>, place: LogPlace) {
        let cost = self.inboxes[0].cost(message.payload().len(), 1);
        let mut permits = Reservation::none(&self.inboxes, cost);
        loop {
            let shards = {
                let mut sequencer = topic.sequencer();
                let shards = sequencer.shards(topic.name(), &self.table.patterns);
                if permits.try_extend(shards) {
                    if matches!(sequencer.arrival(place), Arrival::Repeat | Arrival::OtherEpoch) {
                        return;
                    }
                    sequencer.append(message.clone());
                    let cost = permits.use_up(shards);
                    let event = || Event::Message { message: message.clone(), special: None };
                    self.push_all(topic, shards, cost, event);
                    return;
                }
                shards
            };
            permits.extend(shards).await;
        }
    }

    /// Takes a message that an inline backend has just stored, under the topic's lock.
    pub(crate) fn sequence(
        &self,
        topic: &Arc<TopicState>,
        sequencer: &mut MutexGuard<'_, Sequencer>,
        message: Arc<Message>,
    ) {
        let Some(place) = message.place() else { return };
        if sequencer.arrival(place) == Arrival::OtherEpoch {
            self.replace_log(topic, sequencer, Position::new(place.position.epoch, place.prev));
        }
        sequencer.append(message);
    }

    /// Reads what follows the tail from the backend, one reader at a time.
    async fn backfill(&self, topic: &Arc<TopicState>) {
        let _flight = topic.backfill.lock().await;
        loop {
            let Some(last) = topic.sequencer().log().map(TopicLog::top) else { return };
            let query = HistoryQuery::After { offset: last.offset, limit: self.limits.history_page_messages };
            let page = match self.backend.history(topic.name(), query).await {
                Ok(page) => page,
                Err(error) => return report(&error),
            };
            self.totals.backfills.add(1);
            if page.epoch != last.epoch {
                self.begin_epoch(topic, Position::new(page.epoch, 0));
                if page.last == 0 {
                    return;
                }
                continue;
            }
            let more = page.more && !page.messages.is_empty();
            for message in page.messages {
                if let Some(place) = message.place() {
                    self.commit_logged(topic, message, place).await;
                }
            }
            if !more {
                return;
            }
        }
    }

    /// Sees to it that a logged topic's tail reaches a position.
    pub(super) async fn catch_up_with(&self, topic: &Arc<TopicState>, top: Position) {
        let held = topic.sequencer().log().map(TopicLog::top);
        match held {
            Some(held) if held.epoch != top.epoch => {
                self.begin_epoch(topic, Position::new(top.epoch, 0));
                self.backfill(topic).await;
            }
            Some(held) if held.offset < top.offset => self.backfill(topic).await,
            _ => {}
        }
    }

    fn begin_epoch(&self, topic: &Arc<TopicState>, position: Position) {
        let mut sequencer = topic.sequencer();
        if sequencer.log().is_some_and(|log| log.epoch() != position.epoch) {
            self.replace_log(topic, &mut sequencer, position);
        }
    }

    /// The topic's log is another one: subscribers are told, and go on after a position of the new one.
    fn replace_log(&self, topic: &Arc<TopicState>, sequencer: &mut Sequencer, position: Position) {
        let Some(retention) = topic.retention() else { return };
        let mut log = TopicLog::new(position.epoch, self.capabilities.dense_offsets, retention);
        log.skip_to(position.offset);
        sequencer.tail = Tail::Ready(log);
        let shards = sequencer.shards(topic.name(), &self.table.patterns);
        self.push_all(topic, shards, Cost::default(), || Event::NewEpoch(position));
    }

    /// Something of a topic, or of any topic, was lost on the way to this node.
    pub(crate) fn lost(&self, topic: Option<&TopicName>) {
        let topics = match topic {
            Some(name) => self.topic_for_receiving(name).into_iter().collect(),
            None => self.table.all(),
        };
        if topic.is_none() {
            self.tell_patterns_lost();
        }
        for state in topics {
            if state.sequencer().fill_again() {
                continue;
            }
            if state.sequencer().log().is_some() {
                if let Some(broker) = self.weak().upgrade() {
                    tokio::spawn(async move { broker.backfill(&state).await });
                }
            } else if !state.is_logged() || topic.is_some() {
                // Who is subscribed to a logged topic by a pattern alone has no log to read it from.
                self.tell_lost(&state, topic.is_none());
            }
        }
    }

    /// Tells all subscribers of a topic that messages were lost, under the topic's lock.
    pub(super) fn push_lost(&self, topic: &Arc<TopicState>, sequencer: &mut Sequencer, gap: Gap) {
        let shards = sequencer.shards(topic.name(), &self.table.patterns);
        self.push_all(topic, shards, Cost::default(), || Event::Lost(gap.clone()));
    }

    /// Tells the subscribers of a topic whose log is not held here that messages were lost; by name only, where
    /// those by pattern are told anyway.
    pub(super) fn tell_lost(&self, topic: &Arc<TopicState>, by_name_only: bool) {
        let mut sequencer = topic.sequencer();
        sequencer.forget_origins();
        let shards = sequencer.shards(topic.name(), &self.table.patterns);
        let gap = Gap::new(GapReason::Backend, None);
        let event = if by_name_only { Event::LostByName } else { Event::Lost };
        self.push_all(topic, shards, Cost::default(), || event(gap.clone()));
    }

    /// Tells those who are subscribed to patterns that messages of any topic may have been lost.
    pub(super) fn tell_patterns_lost(&self) {
        if !self.table.patterns.all().is_empty() {
            for inbox in &self.inboxes {
                inbox.send(Op::PatternsLost(Gap::new(GapReason::Backend, None)));
            }
        }
    }

    /// The backend can be reached, or no longer.
    pub(crate) fn backend_state(&self, state: BackendState) {
        let before = self.backend_state.send_replace(state);
        if before == state {
            return;
        }
        tracing::info!(target: "fanfare::backend", ?state, "the backend's state has changed");
        if state == BackendState::Up
            && let Some(broker) = self.weak().upgrade()
        {
            tokio::spawn(async move { broker.resume().await });
        }
    }

    /// Gives an event to shards, under the topic's lock.
    fn push_all(&self, topic: &Arc<TopicState>, shards: u64, cost: Cost, event: impl Fn() -> Event) {
        for index in bits(shards) {
            self.inboxes[index].push(Item { topic: topic.clone(), event: event(), cost });
        }
    }
}

/// Keeps the log's clock in one place.
pub(super) fn expire(log: &mut TopicLog) {
    log.expire(Instant::now());
}
