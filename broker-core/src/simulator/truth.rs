//! What has been accepted, and what each topic retains of it: the model that receivers are held against.

use std::{collections::HashMap, time::Duration};

use tokio::time::Instant;

use super::direct::Addressed;
use crate::{message::Epoch, session::ClientId};

/// One topic of a world.
#[derive(Clone, Debug)]
pub(super) struct Topic {
    pub(super) name: &'static str,
    pub(super) retains: Option<Retains>,
    pub(super) conflates: bool,
    pub(super) resyncs: bool,
    /// In the order in which they were accepted; on a logged topic the n-th has the offset n + 1.
    pub(super) sent: Vec<Sent>,
    pub(super) epoch: Option<Epoch>,
}

/// What a logged topic retains.
#[derive(Clone, Copy, Debug)]
pub(super) struct Retains {
    pub(super) messages: usize,
    pub(super) bytes: usize,
    pub(super) ttl: Duration,
    pub(super) latest: usize,
}

/// One accepted message.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) uid: u64,
    pub(super) key: Option<u8>,
    pub(super) except: Vec<ClientId>,
    /// It went to other topics as well, and reaches a connection once.
    pub(super) several: bool,
    pub(super) weight: usize,
    pub(super) at: Instant,
}

/// All topics, and where each message stands.
#[derive(Default)]
pub(super) struct Truth {
    pub(super) topics: Vec<Topic>,
    /// In the order in which they were accepted.
    pub(super) addressed: Vec<Addressed>,
    places: HashMap<(u64, usize), usize>,
}

impl Truth {
    pub(super) fn index(&self, name: &str) -> usize {
        self.topics.iter().position(|topic| topic.name == name).unwrap_or_else(|| panic!("no topic {name}"))
    }

    pub(super) fn topic(&self, name: &str) -> &Topic {
        &self.topics[self.index(name)]
    }

    pub(super) fn accept(&mut self, topic: usize, sent: Sent) {
        let held = &mut self.topics[topic];
        self.places.insert((sent.uid, topic), held.sent.len());
        held.sent.push(sent);
    }

    /// Where a message stands among those of its topic.
    pub(super) fn place(&self, uid: u64, name: &str) -> usize {
        let place = self.places.get(&(uid, self.index(name)));
        *place.unwrap_or_else(|| panic!("message {uid} was never accepted on {name}"))
    }
}

impl Topic {
    pub(super) fn top(&self) -> usize {
        self.sent.len()
    }

    /// The first message that is retained.
    pub(super) fn floor(&self, now: Instant) -> usize {
        let Some(retains) = self.retains else { return self.sent.len() };
        let (mut floor, mut bytes) = (self.sent.len(), 0);
        while floor > 0 {
            let next = &self.sent[floor - 1];
            bytes += next.weight;
            let held = self.sent.len() - floor;
            if held == retains.messages || (bytes > retains.bytes && held > 0) || next.at + retains.ttl <= now
            {
                break;
            }
            floor -= 1;
        }
        floor
    }

    /// The last value of each key, in the log's order.
    pub(super) fn latest(&self) -> Vec<usize> {
        let limit = self.retains.map_or(0, |retains| retains.latest);
        let mut found: Vec<usize> = Vec::new();
        for (index, sent) in self.sent.iter().enumerate().rev() {
            if found.len() < limit
                && sent.key.is_some()
                && !found.iter().any(|held| self.sent[*held].key == sent.key)
            {
                found.push(index);
            }
        }
        found.reverse();
        found
    }

    /// Whether a later message of the same key has been accepted.
    pub(super) fn is_superseded(&self, index: usize) -> bool {
        let key = self.sent[index].key;
        key.is_some() && self.sent[index + 1..].iter().any(|later| later.key == key)
    }
}
