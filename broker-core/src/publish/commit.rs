//! Reserve, then commit: a permit from each shard concerned, then one step under
//! the topic's lock.

use std::sync::Arc;

use futures_util::FutureExt;
use parking_lot::MutexGuard;

use super::{
    PublishError, Report, ReportSlot,
    addressed::{self, To},
    echo::Expected,
    hand_over::{Ack, published},
};
use crate::{
    backend::{BackendError, BackendErrorKind, Origin, Outgoing},
    broker::Inner,
    fanout::{Cost, Event, Item, Reservation, Special, bits},
    message::{Message, MessageParts},
    session::Published,
    table::{Sequencer, TopicId, TopicState},
    topic::{Address, TopicName},
};

const EPHEMERAL: Published = Published { position: None, duplicate: false };

/// What one attempt at a commit came to.
enum Attempt {
    Committed(Ack),
    /// These shards' permits are needed first.
    Needs(u64),
}

impl Inner {
    /// Publishes. Ready when the message is committed; the [`Ack`] is the backend's.
    pub(crate) async fn commit(
        &self,
        parts: MessageParts,
        also: Vec<TopicName>,
    ) -> Result<Ack, PublishError> {
        self.prepare(parts, also, None)?.commit(self).await
    }

    /// Publishes, and waits for the acknowledgement and the fan-out on this node: on a logged topic the message has to
    /// come back from the backend for that.
    pub(crate) async fn report(
        &self,
        parts: MessageParts,
        also: Vec<TopicName>,
    ) -> Result<Report, PublishError> {
        let (slot, complete) = ReportSlot::new();
        let (ack, expected) = {
            let mut commit = self.prepare(parts, also, Some(slot))?;
            (commit.commit(self).await?, commit.expected.take())
        };
        let Published { position, duplicate } = ack.await?;
        let report = match expected {
            None => Report { counted: true, ..complete.await.unwrap_or_default() },
            // It never comes: there is nothing to count.
            Some(_) if duplicate => Report { counted: true, ..Report::default() },
            Some(_expected) => {
                let report = tokio::time::timeout(self.limits.backend_timeout, complete).await;
                report.ok().and_then(Result::ok).unwrap_or_default()
            }
        };
        Ok(Report { position, duplicate, ..report })
    }

    /// Publishes, or says that it would have to wait.
    pub(crate) fn try_commit(&self, parts: MessageParts, also: Vec<TopicName>) -> Result<Ack, PublishError> {
        match self.prepare(parts, also, None)?.attempt(self)? {
            Attempt::Committed(ack) => Ok(ack),
            Attempt::Needs(_) => Err(PublishError::Busy),
        }
    }

    fn prepare(
        &self,
        parts: MessageParts,
        also: Vec<TopicName>,
        report: Option<ReportSlot>,
    ) -> Result<Commit<'_>, PublishError> {
        let checked = self.check(&parts, &also).and_then(|()| self.open(&parts, &also)).and_then(|targets| {
            let within = targets.0.iter().all(|topic| topic.within_rate());
            if within { Ok(targets) } else { Err(PublishError::RateLimited) }
        });
        let (topics, to) = match checked {
            Ok(targets) => targets,
            Err(error) => {
                self.totals.refused.add(1);
                return Err(error);
            }
        };
        // The topic that addresses have in common has no copy of its own.
        let copies = topics.len() + to.len() - usize::from(!to.is_empty());
        let several = copies > 1;
        let special = (several || report.is_some()).then(|| {
            let copies = several.then(|| self.inboxes.iter().map(|_| Default::default()).collect());
            Arc::new(Special { report, copies })
        });
        let copies = copies.max(1);
        let cost = self.inboxes[0].cost(parts.payload.len(), copies);
        let permits = Reservation::none(&self.inboxes, cost.times(copies as u32));
        Ok(Commit { parts: Some(parts), topics, to, copies, special, cost, permits, expected: None })
    }

    /// The topics that this node holds state for, in the order in which they are locked; none where
    /// nobody anywhere would get the message. And the addresses, which have one of these topics in common.
    fn open(
        &self,
        parts: &MessageParts,
        also: &[TopicName],
    ) -> Result<(Vec<Arc<TopicState>>, Vec<To>), PublishError> {
        let mut topics = Vec::with_capacity(1 + also.len());
        let mut to: Vec<To> = Vec::new();
        for name in std::iter::once(&parts.topic).chain(also) {
            if let Some(address) = Address::of(name) {
                self.note_addressed();
                if !to.iter().any(|(_, held)| *held == address) {
                    to.push((name.clone(), address));
                }
                topics.push(self.table.direct.clone());
            } else if let Some(topic) = self.topic_for_publishing(name)? {
                topics.push(topic);
            }
        }
        topics.sort_by_key(|topic| topic.id());
        topics.dedup_by_key(|topic| topic.id());
        Ok((topics, to))
    }

    fn topic_for_publishing(&self, name: &TopicName) -> Result<Option<Arc<TopicState>>, PublishError> {
        if let Some(topic) = self.table.find(name) {
            return Ok(Some(topic));
        }
        let config = self.table.config(name);
        let unneeded = self.capabilities.inline
            && !config.is_logged()
            && config.rate().is_none()
            && self.table.patterns.shards(name).0 == 0;
        if unneeded {
            return Ok(None);
        }
        let full = |error: crate::table::TooManyTopics| {
            let message = error.to_string();
            PublishError::NotStored(BackendError::new(BackendErrorKind::Unavailable, "publish", message))
        };
        self.table.open(name).map(Some).map_err(full)
    }
}

