//! What arrives from other nodes, in the order that it is given.

use std::sync::Arc;

use parking_lot::MutexGuard;
use tokio::time::Instant;

use super::{Inner, backfill::Read, settle::Debt};
use crate::{
    backend::{HistoryQuery, Incoming, Origin},
    fanout::{Cost, Event, Item, Reservation, Special, Whom, bits},
    log::TopicLog,
    message::{Epoch, Gap, GapReason, LogPlace, Message, MessageParts, Position},
    publish::addressed,
    table::{Arrival, PatternArrival, Sequencer, Tail, TopicId, TopicState},
    topic::TopicName,
};

/// How a logged message came.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// The backend gave it, after all that it gives of the topic before it.
    Given,
    /// It was read from the history.
    Read,
}

impl Inner {
    /// Takes a message from the backend: the same way as one that is published here, but that its
    /// order is given.
    pub(crate) async fn receive(&self, incoming: Incoming) {
        match (incoming.log, incoming.origin) {
            (Some(place), origin) => {
                let own = origin.filter(|origin| origin.node == self.node);
                let special = own.and_then(|origin| self.echoes.take(origin));
                if let Some(topic) = self.topic_for_receiving(&incoming.message.topic) {
                    let message = Arc::new(Message::logged(incoming.message, place));
                    self.receive_logged(&topic, message, place, special).await;
                } else {
                    fans_out(special.as_ref());
                }
            }
            // Local subscribers were served when it was published.
            (None, Some(origin)) if origin.node != self.node => {
                self.receive_ephemeral(incoming, origin).await
            }
            _ => {}
        }
    }

    /// The topic, if anybody here is subscribed to it. Where it would be one more than there may be, those who are subscribed by a
    /// pattern are told that they miss something.
    pub(super) fn topic_for_receiving(&self, name: &TopicName) -> Option<Arc<TopicState>> {
        let held = self.table.find(name);
        if held.is_some() || self.table.patterns.shards(name).0 == 0 {
            return held;
        }
        let opened = self.table.open(name);
        if opened.is_err() {
            self.tell_patterns_lost(None);
        }
        opened.ok()
    }

