//! What was published, what arrived at whom, and how late: the oracle.
//!
//! Each topic numbers its messages 1, 2, 3, ... Each reader (one subscription of one connection) remembers the
//! last number it saw and which ones below it are still out, so that every delivery is known exactly as the
//! expected next one, one that comes after a later one, or one that came before.

use hdrhistogram::Histogram;

/// Who a message is for: the load, or the probe beside it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Lane {
    Load = 0,
    Probe = 1,
}

/// Totals over all readers.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Counts {
    /// Deliveries that were due: readers of the topic at the time of each publish.
    pub(super) expected: u64,
    /// Deliveries that came, doubles not among them.
    pub(super) received: u64,
    /// Deliveries that the same reader had had before.
    pub(super) doubled: u64,
    /// Deliveries that came after a later message of their topic.
    pub(super) reordered: u64,
    /// Deliveries to a connection without a subscription to that topic, or of a message never published.
    pub(super) misrouted: u64,
    /// Messages that were given up because nothing came any more.
    pub(super) abandoned: u64,
}

pub(super) struct Ledger {
    pub(super) counts: Counts,
    messages: Vec<Message>,
    topics: Vec<Topic>,
    readers: Vec<Reader>,
    lanes: [LaneState; 2],
    /// All messages before this one are complete.
    oldest: usize,
    recording: bool,
}

struct Message {
    topic: u32,
    sequence: u32,
    due_ns: u64,
    missing: u32,
    lane: Lane,
}

#[derive(Default)]
struct Topic {
    published: u32,
    readers: u32,
}

#[derive(Default)]
struct Reader {
    last: u32,
    /// Sequences below `last` that did not come yet, ascending.
    skipped: Vec<u32>,
}

struct LaneState {
    published: u64,
    completed: u64,
    latency: Histogram<u64>,
}

impl Ledger {
    pub(super) fn new(topics: usize) -> anyhow::Result<Self> {
        let lane = || -> anyhow::Result<LaneState> {
            // 1 ns to 10 minutes, three digits.
            Ok(LaneState {
                published: 0,
                completed: 0,
                latency: Histogram::new_with_bounds(1, 600_000_000_000, 3)?,
            })
        };
        Ok(Self {
            counts: Counts::default(),
            messages: Vec::new(),
            topics: std::iter::repeat_with(Topic::default).take(topics).collect(),
            readers: Vec::new(),
            lanes: [lane()?, lane()?],
            oldest: 0,
            recording: false,
        })
    }

    /// A new reader of `topic`, named by the returned number. One that is not `counted` may receive, but
    /// nothing is expected of it.
    pub(super) fn add_reader(&mut self, topic: u32, counted: bool) -> usize {
        self.topics[topic as usize].readers += u32::from(counted);
        self.readers.push(Reader::default());
        self.readers.len() - 1
    }

    /// A reader of `topic` is gone: later messages do not expect it.
    pub(super) fn remove_reader(&mut self, topic: u32) {
        let readers = &mut self.topics[topic as usize].readers;
        *readers = readers.saturating_sub(1);
    }

    /// Enters a message that is published now and was due at `due_ns`; returns its number.
    pub(super) fn publish(&mut self, topic: u32, lane: Lane, due_ns: u64) -> u32 {
        let state = &mut self.topics[topic as usize];
        state.published += 1;
        self.counts.expected += u64::from(state.readers);
        let lane_state = &mut self.lanes[lane as usize];
        lane_state.published += 1;
        lane_state.completed += u64::from(state.readers == 0);
        let sequence = state.published;
        self.messages.push(Message { topic, sequence, due_ns, missing: state.readers, lane });
        (self.messages.len() - 1) as u32
    }

    /// The topic of message `number`.
    pub(super) fn topic_of(&self, number: u32) -> Option<u32> {
        Some(self.messages.get(number as usize)?.topic)
    }

    /// Message `number` arrived at `reader` at `now_ns`.
    pub(super) fn deliver(&mut self, reader: usize, number: u32, now_ns: u64) {
        let message = &mut self.messages[number as usize];
        match self.readers[reader].take(message.sequence) {
            Arrival::Next => {}
            Arrival::Late => self.counts.reordered += 1,
            Arrival::Again => {
                self.counts.doubled += 1;
                return;
            }
        }
        self.counts.received += 1;
        let lane = &mut self.lanes[message.lane as usize];
        if self.recording {
            lane.latency.saturating_record(now_ns.saturating_sub(message.due_ns));
        }
        if message.missing > 0 {
            message.missing -= 1;
            lane.completed += u64::from(message.missing == 0);
        }
    }

