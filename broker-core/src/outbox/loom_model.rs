//! The shipped outbox under every interleaving of shard, session, socket and the connection's own task: nothing
//! is unaccounted for, and no wake-up is lost, or the model would not come to its end.

// `allow-unwrap-in-tests` does not reach the helpers of tests.
#![allow(clippy::unwrap_used)]

use std::{
    future::poll_fn,
    io::{self, IoSlice},
    sync::Arc,
    task::{Context, Poll, Waker},
};

use loom::{future::block_on, thread};

use super::{
    Entry, Outbox, Subject, Wire,
    testing::{Draft, EVERYTHING, format, frame_of, frames_in, shared, unaccounted, with_batch},
};
use crate::{
    session::{CloseKind, CloseReason},
    subscriber::{Notice, Offer, SubscriptionId},
    sync::Mutex,
    topic::{OverflowPolicy, TopicName},
};

const CONTROL_BYTES: usize = 32;

/// Explores all interleavings with up to so many preemptions.
fn check(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(model);
}

/// A socket that takes as many bytes as it was told to.
struct Sink(Mutex<Sunk>);

struct Sunk {
    room: usize,
    taken: Vec<u8>,
    waker: Option<Waker>,
}

impl Sink {
    fn new(room: usize) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Sunk { room, taken: Vec::new(), waker: None })))
    }

    fn open(&self) {
        let mut sunk = self.0.lock();
        sunk.room = EVERYTHING;
        let waker = sunk.waker.take();
        drop(sunk);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn open_at_any_time(self: &Arc<Self>) -> thread::JoinHandle<()> {
        let peer = self.clone();
        thread::spawn(move || peer.open())
    }

    fn has_whole_reply(&self) -> bool {
        self.0.lock().taken.len() >= frame_of(b'R', "", b"12345678").len()
    }

    fn kinds(&self) -> String {
        frames_in(&self.0.lock().taken).iter().map(|(kind, ..)| char::from(*kind)).collect()
    }
}

impl Wire for Sink {
    fn try_write(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut sunk = self.0.lock();
        let mut written = 0;
        for buf in bufs {
            let part = buf.len().min(sunk.room);
            sunk.taken.extend_from_slice(&buf[..part]);
            sunk.room -= part;
            written += part;
        }
        if written == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(written) }
    }

    fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut sunk = self.0.lock();
        if sunk.room > 0 {
            return Poll::Ready(Ok(()));
        }
        sunk.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

struct Connection {
    outbox: Outbox,
    topic: TopicName,
    id: SubscriptionId,
}

impl Connection {
    fn new(policy: OverflowPolicy, limit: usize, is_stream: bool) -> Self {
        let format = (!is_stream).then(format);
        let outbox = Outbox::new(shared(format, EVERYTHING, CONTROL_BYTES));
        let topic = TopicName::new("t").unwrap();
        let id = outbox.add(Subject::Topic(topic.clone()), policy, limit);
        Self { outbox, topic, id }
    }

    /// On a socket that takes so many bytes, and all once it is opened.
    fn on_socket(limit: usize, room: usize) -> (Self, Arc<Sink>) {
        let connection = Self::new(OverflowPolicy::DropOldest, limit, false);
        let sink = Sink::new(room);
        connection.outbox.attach(sink.clone());
        (connection, sink)
    }

    fn shard(&self) -> Shard {
        Shard { outbox: self.outbox.clone(), topic: self.topic.clone(), id: self.id }
    }

    /// The connection's own task, to its end.
    fn run(&self) -> CloseReason {
        block_on(poll_fn(|cx| self.outbox.poll_flush(cx)))
    }

    fn assert_accounted(&self, offered: u64) {
        let shared = &self.outbox.inner.shared;
        assert_eq!(unaccounted(shared, offered, self.outbox.queued()), 0);
        assert_eq!(shared.budget.messages(), self.outbox.queued());
    }

    /// The close frame came last and once, and nothing is left. Returns what came, by its kind.
    fn assert_ended(&self, sink: &Sink, offered: u64) -> String {
        let kinds = sink.kinds();
        assert!(kinds.ends_with('X') && kinds.matches('X').count() == 1, "{kinds}");
        assert_eq!(kinds.matches('M').count() as u64, self.outbox.inner.shared.totals.delivered.get());
        self.assert_accounted(offered);
        assert_eq!(self.outbox.queued(), 0);
        kinds
    }
}

struct Shard {
    outbox: Outbox,
    topic: TopicName,
    id: SubscriptionId,
}

impl Shard {
    fn offer(&self, seq: u64) -> Offer {
        let place = Some((1, seq, seq - 1));
        let message =
            Draft { topic: self.topic.clone(), seq, size: 0, key: None, hidden: false, place }.build();
        let subscriber = self.outbox.as_subscriber();
        with_batch(&self.topic, self.id, &[message], false, false, |batch| subscriber.offer(batch))
    }

    fn offer_direct(&self, seq: u64) -> Offer {
        let topic = TopicName::new("$all").unwrap();
        let message =
            Draft { topic: topic.clone(), seq, size: 0, key: None, hidden: false, place: None }.build();
        let (subscriber, id) = (self.outbox.as_subscriber(), SubscriptionId::DIRECT);
        with_batch(&topic, id, &[message], false, false, |batch| subscriber.offer(batch))
    }
}

fn reason() -> CloseReason {
    CloseReason::new(CloseKind::Normal)
}

