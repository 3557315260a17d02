//! The truth: what was published, what became of it, and where it is stored.

mod claim;
mod log;
mod stream;

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
    time::Instant,
};

pub(super) use claim::Claim;
use fanfare::message::{LogPlace, Position};
use log::Log;
use parking_lot::Mutex;
pub(super) use stream::Fate;
use stream::{Sent, Stream};

use super::{nodes::Node, topics::TOPICS, uid::Uid};

/// A moment: of two, the later one is greater.
pub(super) type Tick = u64;

/// What is wrong.
pub(super) type Wrong = String;

/// All that was published since the last [pruning](Ledger::prune) but one.
pub(super) struct Ledger {
    ticks: AtomicU64,
    began: Instant,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    streams: BTreeMap<u32, Stream>,
    logs: Vec<Log>,
    next_stream: u32,
    /// Streams and offsets of the last pruning, which the next one forgets.
    quiet: Vec<u64>,
}

impl Ledger {
    pub(super) fn new() -> Self {
        let logs = TOPICS.iter().map(|_| Log::default()).collect();
        let state = State { streams: BTreeMap::new(), logs, next_stream: 0, quiet: vec![0; TOPICS.len()] };
        Self { ticks: AtomicU64::new(1), began: Instant::now(), state: Mutex::new(state) }
    }

    /// This moment.
    pub(super) fn tick(&self) -> Tick {
        self.ticks.fetch_add(1, Ordering::SeqCst)
    }

    /// A new stream of messages to one topic, through one broker.
    pub(super) fn open(&self, topic: usize, through: &Node) -> u32 {
        let mut state = self.state.lock();
        state.next_stream += 1;
        let stream = state.next_stream;
        let through = format!("node {} (run {})", through.slot, through.run);
        state.streams.insert(stream, Stream::new(topic, through));
        stream
    }

    /// No message follows in a stream.
    pub(super) fn close(&self, stream: u32) {
        if let Some(stream) = self.state.lock().streams.get_mut(&stream) {
            stream.closed = true;
        }
    }

    /// A message is about to be published.
    pub(super) fn begin(&self, stream: u32, key: Option<u8>) -> Option<Uid> {
        let (started, at) = (self.tick(), self.began.elapsed().as_secs_f64());
        let mut state = self.state.lock();
        let n = state.streams.get_mut(&stream)?.push(Sent::new(started, at, key));
        Some(Uid { stream, n })
    }

    /// What became of a message. `in_turn`: nothing was published by its stream meanwhile.
    pub(super) fn settle(
        &self,
        uid: Uid,
        fate: Fate,
        position: Option<Position>,
        in_turn: bool,
    ) -> Result<(), Wrong> {
        let mut state = self.state.lock();
        let state = &mut *state;
        let Some(stream) = state.streams.get_mut(&uid.stream) else { return Ok(()) };
        let topic = stream.topic;
        let Some(sent) = stream.sent_mut(uid.n) else { return Ok(()) };
        sent.fate = fate;
        if fate == Fate::Never && (sent.heard || sent.position.is_some()) {
            return Err(format!("{uid} was delivered, and then its publisher was told that nobody gets it"));
        }
        if TOPICS[topic].logged != position.is_some() && fate == Fate::Accepted {
            return Err(format!("{uid} of {} is acknowledged at {position:?}", TOPICS[topic].name));
        }
        let Some(position) = position else { return Ok(()) };
        stream.place(uid, position)?;
        if in_turn {
            stream.acknowledged(uid, position)?;
        }
        state.logs[topic].put(topic, uid, position, None)
    }

    /// A message was delivered to somebody.
    pub(super) fn heard(&self, topic: usize, uid: Uid, place: Option<LogPlace>) -> Result<(), Wrong> {
        let mut state = self.state.lock();
        let state = &mut *state;
        let Some(stream) = state.streams.get_mut(&uid.stream) else {
            // Forgotten long ago.
            return if uid.stream <= state.next_stream {
                Ok(())
            } else {
                Err(format!("{uid} was never published"))
            };
        };
        if stream.topic != topic {
            return Err(format!("{uid} was published to {}", TOPICS[stream.topic].name));
        }
        if uid.n >= stream.end() {
            return Err(format!("{uid} was never published"));
        }
        if TOPICS[topic].logged != place.is_some() {
            return Err(format!("{uid} stands at {place:?}"));
        }
        if let Some(sent) = stream.sent_mut(uid.n) {
            sent.heard = true;
            if sent.fate == Fate::Never {
                return Err(format!("{uid} is delivered, and its publisher was told that nobody gets it"));
            }
        }
        let Some(place) = place else { return Ok(()) };
        stream.place(uid, place.position)?;
        state.logs[topic].put(topic, uid, place.position, Some(place.prev))
    }

    /// The last position of a topic that is known.
    pub(super) fn top(&self, topic: usize) -> Option<Position> {
        self.state.lock().logs[topic].top()
    }

    /// The last number of each stream to a topic that has to reach who was subscribed at a moment.
    pub(super) fn owed(&self, topic: usize, since: Tick, conflates: bool) -> Vec<Uid> {
        let state = self.state.lock();
        let of_topic = state.streams.iter().filter(|(_, stream)| stream.topic == topic);
        of_topic
            .filter_map(|(id, stream)| Some(Uid { stream: *id, n: stream.last_owed(since, conflates)? }))
            .collect()
    }

    /// The last position of a logged topic among what was published after a moment.
    pub(super) fn owed_position(&self, topic: usize, since: Tick) -> Option<Position> {
        let state = self.state.lock();
        let of_topic = state.streams.values().filter(|stream| stream.topic == topic);
        let positions = of_topic.filter_map(|stream| stream.last_position(since));
        positions.max_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal))
    }

    /// Whether a claim holds. To be asked when all is settled.
    pub(super) fn check(&self, claim: &Claim) -> Result<(), Wrong> {
        let state = self.state.lock();
        claim.check(&state.logs, &state.streams)
    }

    /// Whether each message that was delivered named the one before it. To be asked when all is settled.
    pub(super) fn check_logs(&self) -> Result<(), Wrong> {
        let state = self.state.lock();
        state.logs.iter().enumerate().try_for_each(|(topic, log)| log.check(topic))
    }

    /// Forgets what was settled at the last call.
    pub(super) fn prune(&self) {
        let mut state = self.state.lock();
        let state = &mut *state;
        for (log, quiet) in state.logs.iter_mut().zip(&mut state.quiet) {
            log.forget(*quiet);
            *quiet = log.top().map_or(0, |top| top.offset);
        }
        state.streams.retain(|_, stream| {
            stream.forget();
            !stream.is_over()
        });
    }

    /// How many messages are held.
    pub(super) fn len(&self) -> usize {
        self.state.lock().streams.values().map(Stream::len).sum()
    }
}