    /// Gives up all messages in flight: they count as complete, their missing deliveries as lost.
    pub(super) fn abandon(&mut self) {
        for message in &mut self.messages[self.oldest..] {
            if message.missing > 0 {
                message.missing = 0;
                self.counts.abandoned += 1;
                self.lanes[message.lane as usize].completed += 1;
            }
        }
        self.oldest = self.messages.len();
    }

    /// From now on latencies are recorded.
    pub(super) fn start_recording(&mut self) {
        self.recording = true;
    }

    pub(super) fn published(&self, lane: Lane) -> u64 {
        self.lanes[lane as usize].published
    }

    pub(super) fn completed(&self, lane: Lane) -> u64 {
        self.lanes[lane as usize].completed
    }

    pub(super) fn in_flight(&self) -> u64 {
        self.lanes.iter().map(|lane| lane.published - lane.completed).sum()
    }

    pub(super) fn latency(&self, lane: Lane) -> &Histogram<u64> {
        &self.lanes[lane as usize].latency
    }
}

enum Arrival {
    Next,
    Late,
    Again,
}

impl Reader {
    fn take(&mut self, sequence: u32) -> Arrival {
        if sequence > self.last {
            self.skipped.extend(self.last + 1..sequence);
            self.last = sequence;
            return Arrival::Next;
        }
        match self.skipped.binary_search(&sequence) {
            Ok(at) => {
                self.skipped.remove(at);
                Arrival::Late
            }
            Err(_) => Arrival::Again,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One topic with two readers and `messages` published.
    fn ledger(messages: u32) -> (Ledger, usize, usize) {
        let mut ledger = Ledger::new(1).unwrap();
        let (a, b) = (ledger.add_reader(0, true), ledger.add_reader(0, true));
        for number in 0..messages {
            assert_eq!(ledger.publish(0, Lane::Load, 100), number);
        }
        (ledger, a, b)
    }

    #[test]
    fn in_order_is_clean() {
        let (mut ledger, a, b) = ledger(3);
        ledger.start_recording();
        for number in 0..3 {
            ledger.deliver(a, number, 1_100);
            assert_eq!(ledger.completed(Lane::Load), u64::from(number));
            ledger.deliver(b, number, 2_100);
        }
        assert_eq!(ledger.counts, Counts { expected: 6, received: 6, ..Counts::default() });
        assert_eq!(ledger.in_flight(), 0);
        assert_eq!(ledger.latency(Lane::Load).len(), 6);
        assert!(ledger.latency(Lane::Load).max() >= 1_990);
    }

    #[test]
    fn a_double_is_neither_received_nor_lost() {
        let (mut ledger, a, _) = ledger(3);
        for number in [0, 1, 1, 2, 0] {
            ledger.deliver(a, number, 200);
        }
        assert_eq!(ledger.counts, Counts { expected: 6, received: 3, doubled: 2, ..Counts::default() });
    }

    #[test]
    fn late_is_reordered_once_however_late() {
        let (mut ledger, a, _) = ledger(1000);
        for number in (2..1000).chain([0, 1, 0]) {
            ledger.deliver(a, number, 200);
        }
        let counts = Counts { expected: 2000, received: 1000, reordered: 2, doubled: 1, ..Counts::default() };
        assert_eq!(ledger.counts, counts);
    }

    #[test]
    fn what_is_given_up_is_complete_and_stays_lost() {
        let (mut ledger, a, b) = ledger(2);
        ledger.deliver(a, 0, 200);
        ledger.deliver(b, 0, 200);
        ledger.deliver(a, 1, 200);
        assert_eq!(ledger.in_flight(), 1);
        ledger.abandon();
        assert_eq!((ledger.in_flight(), ledger.counts.abandoned), (0, 1));
        assert_eq!(ledger.counts.expected - ledger.counts.received, 1);
        ledger.deliver(b, 1, 200);
        assert_eq!(ledger.counts.expected - ledger.counts.received, 0);
        assert_eq!(ledger.in_flight(), 0);
    }

    #[test]
    fn nothing_is_expected_of_the_stalled_and_the_gone() {
        let mut ledger = Ledger::new(1).unwrap();
        ledger.add_reader(0, false);
        ledger.publish(0, Lane::Load, 1);
        assert_eq!((ledger.counts.expected, ledger.in_flight()), (0, 0));
        ledger.add_reader(0, true);
        ledger.publish(0, Lane::Load, 1);
        assert_eq!((ledger.counts.expected, ledger.in_flight()), (1, 1));
        ledger.remove_reader(0);
        ledger.publish(0, Lane::Load, 1);
        assert_eq!((ledger.counts.expected, ledger.in_flight()), (1, 1));
    }
}