/// The socket takes a part, refuses the rest, and opens at any time: all of it comes out.
#[test]
fn a_blocked_connection_is_woken_by_its_socket_or_by_the_shard() {
    check(3, || {
        let (connection, sink) = Connection::on_socket(4, 3);
        let shard = connection.shard();
        let fan_out = thread::spawn(move || {
            shard.offer(1);
            shard.offer(2);
            shard.outbox.finish(reason());
        });
        let reads = sink.open_at_any_time();
        connection.run();
        fan_out.join().unwrap();
        reads.join().unwrap();
        assert_eq!(sink.kinds(), "MMX");
        assert_eq!(connection.outbox.inner.shared.totals.delivered.get(), 2);
        connection.assert_accounted(2);
    });
}

/// A write that blocks after the task was polled last, in the session's own flush.
#[test]
fn a_reply_that_blocks_the_socket_wakes_the_task() {
    check(3, || {
        let (connection, sink) = Connection::on_socket(4, 3);
        let (outbox, wire) = (connection.outbox.clone(), sink.clone());
        let session = thread::spawn(move || {
            assert!(outbox.push_control(frame_of(b'R', "", b"12345678")));
            outbox.flush();
            if wire.has_whole_reply() {
                // Nothing is left to be woken for.
                outbox.finish(reason());
            }
        });
        let reads = sink.open_at_any_time();
        block_on(poll_fn(|cx| {
            let is_over = connection.outbox.poll_flush(cx).is_ready();
            if is_over || sink.has_whole_reply() { Poll::Ready(()) } else { Poll::Pending }
        }));
        session.join().unwrap();
        reads.join().unwrap();
    });
}

/// Closing at any time between offers: the close frame is the last, the rest is accounted for.
#[test]
fn closing_under_fire_loses_count_of_nothing() {
    check(3, || {
        let (connection, sink) = Connection::on_socket(1, 3);
        let shard = connection.shard();
        let fan_out = thread::spawn(move || {
            for seq in 1..=3 {
                shard.offer(seq);
            }
        });
        let (outbox, peer) = (connection.outbox.clone(), sink.clone());
        let session = thread::spawn(move || {
            outbox.push_control(frame_of(b'R', "", b"12345678"));
            outbox.close(reason());
            peer.open();
        });
        connection.run();
        fan_out.join().unwrap();
        session.join().unwrap();
        let kinds = connection.assert_ended(&sink, 3);
        assert_eq!(kinds.matches('R').count(), 1, "{kinds}");
    });
}

/// The same with messages to the connection itself, which have a queue only as long as some of them wait.
#[test]
fn closing_while_private_messages_wait_loses_count_of_nothing() {
    check(3, || {
        let (connection, sink) = Connection::on_socket(1, 3);
        let shard = connection.shard();
        let fan_out = thread::spawn(move || {
            shard.offer_direct(1);
            shard.offer(2);
            shard.offer_direct(3);
        });
        let (outbox, peer) = (connection.outbox.clone(), sink.clone());
        let session = thread::spawn(move || {
            outbox.finish(reason());
            peer.open();
        });
        connection.run();
        fan_out.join().unwrap();
        session.join().unwrap();
        connection.assert_ended(&sink, 3);
    });
}

/// A session that waits for room is woken when replies have gone out, and when the connection ends.
#[test]
fn a_session_that_waits_for_room_is_woken() {
    check(3, || {
        // The first reply stays in the lane until the socket opens.
        let (connection, sink) = Connection::on_socket(4, 0);
        let reply = frame_of(b'R', "", &[0; 18]);
        let outbox = connection.outbox.clone();
        let session = thread::spawn(move || {
            for _ in 0..2 {
                while !outbox.push_control(reply.clone()) {
                    block_on(poll_fn(|cx| outbox.poll_room(cx, reply.len())));
                }
            }
            outbox.finish(reason());
        });
        let reads = sink.open_at_any_time();
        connection.run();
        session.join().unwrap();
        reads.join().unwrap();
        assert_eq!(sink.kinds(), "RRX");
    });
}

/// Frames that are pulled, as for TLS.
#[test]
fn a_connection_that_pulls_is_woken_by_everything() {
    check(3, || {
        let connection = Connection::new(OverflowPolicy::DropOldest, 4, false);
        let shard = connection.shard();
        let fan_out = thread::spawn(move || {
            shard.offer(1);
            shard.outbox.finish(reason());
        });
        let outbox = connection.outbox.clone();
        let session = thread::spawn(move || outbox.push_control(frame_of(b'R', "", b"")));
        let mut out = Vec::new();
        while block_on(poll_fn(|cx| connection.outbox.poll_pull(cx, 8, &mut out))).is_none() {}
        fan_out.join().unwrap();
        session.join().unwrap();
        let kinds: String = frames_in(&out.concat()).iter().map(|(kind, ..)| char::from(*kind)).collect();
        assert!(["RMX", "MRX", "MX"].contains(&&*kinds), "{kinds}");
        connection.assert_accounted(1);
    });
}

/// A stream within the process: what is queued, then the end.
#[test]
fn a_stream_gets_what_is_queued_and_then_its_end() {
    check(3, || {
        let connection = Connection::new(OverflowPolicy::DropOldest, 4, true);
        let shard = connection.shard();
        let fan_out = thread::spawn(move || {
            shard.offer(1);
            shard.offer(2);
            shard.outbox.as_subscriber().notice(shard.id, Notice::Ended(None));
        });
        let mut messages = 0;
        while let Some(entry) = block_on(poll_fn(|cx| connection.outbox.poll_entry(cx))) {
            messages += u64::from(matches!(entry, Entry::Message(_)));
        }
        fan_out.join().unwrap();
        assert_eq!(messages, 2);
        connection.assert_accounted(2);
    });
}
