//! Puts the messages of a log into its order.
//!
//! A server that takes messages from several connections at once may publish them again in another order than it has stored them. Each
//! names the one before it; one that comes before its predecessor waits for it for a moment. What does not come then is lost, and found
//! missing by the core.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::Duration,
};

use fanfare_core::{backend::Incoming, message::Epoch, topic::TopicName};
use tokio::time::Instant;

/// How long a message waits for the one before it.
pub(super) const WAIT: Duration = Duration::from_millis(150);

/// How many messages wait, in all.
const MAX_WAITING: usize = 4096;

/// Of how many topics it is remembered where they are.
const MAX_TOPICS: usize = 65_536;

/// What is known of the order of all topics.
#[derive(Default)]
pub(super) struct Order {
    topics: HashMap<TopicName, Topic>,
    waiting: usize,
    /// Logs of which nothing has been taken, although something came: it is read.
    passed_over: HashMap<TopicName, Epoch>,
}

struct Topic {
    epoch: Epoch,
    /// The entry that came last, of those in order.
    last: u64,
    /// Entries that came too early, by offset: with the one before each.
    early: BTreeMap<u64, Early>,
    since: Instant,
}

struct Early {
    before: u64,
    /// None for a mark.
    message: Option<Incoming>,
}

/// An entry of a log.
pub(super) struct Arrived {
    pub(super) epoch: Epoch,
    pub(super) offset: u64,
    pub(super) before: u64,
    /// None for a mark.
    pub(super) message: Option<Incoming>,
}

impl Order {
    /// A log is known to have got to an offset.
    pub(super) fn reach(&mut self, topic: &TopicName, epoch: Epoch, offset: u64) {
        match self.topics.get_mut(topic) {
            Some(held) if held.epoch == epoch => held.last = held.last.max(offset),
            Some(_) => {}
            None => {
                self.make_room();
                let since = Instant::now();
                self.topics
                    .insert(topic.clone(), Topic { epoch, last: offset, early: BTreeMap::new(), since });
            }
        }
    }

    /// Takes an entry as it came; gives on what is in order now, and says whether something waits.
    pub(super) fn take(
        &mut self,
        topic: &TopicName,
        arrived: Arrived,
        mut give: impl FnMut(Incoming),
    ) -> bool {
        let Arrived { epoch, offset, before, message } = arrived;
        let Some(held) = self.topics.get_mut(topic).filter(|held| held.epoch == epoch) else {
            // Of another log than before: what waited of that one goes first.
            if let Some(old) = self.topics.remove(topic) {
                self.waiting -= old.early.len();
                old.early.into_values().filter_map(|early| early.message).for_each(&mut give);
            }
            message.into_iter().for_each(&mut give);
            self.reach(topic, epoch, offset);
            return false;
        };
        if before > held.last {
            if held.early.is_empty() {
                held.since = Instant::now();
            }
            if held.early.insert(offset, Early { before, message }).is_none() {
                self.waiting += 1;
            }
            if self.waiting > MAX_WAITING {
                self.release(Duration::ZERO, give);
                return false;
            }
            return true;
        }
        held.last = held.last.max(offset);
        message.into_iter().for_each(&mut give);
        while let Some(next) = held.early.first_entry().filter(|next| next.get().before <= held.last) {
            held.last = held.last.max(*next.key());
            next.remove().message.into_iter().for_each(&mut give);
            self.waiting -= 1;
        }
        !held.early.is_empty()
    }

    /// Gives on what has waited for long enough. Says whether something still waits.
    pub(super) fn release(&mut self, long_enough: Duration, mut give: impl FnMut(Incoming)) -> bool {
        if self.waiting == 0 {
            return false;
        }
        for held in self.topics.values_mut() {
            if held.early.is_empty() || held.since.elapsed() < long_enough {
                continue;
            }
            for (offset, early) in std::mem::take(&mut held.early) {
                held.last = held.last.max(offset);
                self.waiting -= 1;
                early.message.into_iter().for_each(&mut give);
            }
        }
        self.waiting > 0
    }

    /// The last entry of a log that is known.
    pub(super) fn last(&self, topic: &TopicName, epoch: Epoch) -> Option<u64> {
        self.topics.get(topic).filter(|held| held.epoch == epoch).map(|held| held.last)
    }

    /// Something of these topics came, and was not taken. Their logs are of this epoch now, and have begun.
    pub(super) fn pass_over(&mut self, topics: &HashSet<TopicName>, epoch: Epoch) {
        self.passed_over.retain(|_, held| *held == epoch);
        let room = MAX_TOPICS.saturating_sub(self.passed_over.len());
        self.passed_over.extend(topics.iter().take(room).map(|topic| (topic.clone(), epoch)));
    }