/// One message on its way.
struct Commit<'a> {
    parts: Option<MessageParts>,
    topics: Vec<Arc<TopicState>>,
    to: Vec<To>,
    /// How many there are of both.
    copies: usize,
    special: Option<Arc<Special>>,
    /// What one topic's copy takes of a shard's inbox.
    cost: Cost,
    permits: Reservation<'a>,
    /// Set where the report waits for the message to come back.
    expected: Option<Expected>,
}

impl Commit<'_> {
    async fn commit(&mut self, broker: &Inner) -> Result<Ack, PublishError> {
        loop {
            match self.attempt(broker)? {
                Attempt::Committed(ack) => return Ok(ack),
                Attempt::Needs(shards) => self.permits.extend(shards).await,
            }
        }
    }

    fn attempt(&mut self, broker: &Inner) -> Result<Attempt, PublishError> {
        let Some(first) = self.topics.first().cloned() else {
            broker.totals.published.add(1);
            return Ok(Attempt::Committed(Ack::Done(EPHEMERAL)));
        };
        if first.is_logged() { self.attempt_logged(broker, &first) } else { self.attempt_ephemeral(broker) }
    }

    fn attempt_ephemeral(&mut self, broker: &Inner) -> Result<Attempt, PublishError> {
        let topics = std::mem::take(&mut self.topics);
        let to: smallvec::SmallVec<[u64; 1]> =
            self.to.iter().map(|(_, address)| broker.shards_of(address)).collect();
        let mut locks: smallvec::SmallVec<[MutexGuard<'_, Sequencer>; 1]> =
            topics.iter().map(|topic| topic.sequencer()).collect();
        let masks: smallvec::SmallVec<[u64; 1]> = topics
            .iter()
            .zip(&mut locks)
            .map(|(topic, sequencer)| match topic.id() {
                // Whoever the addresses stand for.
                TopicId::DIRECT => 0,
                _ => sequencer.shards(topic.name(), &broker.table.patterns),
            })
            .collect();
        let union = masks.iter().chain(&to).fold(0, |all, mask| all | mask);
        if !self.permits.try_extend(union) {
            drop(locks);
            self.topics = topics;
            return Ok(Attempt::Needs(union));
        }
        let Some(parts) = self.parts.take() else { return Ok(Attempt::Committed(Ack::Done(EPHEMERAL))) };
        let origins = locks.iter_mut().map(|sequencer| sequencer.next_origin(broker.node));
        // A connection that is here is nowhere else.
        let is_here = |(of, shards): (&To, &u64)| matches!(of.1, Address::Client(_)) && *shards != 0;
        let is_local = topics.len() == 1 && !self.to.is_empty() && self.to.iter().zip(&to).all(is_here);
        let is_carried = !broker.capabilities.inline && !is_local;
        let outgoing = is_carried.then(|| outgoing(&parts, &topics, origins.collect(), &self.to));
        let whole = self.permits.use_up(union);
        if self.copies > 1 {
            for index in bits(union) {
                let held = masks.iter().chain(&to).filter(|mask| **mask >> index & 1 == 1).count() as u32;
                broker.inboxes[index].release(whole.without(self.cost, held));
            }
        }
        for ((name, _), mask) in self.to.iter().zip(&to) {
            broker.push_addressed(&parts, name, *mask, self.cost, self.special.as_ref());
        }
        for (topic, mask) in topics.iter().zip(&masks).filter(|(_, mask)| **mask != 0) {
            let message =
                Arc::new(Message::ephemeral(MessageParts { topic: topic.name().clone(), ..parts.clone() }));
            for index in bits(*mask) {
                let event = Event::Message { message: message.clone(), special: self.special.clone() };
                broker.inboxes[index].push(Item { topic: topic.clone(), event, cost: self.cost });
            }
        }
        broker.totals.published.add(1);
        Ok(Attempt::Committed(match outgoing {
            None => Ack::Done(EPHEMERAL),
            Some(outgoing) => broker.hand_over(outgoing),
        }))
    }
}

