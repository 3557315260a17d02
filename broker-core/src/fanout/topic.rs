//! One topic on one shard: its subscribers, and what is to be fanned out.

use std::{collections::VecDeque, sync::Arc};

use super::{
    inbox::{Cost, Event, Item, Special, Whom},
    subs::SubKey,
};
use crate::{
    message::{Message, Position},
    subscriber::JoinedCache,
    table::TopicState,
};

/// How many bytes of payloads one turn joins.
pub(super) const TURN_BYTES: usize = 64 << 10;

/// How many messages one turn joins.
pub(super) const TURN_MESSAGES: usize = 1024;

/// One topic on one shard.
pub(super) struct ShardTopic {
    pub(super) state: Arc<TopicState>,
    /// Subscriptions to the topic by its name.
    pub(super) exact: Vec<SubKey>,
    /// Subscriptions to patterns that match, one per connection at most, and none of
    /// a connection that is subscribed by name; as of a generation of the shard's patterns.
    pub(super) by_pattern: Vec<SubKey>,
    pub(super) patterns_seen: u64,
    /// Since then the subscriptions by name have changed.
    pub(super) names_changed: bool,
    /// What waits.
    pub(super) pending: VecDeque<Item>,
    pub(super) turn: Option<Box<Turn>>,
    /// Up to here everything has been fanned out, on a logged topic.
    pub(super) fanned: Option<Position>,
    /// The topic stands in the shard's ring.
    pub(super) in_ring: bool,
}

/// What is being fanned out: the same for all subscribers, in slices.
pub(super) struct Turn {
    pub(super) work: Work,
    pub(super) cost: Cost,
    /// The next subscriber: of the exact ones first, then of those by pattern.
    pub(super) cursor: usize,
}

/// What a turn brings to the subscribers.
pub(super) enum Work {
    Messages {
        messages: Vec<Arc<Message>>,
        joined: JoinedCache,
        has_exclusions: bool,
        special: Option<Arc<Special>>,
        /// The last position, once it is fanned out.
        last: Option<Position>,
    },
    Gap {
        gap: crate::message::Gap,
        whom: Whom,
    },
    Skipped(Position),
    NewEpoch(Position, u32),
}

impl ShardTopic {
    pub(super) fn new(state: Arc<TopicState>) -> Self {
        Self {
            state,
            exact: Vec::new(),
            by_pattern: Vec::new(),
            patterns_seen: u64::MAX,
            names_changed: false,
            pending: VecDeque::new(),
            turn: None,
            fanned: None,
            in_ring: false,
        }
    }

    pub(super) fn is_unused(&self) -> bool {
        self.exact.is_empty() && self.pending.is_empty() && self.turn.is_none()
    }

    /// Subscriptions have begun, and are on their way here: they have to find how far this shard is.
    pub(super) fn is_awaited(&self, shard: usize) -> bool {
        self.state.sequencer().has_subscribers_on(shard)
    }

    /// Up to here everything has been fanned out, or is about to be to those whom the turn
    /// has not reached yet.
    pub(super) fn served_through(&self) -> Option<Position> {
        match self.turn.as_deref() {
            Some(Turn { work: Work::Messages { last: Some(last), .. }, .. }) => Some(*last),
            Some(Turn { work: Work::Skipped(position) | Work::NewEpoch(position, _), .. }) => Some(*position),
            _ => self.fanned,
        }
    }

    /// Adds a subscription by name. In the middle of a turn it is put among those
    /// who have been served: what it gets begins after the turn.
    pub(super) fn add_exact(&mut self, key: SubKey, mut moved: impl FnMut(SubKey, usize)) -> usize {
        self.exact.push(key);
        let mut index = self.exact.len() - 1;
        if let Some(turn) = &mut self.turn {
            if turn.cursor < index {
                self.exact.swap(turn.cursor, index);
                moved(self.exact[index], index);
                index = turn.cursor;
            }
            turn.cursor += 1;
        }
        index
    }

    /// Removes a subscription by name, keeping those who have been served before those who have not.
    pub(super) fn remove_exact(&mut self, index: usize, mut moved: impl FnMut(SubKey, usize)) {
        let mut hole = index;
        if let Some(turn) = &mut self.turn
            && index < turn.cursor.min(self.exact.len())
        {
            let last_served = turn.cursor.min(self.exact.len()) - 1;
            if turn.cursor > self.exact.len() {
                // The turn is among the patterns' subscribers: all of these have been served.
                turn.cursor -= 1;
            } else {
                if hole != last_served {
                    self.exact[hole] = self.exact[last_served];
                    moved(self.exact[hole], hole);
                    hole = last_served;
                }
                turn.cursor -= 1;
            }
        }
        self.exact.swap_remove(hole);
        if hole < self.exact.len() {
            moved(self.exact[hole], hole);
        }
    }

    /// Begins the next turn: a run of messages that go to all subscribers alike.
    /// Gives back the cost of what has been fanned out before.
    pub(super) fn begin_turn(&mut self) -> Cost {
        let mut skipped = Cost::default();
        let mut messages = Vec::new();
        let mut cost = Cost::default();
        let mut bytes = 0;
        let mut has_exclusions = false;
        let mut alone = None;
        while let Some(item) = self.pending.front() {
            if messages.is_empty() && matches!(item.event, Event::Passed(_) | Event::Farewell(_)) {
                if let Some(Item { event: Event::Passed(tell), .. }) = self.pending.pop_front() {
                    let _ = tell.send(());
                }
                continue;
            }
            let Event::Message { message, special } = &item.event else { break };
            let last = messages.last().and_then(|m: &Arc<Message>| m.position()).or(self.fanned);
            match (last, message.place()) {
                (Some(last), Some(place)) if place.position.epoch == last.epoch => {
                    if place.position.offset <= last.offset {
                        skipped.add(item.cost);
                        self.pending.pop_front();
                        continue;
                    }
                    if place.prev > last.offset && !messages.is_empty() {
                        break;
                    }
                }
                (Some(_), Some(_)) if !messages.is_empty() => break,
                _ => {}
            }
            let length = message.payload().len() + 128;
            let full = bytes + length > TURN_BYTES || messages.len() >= TURN_MESSAGES;
            if !messages.is_empty() && (full || special.is_some()) {
                break;
            }
            bytes += length;
            has_exclusions |= !message.except().is_empty();
            messages.push(message.clone());
            alone = special.clone();
            cost.add(item.cost);
            self.pending.pop_front();
            if alone.is_some() {
                break;
            }
        }
        let work = if messages.is_empty() {
            let Some(item) = self.pending.pop_front() else { return skipped };
            cost = item.cost;
            match item.event {
                Event::Lost(gap, whom) => Work::Gap { gap, whom },
                Event::Skipped(position) => Work::Skipped(position),
                Event::NewEpoch(position, generation) => Work::NewEpoch(position, generation),
                // The loop above has taken every message at the front, and who waits has been told.
                Event::Message { .. } | Event::Passed(_) | Event::Farewell(_) => return skipped,
            }
        } else {
            let last = messages.last().and_then(|m| m.position());
            Work::Messages { messages, joined: JoinedCache::default(), has_exclusions, special: alone, last }
        };
        self.turn = Some(Box::new(Turn { work, cost, cursor: 0 }));
        skipped
    }
}