    async fn receive_ephemeral(&self, incoming: Incoming, origin: Origin) {
        let Incoming { mut message, also, .. } = incoming;
        let to = addressed::read(message.message_id.take().as_deref());
        let several = also.len() + to.len() > 1 || (to.is_empty() && !also.is_empty());
        let special = several.then(|| {
            let copies = self.inboxes.iter().map(|_| Default::default()).collect();
            Arc::new(Special { report: None, copies: Some(copies) })
        });
        let first = (message.topic.clone(), origin);
        for (name, origin) in std::iter::once(first).chain(also) {
            let Some(topic) = self.topic_for_receiving(&name) else { continue };
            if topic.id() == TopicId::DIRECT {
                self.receive_addressed(&message, &to, origin, special.as_ref()).await;
                continue;
            }
            let parts = MessageParts { topic: topic.name().clone(), ..message.clone() };
            let cost = self.inboxes[0].cost(parts.payload.len(), 1);
            let mut permits = Reservation::none(&self.inboxes, cost);
            let message = Arc::new(Message::ephemeral(parts));
            loop {
                let shards = {
                    let mut sequencer = topic.sequencer();
                    let shards = sequencer.shards(topic.name(), &self.table.patterns);
                    if permits.try_extend(shards) {
                        let Some(before) = sequencer.hear(origin) else { break };
                        if let Some((gap, whom)) = self.lost_before(&mut sequencer, before) {
                            self.push_lost(&topic, &mut sequencer, gap, whom);
                        }
                        self.tell_deaf_patterns(&topic, &mut sequencer);
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
    async fn receive_logged(
        &self,
        topic: &Arc<TopicState>,
        message: Arc<Message>,
        place: LogPlace,
        mut special: Option<Arc<Special>>,
    ) {
        loop {
            let (arrival, held) = {
                let mut sequencer = topic.sequencer();
                (sequencer.arrival(place), sequencer.log().map(TopicLog::epoch))
            };
            let read = match (arrival, held) {
                // The message itself may be read as well.
                (Arrival::Hole, _) => self.backfill_with(topic, Some(place), &mut special).await,
                (Arrival::OtherEpoch, Some(held)) => {
                    if self.is_of_the_past(topic, place).await {
                        return;
                    }
                    if !self.begin_epoch(topic, held, place.position.epoch) {
                        continue;
                    }
                    match place.prev {
                        0 => Read::All,
                        _ => self.backfill_with(topic, Some(place), &mut special).await,
                    }
                }
                // Those who are subscribed by a pattern may not have it yet: what a tail is filled with goes to nobody.
                _ => Read::All,
            };
            if read == Read::Later {
                // It is read with what is before it.
                fans_out(special.as_ref());
                return self.owe(Debt::Tail(topic.clone()));
            }
            break;
        }
        // What could not be read is told as a gap by the message that does not follow.
        self.commit_logged(topic, message, place, Way::Given, special).await;
    }

    /// Whether a message of another log than the one that is held is from a log that is no more: what was on
    /// its way when a log was replaced does not bring that one back. The backend is asked once in a while, and not for
    /// each such message.
    async fn is_of_the_past(&self, topic: &Arc<TopicState>, place: LogPlace) -> bool {
        let epoch = place.position.epoch;
        if topic.sequencer().is_past(epoch, Instant::now()) {
            return true;
        }
        let is_past = match self.read(topic, HistoryQuery::After { offset: 0, limit: 1 }).await {
            Ok(page) => {
                let held = topic.sequencer().log().map(TopicLog::epoch);
                if held.is_some_and(|held| held != page.epoch) && page.epoch != epoch {
                    self.owe(Debt::Tail(topic.clone()));
                }
                // A log that was never written to may have no name of its own.
                page.epoch != epoch && (page.last > 0 || held == Some(page.epoch))
            }
            Err(_) => {
                // Which log is the present one is still to be found out.
                self.owe(Debt::Tail(topic.clone()));
                true
            }
        };
        if is_past {
            topic.sequencer().note_past(epoch, Instant::now());
        }
        is_past
    }

    /// Fans out a logged message at its place, unless it has been.
    pub(super) async fn commit_logged(
        &self,
        topic: &Arc<TopicState>,
        message: Arc<Message>,
        place: LogPlace,
        way: Way,
        special: Option<Arc<Special>>,
    ) {
        let cost = self.inboxes[0].cost(message.payload().len(), 1);
        let mut permits = Reservation::none(&self.inboxes, cost);
        loop {
            let shards = {
                let mut sequencer = topic.sequencer();
                let shards = sequencer.shards(topic.name(), &self.table.patterns);
                if permits.try_extend(shards) {
                    let arrival = sequencer.arrival(place);
                    if arrival == Arrival::OtherEpoch {
                        return;
                    }
                    let is_behind_hole = arrival == Arrival::Hole || way == Way::Read;
                    let is_new = self.bring_patterns_to(topic, &mut sequencer, place, is_behind_hole);
                    // Nobody is without it.
                    if !is_new && arrival.is_for_nobody_by_name() {
                        return;
                    }
                    if arrival != Arrival::Repeat {
                        sequencer.append(message.clone());
                    }
                    let cost = permits.use_up(shards);
                    fans_out(special.as_ref());
                    let event = || Event::Message { message: message.clone(), special: special.clone() };
                    self.push_all(topic, shards, cost, event);
                    return;
                }
                shards
            };
            permits.extend(shards).await;
        }
    }

    /// Tells those who are subscribed by a pattern what is missing before a place, which goes to them now. False where it has
    /// been there. Under the topic's lock, which [`shards`](Sequencer::shards) has been asked under.
    pub(super) fn bring_patterns_to(
        &self,
        topic: &Arc<TopicState>,
        sequencer: &mut Sequencer,
        place: LogPlace,
        is_behind_hole: bool,
    ) -> bool {
        match sequencer.arrival_by_pattern(place) {
            PatternArrival::Repeat => return false,
            PatternArrival::After(last) => {
                let gap = Gap::before(last, place, self.capabilities.dense_offsets);
                self.push_lost(topic, sequencer, gap, Whom::ByPattern);
            }
            PatternArrival::First if is_behind_hole || !self.is_up() => {
                // What comes before it is missing, or still on its way, or was lost in an outage that has not quite ended: nobody knows
                // whether it came after they had subscribed.
                let gap = Gap::new(GapReason::Backend, None);
                self.push_lost(topic, sequencer, gap, Whom::ByPattern);
            }
            PatternArrival::First | PatternArrival::Next => self.tell_deaf_patterns(topic, sequencer),
        }
        true
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

    /// Goes on in another log, if the one that was held when the backend was asked is held still: an answer that took
    /// long does not bring back a log that has been replaced meanwhile. False where it is not.
    pub(super) fn begin_epoch(&self, topic: &Arc<TopicState>, held: Epoch, epoch: Epoch) -> bool {
        let mut sequencer = topic.sequencer();
        let is_held = sequencer.log().is_some_and(|log| log.epoch() == held);
        if is_held {
            self.replace_log(topic, &mut sequencer, Position::new(epoch, 0));
        }
        is_held
    }

    /// The topic's log is another one: subscribers are told, and go on after a position of the new one.
    fn replace_log(&self, topic: &Arc<TopicState>, sequencer: &mut Sequencer, position: Position) {
        let Some(retention) = topic.retention() else { return };
        let mut log = TopicLog::new(position.epoch, self.capabilities.dense_offsets, retention);
        log.skip_to(position.offset, position.offset);
        sequencer.tail = Tail::Ready(Box::new(log));
        let shards = sequencer.shards(topic.name(), &self.table.patterns);
        sequencer.patterns_are_at(position);
        let generation = sequencer.begin_generation();
        self.push_all(topic, shards, Cost::default(), || Event::NewEpoch(position, generation));
    }

    /// Gives an event to shards, under the topic's lock.
    pub(super) fn push_all(
        &self,
        topic: &Arc<TopicState>,
        shards: u64,
        cost: Cost,
        event: impl Fn() -> Event,
    ) {
        for index in bits(shards) {
            self.inboxes[index].push(Item { topic: topic.clone(), event: event(), cost });
        }
    }
}

/// What is wanted to be known of a message is known from now on.
fn fans_out(special: Option<&Arc<Special>>) {
    if let Some(report) = special.and_then(|special| special.report.as_ref()) {
        report.fans_out();
    }
}

/// Keeps the log's clock in one place.
pub(super) fn expire(log: &mut TopicLog) {
    log.expire(Instant::now());
}