    pub(super) fn is_passed_over(&self, topic: &TopicName, epoch: Epoch) -> bool {
        self.passed_over.get(topic) == Some(&epoch)
    }

    /// The topics of which another log was known than this one; nothing of them is known any more.
    pub(super) fn leave_others(&mut self, epoch: Epoch) -> Vec<TopicName> {
        let others: Vec<_> = self.topics.extract_if(|_, held| held.epoch != epoch).collect();
        self.waiting -= others.iter().map(|(_, held)| held.early.len()).sum::<usize>();
        others.into_iter().map(|(topic, _)| topic).collect()
    }

    /// Nothing is known any more, and what waits is dropped.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    fn make_room(&mut self) {
        if self.topics.len() >= MAX_TOPICS {
            self.topics.retain(|_, held| !held.early.is_empty());
        }
    }
}

#[cfg(test)]
mod tests {
    use fanfare_core::message::{MessageParts, Position};

    use super::*;

    const EPOCH: Epoch = Epoch::new(7);

    fn arrived(epoch: Epoch, before: u64, offset: u64) -> Arrived {
        let parts = MessageParts::new(TopicName::new("t").unwrap(), offset.to_string());
        let origin = fanfare_core::backend::Origin {
            node: fanfare_core::backend::NodeId::new(1),
            stream: 1,
            seq: offset,
        };
        Arrived { epoch, offset, before, message: Some(Incoming::ephemeral(parts, origin)) }
    }

    fn given(order: &mut Order, arrived: Arrived) -> Vec<u64> {
        let mut given = Vec::new();
        order.take(&TopicName::new("t").unwrap(), arrived, |incoming| {
            given.extend(incoming.message.payload.as_str().and_then(|text| text.parse::<u64>().ok()));
        });
        given
    }

    #[test]
    fn a_log_that_has_begun_does_not_begin_again() {
        let (topic, newer) = (TopicName::new("t").unwrap(), Epoch::new(8));
        let at = |epoch, offset| Position::new(epoch, offset);
        let mut order = Order::default();
        assert!(!order.contradicts(&topic, at(EPOCH, 1), 0), "nothing is known");
        order.reach(&topic, EPOCH, 3);
        assert!(order.contradicts(&topic, at(EPOCH, 3), 2), "it stands where that has been");
        assert!(order.contradicts(&topic, at(EPOCH, 9), 0), "it names another one before it");
        assert!(!order.contradicts(&topic, at(EPOCH, 9), 3));
        // It was another log, whose first one was not taken: the next one follows it, or is of a third log.
        order.pass_over(&HashSet::from([topic.clone()]), newer);
        assert_eq!(order.leave_others(newer), std::slice::from_ref(&topic));
        assert!(!order.contradicts(&topic, at(newer, 2), 1));
        assert!(order.contradicts(&topic, at(newer, 1), 0));
        assert!(
            !order.contradicts(&TopicName::new("u").unwrap(), at(newer, 1), 0),
            "another topic may begin"
        );
        // It is known of one log alone.
        order.pass_over(&HashSet::new(), Epoch::new(9));
        assert!(!order.contradicts(&topic, at(Epoch::new(9), 1), 0));
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_too_early_waits_for_what_is_before_it() {
        let mut order = Order::default();
        order.reach(&TopicName::new("t").unwrap(), EPOCH, 3);
        assert_eq!(given(&mut order, arrived(EPOCH, 3, 5)), [5]);
        assert_eq!(given(&mut order, arrived(EPOCH, 9, 12)), [] as [u64; 0]);
        assert_eq!(given(&mut order, arrived(EPOCH, 7, 9)), [] as [u64; 0]);
        assert_eq!(given(&mut order, arrived(EPOCH, 5, 7)), [7, 9, 12]);
        // What does not come is not waited for.
        assert_eq!(given(&mut order, arrived(EPOCH, 15, 16)), [] as [u64; 0]);
        assert!(order.release(WAIT, |_| panic!("too early")));
        tokio::time::advance(WAIT).await;
        let mut late = 0;
        assert!(!order.release(WAIT, |_| late += 1));
        assert_eq!(late, 1);
        // Another log begins; what is late of the one before is given on all the same.
        assert_eq!(given(&mut order, arrived(EPOCH, 20, 21)), [] as [u64; 0]);
        assert_eq!(given(&mut order, arrived(Epoch::new(8), 0, 1)), [21, 1]);
    }
}
