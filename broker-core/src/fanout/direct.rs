//! Messages to connections themselves: to one, to those of a user, to all.
//!
//! They have no subscriptions, so a turn asks who the message's address stands for on this shard when it begins. To the ring
//! they are all one topic: beside a busy one every second slice is theirs. Who is connected when the turn begins gets them.

use std::{collections::VecDeque, sync::Arc};

use super::{
    inbox::{Cost, Event, Item, Special},
    serve::{Watch, tell},
    shard::Shard,
    topic::{TURN_BYTES, TURN_MESSAGES},
};
use crate::{
    message::{Gap, Message},
    publish::Outcome,
    subscriber::{Batch, JoinedCache, Notice, Subscriber, SubscriptionId},
    table::TopicState,
    topic::{Address, TopicName},
};

/// Who an address stands for, on one shard.
pub(crate) type Find = dyn Fn(&Address, usize) -> Vec<Arc<dyn Subscriber>> + Send + Sync;

/// What a shard has for connections themselves.
#[derive(Default)]
pub(super) struct Direct {
    /// What all that waits belongs to, since there has been anything.
    state: Option<Arc<TopicState>>,
    pending: VecDeque<Item>,
    turn: Option<Box<Turn>>,
    /// It stands in the shard's ring.
    pub(super) in_ring: bool,
}

/// The same for several connections, in slices.
struct Turn {
    work: Work,
    cost: Cost,
    receivers: Vec<Arc<dyn Subscriber>>,
    /// The next of them.
    cursor: usize,
}

enum Work {
    /// All to one address.
    Messages {
        address: TopicName,
        messages: Vec<Arc<Message>>,
        joined: JoinedCache,
        has_exclusions: bool,
        special: Option<Arc<Special>>,
    },
    /// Messages to whomever may have been lost: everybody is told.
    Gap(Gap),
}

impl Direct {
    pub(super) fn put(&mut self, item: Item) {
        if self.state.is_none() {
            self.state = Some(item.topic.clone());
        }
        let is_told = matches!(item.event, Event::Lost(..))
            && self.pending.back_mut().is_some_and(|last| last.take_in(&item));
        if !is_told {
            self.pending.push_back(item);
        }
    }

    /// Puts what costs nothing behind all that waits.
    pub(super) fn put_event(&mut self, event: Event) {
        if let Some(topic) = self.state.clone() {
            self.pending.push_back(Item { topic, event, cost: Cost::default() });
        }
    }

    /// Takes the run of messages to one address that come next.
    fn next_work(&mut self) -> Option<(Work, Cost)> {
        let (first, special, mut cost) = loop {
            let Item { event, cost, .. } = self.pending.pop_front()?;
            match event {
                Event::Message { message, special } => break (message, special, cost),
                Event::Lost(gap, _) => return Some((Work::Gap(gap), cost)),
                // There is no log.
                Event::Skipped(_) | Event::NewEpoch(..) | Event::Passed(_) | Event::Farewell(_) => {}
            }
        };
        let address = first.topic().clone();
        let mut has_exclusions = !first.except().is_empty();
        let mut bytes = first.payload().len();
        let mut messages = vec![first];
        while special.is_none() && messages.len() < TURN_MESSAGES {
            let Some(Item { event: Event::Message { message, special: None }, cost: more, .. }) =
                self.pending.front()
            else {
                break;
            };
            bytes += message.payload().len();
            if *message.topic() != address || bytes > TURN_BYTES {
                break;
            }
            has_exclusions |= !message.except().is_empty();
            messages.push(message.clone());
            cost.add(*more);
            self.pending.pop_front();
        }
        let joined = JoinedCache::default();
        Some((Work::Messages { address, messages, joined, has_exclusions, special }, cost))
    }
}

impl Shard {
    /// Serves connections themselves, for at most so many offers. True when there is more.
    pub(super) fn serve_direct(&mut self, offers: &mut usize) -> bool {
        while *offers > 0 {
            let Some(mut turn) = self.direct.turn.take().or_else(|| self.begin_direct()) else {
                return false;
            };
            let more_follows = !self.ring.is_empty() || !self.direct.pending.is_empty();
            self.serve_slice(&mut turn, offers, more_follows);
            if turn.cursor < turn.receivers.len() {
                self.direct.turn = Some(turn);
                return true;
            }
            self.context.inbox.release(turn.cost);
            // An address of nobody costs a turn, too, or it could starve the others.
            *offers = offers.saturating_sub(1);
        }
        !self.direct.pending.is_empty()
    }

    fn begin_direct(&mut self) -> Option<Box<Turn>> {
        let (work, cost) = self.direct.next_work()?;
        let address = match &work {
            Work::Messages { address, .. } => Address::of(address),
            Work::Gap(_) => Some(Address::All),
        };
        let receivers = address.map(|address| (self.context.find)(&address, self.context.index));
        Some(Box::new(Turn { work, cost, receivers: receivers.unwrap_or_default(), cursor: 0 }))
    }

    fn serve_slice(&mut self, turn: &mut Turn, offers: &mut usize, more_follows: bool) {
        let mut watch = Watch::new(&self.context.totals);
        let (mut offered, mut outcome) = (0, Outcome::default());
        while *offers > 0
            && let Some(subscriber) = turn.receivers.get(turn.cursor)
        {
            turn.cursor += 1;
            *offers -= 1;
            match &turn.work {
                Work::Gap(gap) => {
                    tell(&**subscriber, SubscriptionId::DIRECT, Notice::Gap(gap.clone()));
                }
                Work::Messages { address, messages, joined, has_exclusions, special } => {
                    let copies = special.as_ref().and_then(|special| special.copies.as_ref());
                    if copies
                        .is_some_and(|copies| !copies[self.context.index].lock().insert(subscriber.client()))
                    {
                        continue;
                    }
                    let batch = Batch {
                        topic: address,
                        subscription: SubscriptionId::DIRECT,
                        messages,
                        first: 0,
                        joined: Some(joined),
                        has_exclusions: *has_exclusions,
                        more_follows,
                        page: false,
                    };
                    let offer = watch.offer(&**subscriber, &batch);
                    offered += messages.len() as u64;
                    outcome.add(&batch, offer);
                    if more_follows && offer.queued > 0 {
                        self.unflushed.push(subscriber.clone());
                    }
                }
            }
        }
        self.context.totals.offered.add(offered);
        if let Work::Messages { special: Some(special), .. } = &turn.work
            && let Some(report) = &special.report
        {
            report.add(&outcome);
        }
    }
}
