//! What one publisher has sent to one topic through one broker.

use std::collections::VecDeque;

use fanfare::message::Position;

use super::{Tick, Wrong};
use crate::soak::uid::Uid;

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Nobody knows yet.
    Pending,
    /// The backend has it.
    Accepted,
    /// Nobody gets it.
    Never,
    /// It may be delivered or not.
    Unknown,
}

/// One message.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) started: Tick,
    /// The same, in seconds of the run.
    pub(super) at: f64,
    pub(super) key: Option<u8>,
    pub(super) fate: Fate,
    pub(super) position: Option<Position>,
    pub(super) heard: bool,
}

impl Sent {
    pub(super) fn new(started: Tick, at: f64, key: Option<u8>) -> Self {
        Self { started, at, key, fate: Fate::Pending, position: None, heard: false }
    }
}

/// Messages in the order in which they were handed over.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) topic: usize,
    /// Through which broker.
    pub(super) through: String,
    pub(super) closed: bool,
    /// The number of the first one that is held.
    first: u32,
    sent: VecDeque<Sent>,
    /// All before it may be forgotten next time.
    quiet: u32,
    acknowledged: Option<(u32, Position)>,
}

impl Stream {
    pub(super) fn new(topic: usize, through: String) -> Self {
        Self { topic, through, closed: false, first: 1, sent: VecDeque::new(), quiet: 1, acknowledged: None }
    }

    pub(super) fn push(&mut self, sent: Sent) -> u32 {
        self.sent.push_back(sent);
        self.end() - 1
    }

    /// The number that comes next.
    pub(super) fn end(&self) -> u32 {
        self.first + self.sent.len() as u32
    }

    pub(super) fn len(&self) -> usize {
        self.sent.len()
    }

    pub(super) fn sent(&self, n: u32) -> Option<&Sent> {
        self.sent.get(n.checked_sub(self.first)? as usize)
    }

    pub(super) fn sent_mut(&mut self, n: u32) -> Option<&mut Sent> {
        self.sent.get_mut(n.checked_sub(self.first)? as usize)
    }

    /// A message is stored at one position.
    pub(super) fn place(&mut self, uid: Uid, position: Position) -> Result<(), Wrong> {
        let Some(sent) = self.sent_mut(uid.n) else { return Ok(()) };
        match sent.position {
            Some(other) if other != position => {
                Err(format!("{uid} is stored twice: at {other} and at {position}"))
            }
            _ => {
                sent.position = Some(position);
                Ok(())
            }
        }
    }

    /// Messages that one node hands over stand in this order, in whichever order that is told.
    pub(super) fn acknowledged(&mut self, uid: Uid, position: Position) -> Result<(), Wrong> {
        if let Some((n, other)) = self.acknowledged
            && other.epoch == position.epoch
            && (uid.n > n) != (position.offset > other.offset)
        {
            let stream = uid.stream;
            return Err(format!("{uid} is stored at {position}, and {stream}.{n} at {other}"));
        }
        if self.acknowledged.is_none_or(|(n, _)| uid.n > n) {
            self.acknowledged = Some((uid.n, position));
        }
        Ok(())
    }

    /// The number of the last message that has to reach who was subscribed at a moment.
    pub(super) fn last_owed(&self, since: Tick, conflates: bool) -> Option<u32> {
        let is_owed = |sent: &Sent| {
            sent.fate == Fate::Accepted && sent.started > since && !(conflates && sent.key.is_some())
        };
        let at = self.sent.iter().rposition(is_owed)?;
        Some(self.first + at as u32)
    }

    pub(super) fn last_position(&self, since: Tick) -> Option<Position> {
        let owed = self.sent.iter().rev().take_while(|sent| sent.started > since);
        owed.filter(|sent| sent.fate == Fate::Accepted).find_map(|sent| sent.position)
    }

    /// How many may be stored where nobody knows.
    pub(super) fn unknown(&self) -> u64 {
        let unknown =
            |sent: &&Sent| sent.position.is_none() && matches!(sent.fate, Fate::Unknown | Fate::Pending);
        self.sent.iter().filter(unknown).count() as u64
    }

    pub(super) fn forget(&mut self) {
        while self.first < self.quiet {
            self.sent.pop_front();
            self.first += 1;
        }
        self.quiet = self.end();
    }

    pub(super) fn is_over(&self) -> bool {
        self.closed && self.sent.is_empty()
    }
}
