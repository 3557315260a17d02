//! The queue of one subscription, and what its overflow policies do to it.

use std::{collections::VecDeque, sync::Arc};

use super::{
    entry::{Entry, Subject},
    keys::Keys,
};
use crate::{
    message::{Gap, GapReason, LogPlace, Message, Position},
    topic::OverflowPolicy,
};

/// The queue of one subscription: bounded by messages; bytes are the connection's business.
///
/// Beside messages it holds at most as many conflated places as the limit. Before each of these, and at the
/// end, there is at most one gap, with a cursor on either side; a `Live` is pushed only after a page.
pub(crate) struct Queue {
    pub(super) subject: Subject,
    pub(super) policy: OverflowPolicy,
    limit: u32,
    messages: u32,
    entries: VecDeque<Entry>,
    /// The last position that went out or was given up before what is queued.
    after: Option<Position>,
    keys: Option<Box<Keys>>,
    /// The next page is to be pulled when the queue is empty.
    pub(super) pull_due: bool,
    /// The queue stands in the connection's ring of queues with something to send.
    pub(super) in_ring: bool,
}

/// What [`Queue::clear_for_resync`] took out.
pub(super) struct Cleared {
    /// These are read again.
    pub(super) again: Vec<Arc<Message>>,
    /// These are in no log any more, and told in a gap.
    pub(super) lost: Vec<Arc<Message>>,
    /// Reading begins after this.
    pub(super) after: Position,
}

