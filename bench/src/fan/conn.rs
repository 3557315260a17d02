//! One connection: its socket, how far it is, what comes in on it, and what it is subscribed to.

use std::io;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{SendFlags, send};

use super::chunked::Chunks;

pub(super) struct Conn {
    pub(super) socket: OwnedFd,
    pub(super) state: State,
    pub(super) role: Role,
    pub(super) input: Input,
    /// Start of a frame, an event or an answer whose rest was not read yet.
    pub(super) carry: Vec<u8>,
    /// Fragments of a message whose end was not read yet.
    pub(super) fragments: Vec<u8>,
    /// What is to be sent.
    pub(super) out: Vec<u8>,
    /// Publishes without an answer so far; over a WebSocket the good ones never have one.
    pub(super) asked: u64,
    /// Whether the poller watches for room to write.
    pub(super) watches_room: bool,
    /// Whether it belongs to the probe, which is looked at before the others.
    pub(super) urgent: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum State {
    Connecting,
    Upgrading,
    /// Number of replies to subscriptions that are still to come.
    Subscribing(u32),
    Ready,
    /// Subscribed, and reads no more.
    Stalled,
    /// Was stalled, and now reads what was kept for it; the run is over.
    CatchingUp,
    Closed,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Role {
    Subscriber(Subscriptions),
    Publisher,
}

/// What the server sends on a connection.
#[derive(Clone, Copy, Debug)]
pub(super) enum Input {
    /// WebSocket frames, after the upgrade.
    Frames,
    /// Server-Sent Events, in a chunked body or in one that ends with the connection.
    Events(Option<Chunks>),
    /// Answers to HTTP publishes.
    Answers,
}

/// The topics of one connection: `count` of the ring `base..base + ring`, in a row from `base + first`, which
/// are the ledger's readers from `reader` on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subscriptions {
    pub(super) base: u32,
    pub(super) ring: u32,
    pub(super) first: u32,
    pub(super) count: u32,
    pub(super) reader: usize,
    pub(super) stalls: bool,
}

impl Subscriptions {
    /// The topics, first to last.
    pub(super) fn topics(self) -> impl Iterator<Item = u32> {
        (0..self.count).map(move |ahead| self.base + (self.first + ahead) % self.ring)
    }

    /// The ledger's reader of `topic`, if this connection subscribes to it.
    pub(super) fn reader_of(self, topic: u32) -> Option<usize> {
        let place = topic.checked_sub(self.base).filter(|place| *place < self.ring)?;
        let ahead = if place >= self.first { place - self.first } else { place + self.ring - self.first };
        (ahead < self.count).then_some(self.reader + ahead as usize)
    }
}

impl Conn {
    pub(super) fn new(socket: OwnedFd, role: Role, input: Input, urgent: bool) -> Self {
        Self {
            socket,
            state: State::Connecting,
            role,
            input,
            carry: Vec::new(),
            fragments: Vec::new(),
            out: Vec::new(),
            asked: 0,
            watches_room: true,
            urgent,
        }
    }

    /// Sends what is queued; `false` when the socket took only a part.
    pub(super) fn send_queued(&mut self) -> io::Result<bool> {
        while !self.out.is_empty() {
            match send(&self.socket, &self.out, SendFlags::NOSIGNAL) {
                Ok(sent) => drop(self.out.drain(..sent)),
                Err(Errno::AGAIN) => return Ok(false),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_wrap_around_the_ring() {
        let some = Subscriptions { base: 0, ring: 5, first: 3, count: 3, reader: 30, stalls: false };
        assert_eq!(some.topics().collect::<Vec<_>>(), [3, 4, 0]);
        let readers: Vec<_> = (0..6).map(|topic| some.reader_of(topic)).collect();
        assert_eq!(readers, [Some(32), None, None, Some(30), Some(31), None]);
    }

    #[test]
    fn the_probe_is_a_ring_of_its_own() {
        let probe = Subscriptions { base: 1, ring: 1, first: 0, count: 1, reader: 9, stalls: false };
        assert_eq!(probe.topics().collect::<Vec<_>>(), [1]);
        assert_eq!((probe.reader_of(0), probe.reader_of(1), probe.reader_of(2)), (None, Some(9), None));
    }
}