impl Commit<'_> {
    fn attempt_logged(&mut self, broker: &Inner, topic: &Arc<TopicState>) -> Result<Attempt, PublishError> {
        let mut sequencer = topic.sequencer();
        if !broker.capabilities.inline {
            // The backend orders the topic; this node delivers what comes back.
            let Some(parts) = self.parts.take() else { return Ok(Attempt::Committed(Ack::Done(EPHEMERAL))) };
            let origin = sequencer.next_origin(broker.node);
            // Where nobody is subscribed nothing comes back.
            self.expected = self
                .special
                .take()
                .filter(|_| sequencer.shards(topic.name(), &broker.table.patterns) != 0)
                .map(|special| broker.echoes.expect(origin, special));
            let outgoing = outgoing(&parts, std::slice::from_ref(topic), vec![origin], &[]);
            broker.totals.published.add(1);
            return Ok(Attempt::Committed(broker.hand_over(outgoing)));
        }
        let shards = sequencer.shards(topic.name(), &broker.table.patterns);
        if !self.permits.try_extend(shards) {
            return Ok(Attempt::Needs(shards));
        }
        let Some(parts) = self.parts.take() else { return Ok(Attempt::Committed(Ack::Done(EPHEMERAL))) };
        let origin = sequencer.next_origin(broker.node);
        let outgoing = outgoing(&parts, std::slice::from_ref(topic), vec![origin], &[]);
        let accepted = broker.backend.publish(outgoing).now_or_never().unwrap_or_else(|| {
            let message = "an inline backend has to answer at once";
            Err(BackendError::new(BackendErrorKind::Refused, "publish", message))
        });
        let accepted = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                drop(sequencer);
                broker.note_failure(&error);
                return Err(error.into());
            }
        };
        broker.totals.published.add(1);
        if let Some(message) = &accepted.stored {
            broker.sequence(topic, &mut sequencer, message.clone());
            let cost = self.permits.use_up(shards);
            for index in bits(shards) {
                let event = Event::Message { message: message.clone(), special: self.special.clone() };
                broker.inboxes[index].push(Item { topic: topic.clone(), event, cost });
            }
        }
        Ok(Attempt::Committed(Ack::Done(published(&accepted))))
    }
}

fn outgoing(parts: &MessageParts, topics: &[Arc<TopicState>], origins: Vec<Origin>, to: &[To]) -> Outgoing {
    let mut named: Vec<_> = topics.iter().map(|topic| topic.name().clone()).zip(origins).collect();
    let mut message = parts.clone();
    // The topics are in the order of their locks: the first of them carries the message.
    let (topic, origin) = named.remove(0);
    message.topic = topic;
    if !to.is_empty() {
        message.message_id = addressed::write(to);
    }
    let retention = topics.first().and_then(|topic| topic.retention());
    Outgoing { message, retention, origin, also: named }
}