impl Queue {
    pub(super) fn new(subject: Subject, policy: OverflowPolicy, limit: usize) -> Self {
        let keys = (policy == OverflowPolicy::ConflateByKey).then(|| Box::new(Keys::new()));
        Self {
            subject,
            policy,
            limit: u32::try_from(limit).unwrap_or(u32::MAX).max(1),
            messages: 0,
            entries: VecDeque::new(),
            after: None,
            keys,
            pull_due: false,
            in_ring: false,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn messages(&self) -> u32 {
        self.messages
    }

    /// Entries, conflated places, and the limit of messages.
    #[cfg(all(test, not(loom)))]
    pub(super) fn lengths(&self) -> (usize, usize, usize) {
        (self.entries.len(), self.keys.as_ref().map_or(0, |keys| keys.holes()), self.limit as usize)
    }

    #[cfg(all(test, not(loom)))]
    pub(super) fn largest(&self, shared: &super::shared::Shared) -> usize {
        let messages = self.entries.iter().filter_map(|entry| match entry {
            Entry::Message(message) => Some(super::state::charge_of(shared, message)),
            _ => None,
        });
        messages.max().unwrap_or(0)
    }

    pub(super) fn is_full(&self) -> bool {
        self.messages >= self.limit
    }

    /// Whether what is hidden on purpose must be told by its position.
    pub(super) fn wants_cursors(&self) -> bool {
        matches!(self.subject, Subject::Topic(_))
    }

    /// Notes up to where everything went out or was given up. What a pattern brings has no one order of positions.
    pub(super) fn went_out(&mut self, position: Option<Position>) {
        if position.is_some() && matches!(self.subject, Subject::Topic(_)) {
            self.after = position;
        }
    }

    pub(super) fn push(&mut self, message: Arc<Message>) {
        if let Some(keys) = &mut self.keys {
            keys.pushed(&message, self.entries.len());
        }
        self.messages += 1;
        self.entries.push_back(Entry::Message(message));
    }

    pub(super) fn push_live(&mut self, position: Position) {
        self.entries.push_back(Entry::Live(position));
    }

    pub(super) fn push_cursor(&mut self, position: Position) {
        match self.entries.back_mut() {
            Some(Entry::Cursor(held)) => *held = position,
            _ => self.entries.push_back(Entry::Cursor(position)),
        }
    }

    /// Tells a loss behind everything queued.
    pub(super) fn push_gap(&mut self, mut gap: Gap) {
        let last = self.last_queued();
        let mut tail = self.entries.iter().rev();
        if let (Some(Entry::Cursor(_)), Some(Entry::Gap(_))) = (tail.next(), tail.next()) {
            // The gap reaches beyond what was hidden.
            self.entries.pop_back();
        }
        if let Some(Entry::Gap(held)) = self.entries.back_mut() {
            held.merge(gap);
            return;
        }
        gap.last = gap.last.or(last);
        self.entries.push_back(Entry::Gap(Box::new(gap)));
    }

    /// Gives up the oldest message, and tells the loss in its place.
    pub(super) fn drop_oldest(&mut self) -> Option<Arc<Message>> {
        if self.messages == 0 {
            return None;
        }
        let (mut before, mut gap): (Option<Box<Gap>>, Option<Box<Gap>>) = (None, None);
        let mut live = None;
        let dropped = loop {
            match self.pop_entry()? {
                Entry::Message(message) => break message,
                Entry::Gap(held) => merge(&mut gap, *held),
                Entry::Live(position) => {
                    // What is missing of the past is told before the word that all of it has come.
                    if let Some(gap) = gap.take() {
                        merge(&mut before, *gap);
                    }
                    live = Some(position);
                    self.went_out(live);
                }
                Entry::Cursor(position) => self.went_out(Some(position)),
                Entry::Conflated => {}
            }
        };
        merge(&mut gap, Gap::new(GapReason::Slow, Some(1)).between(self.after, None));
        // Two gaps may have become neighbours.
        self.take_gaps(&mut gap);
        if let Some(gap) = gap {
            self.push_front(Entry::Gap(gap));
        }
        if let Some(position) = live {
            self.push_front(Entry::Live(position));
        }
        if let Some(gap) = before {
            self.push_front(Entry::Gap(gap));
        }
        self.went_out(dropped.position());
        Some(dropped)
    }

    /// Takes out the queued message that a new one of the same key replaces.
    pub(super) fn conflate(&mut self, newer: &Message) -> Option<Arc<Message>> {
        let keys = self.keys.as_mut()?;
        let older = keys.conflate(newer, |index| self.entries.get_mut(index))?;
        self.messages -= 1;
        if keys.holes() > self.limit as usize {
            self.compact();
        }
        Some(older)
    }

    /// The front entry, and what it says of the position that comes next.
    pub(super) fn pop(&mut self) -> Option<Entry> {
        let mut entry = self.pop_entry()?;
        while let Entry::Conflated = entry {
            entry = self.pop_entry()?;
        }
        if let Entry::Gap(gap) = entry {
            let mut gap = Some(gap);
            self.take_gaps(&mut gap);
            let mut gap = gap?;
            // What was said to come next may have given way since.
            gap.next = self.first_position().or(gap.next);
            entry = Entry::Gap(gap);
        }
        if self.entries.is_empty() {
            self.release();
        }
        Some(entry)
    }

    /// Puts back what [`pop`](Self::pop) took, because it could not be sent.
    pub(super) fn unpop(&mut self, entry: Entry) {
        if let Entry::Message(_) = &entry {
            self.messages += 1;
        }
        self.push_front(entry);
    }

    /// Empties the queue in order to read it again from the log, now that a message at `place`
    /// does not fit. What is lost already stays told, unless the log tells of it again, and so is what an earlier log held: that is gone.
    pub(super) fn clear_for_resync(&mut self, place: LogPlace) -> Cleared {
        let epoch = place.position.epoch;
        let mut told: Option<Box<Gap>> = None;
        let mut again = Vec::with_capacity(self.messages as usize);
        let mut lost = Vec::new();
        let mut after = None;
        while let Some(entry) = self.pop_entry() {
            match entry {
                Entry::Message(message) => {
                    match message.place().filter(|held| held.position.epoch == epoch) {
                        Some(held) => {
                            after.get_or_insert(held.prev);
                            again.push(message);
                        }
                        None => {
                            merge(&mut told, Gap::new(GapReason::Epoch, Some(1)).between(self.after, None));
                            lost.push(message);
                        }
                    }
                }
                Entry::Gap(mut gap) => {
                    if let Some(after) = after {
                        if gap.is_hole {
                            continue;
                        }
                        // It is told before what is read again.
                        gap.last = Some(Position::new(epoch, after));
                    }
                    merge(&mut told, *gap);
                }
                Entry::Live(_) | Entry::Cursor(_) | Entry::Conflated => {}
            }
        }
        self.release();
        if let Some(mut gap) = told {
            gap.next = None;
            self.entries.push_back(Entry::Gap(gap));
        }
        let after = Position::new(epoch, after.unwrap_or(place.prev));
        self.after = Some(after);
        Cleared { again, lost, after }
    }

    pub(super) fn note_sent(&mut self, entry: &Entry) {
        match entry {
            Entry::Message(message) => self.went_out(message.position()),
            Entry::Cursor(position) | Entry::Live(position) => self.went_out(Some(*position)),
            Entry::Gap(_) | Entry::Conflated => {}
        }
    }

    /// Where in its topic's log the subscription is after this entry. A gap does not say: what stands behind it
    /// may have been said earlier.
    pub(super) fn cursor_of(&self, entry: &Entry) -> Option<Position> {
        match (&self.subject, entry) {
            (Subject::Pattern(_), _) | (_, Entry::Gap(_) | Entry::Conflated) => None,
            // Who watches presence begins with a snapshot, wherever it was.
            (Subject::Topic(topic), _) if crate::presence::is_event_topic(topic) => None,
            (Subject::Topic(_), Entry::Message(message)) => message.position(),
            (Subject::Topic(_), Entry::Cursor(position) | Entry::Live(position)) => Some(*position),
        }
    }

    pub(super) fn into_messages(self) -> impl Iterator<Item = Arc<Message>> {
        self.entries.into_iter().filter_map(|entry| match entry {
            Entry::Message(message) => Some(message),
            _ => None,
        })
    }

    fn pop_entry(&mut self) -> Option<Entry> {
        let entry = self.entries.pop_front()?;
        if let Entry::Message(_) = &entry {
            self.messages -= 1;
        }
        if let Some(keys) = &mut self.keys {
            keys.popped(&entry);
        }
        Some(entry)
    }

    fn push_front(&mut self, entry: Entry) {
        if let Some(keys) = &mut self.keys {
            keys.pushed_front(&entry);
        }
        self.entries.push_front(entry);
    }

    /// Closes the conflated places: what stood on both sides of one may merge.
    fn compact(&mut self) {
        let entries = std::mem::take(&mut self.entries);
        self.messages = 0;
        if let Some(keys) = &mut self.keys {
            keys.begin_anew();
        }
        for entry in entries {
            match entry {
                Entry::Message(message) => self.push(message),
                Entry::Gap(gap) => self.push_gap(*gap),
                Entry::Cursor(position) => self.push_cursor(position),
                Entry::Live(position) => self.push_live(position),
                Entry::Conflated => {}
            }
        }
    }

    /// Merges the gaps that stand at the front into one, with what was hidden between them.
    fn take_gaps(&mut self, gap: &mut Option<Box<Gap>>) {
        loop {
            let mut front = self.entries.iter().filter(|entry| !matches!(entry, Entry::Conflated));
            match (front.next(), front.next()) {
                (Some(Entry::Gap(_)), _) | (Some(Entry::Cursor(_)), Some(Entry::Gap(_))) => {}
                _ => return,
            }
            while let Some(entry) = self.pop_entry() {
                if let Entry::Gap(behind) = entry {
                    merge(gap, *behind);
                    break;
                }
            }
        }
    }

    /// Empty, it holds no memory of its own.
    fn release(&mut self) {
        self.entries = VecDeque::new();
        if let Some(keys) = &mut self.keys {
            keys.release();
        }
    }

    fn first_position(&self) -> Option<Position> {
        if let Subject::Pattern(_) = self.subject {
            return None;
        }
        self.entries.iter().find_map(|entry| match entry {
            Entry::Message(message) => Some(message.position()),
            Entry::Gap(_) => Some(None),
            Entry::Live(_) | Entry::Cursor(_) | Entry::Conflated => None,
        })?
    }

    fn last_queued(&self) -> Option<Position> {
        if let Subject::Pattern(_) = self.subject {
            return None;
        }
        let queued = self.entries.iter().rev().find_map(|entry| match entry {
            Entry::Message(message) => message.position(),
            Entry::Cursor(position) | Entry::Live(position) => Some(*position),
            Entry::Gap(_) | Entry::Conflated => None,
        });
        queued.or(self.after)
    }
}

/// Takes a gap into the one before it, if there is one.
fn merge(gap: &mut Option<Box<Gap>>, later: Gap) {
    match gap {
        Some(held) => held.merge(later),
        None => *gap = Some(Box::new(later)),
    }
}

#[cfg(all(test, not(loom)))]
#[path = "queue_model/mod.rs"]
mod model;
