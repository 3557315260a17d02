//! Every bound of a broker, in one place.

use std::{num::NonZeroU32, time::Duration};

/// About thirty years: what is longer could not be added to a point in time.
pub(crate) const FOREVER: Duration = Duration::from_secs(30 * 365 * 24 * 3600);

/// The bounds that a broker keeps. Each has a default, each can be set, none
/// can be turned off: what is unbounded ends a process sooner or later.
///
/// What a client can pass is answered by an error that names the field, the
/// limit and the value. A 0 where nothing would work with it counts as 1.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of one message's payload: 64 KiB. A topic's configuration can say less.
    pub max_message: usize,
    /// Bytes of an event name, a key or a `message_id`: 255.
    pub max_label: usize,
    /// Subscriptions of one connection: 128.
    pub subscriptions_per_connection: usize,
    /// Topics of one publish to several: 16.
    pub topics_per_publish: usize,
    /// Messages in one subscription's queue, where its topic does not say otherwise: 256. As many wait of those that are published to
    /// a connection's [addresses](crate::topic::Address).
    pub queue_messages: usize,
    /// Bytes in the queues of one connection: 1 MiB. One message always fits an empty queue.
    pub queue_bytes: usize,
    /// Bytes in the queues of all connections: 256 MiB.
    pub total_queue_bytes: usize,
    /// Bytes of replies that wait for one connection: 64 KiB. One reply always fits.
    pub control_bytes: usize,
    /// Messages that wait for one fan-out shard: 4,096; then publishers wait.
    pub inbox_messages: usize,
    /// Bytes that wait for one fan-out shard: 4 MiB.
    pub inbox_bytes: usize,
    /// Commands of one connection a second: 100.
    pub commands_per_second: NonZeroU32,
    /// Commands of one connection at once: 200.
    pub commands_burst: NonZeroU32,
    /// Subscribes of one connection a second: 50, on top of what it may hold at once.
    pub subscribes_per_second: NonZeroU32,
    /// History reads of one connection a second: 10.
    pub histories_per_second: NonZeroU32,
    /// Commands of one connection that wait for their turn while one is being served: 64, and 64 KiB of them; then its socket is not read. Answers
    /// of the client to the server's calls do not wait, as long as they are read. At 0 nothing is read meanwhile.
    pub commands_ahead: usize,
    /// Publishes of one connection that wait for the backend: 64; then its socket is not read.
    pub publishes_in_flight: usize,
    /// Calls of one connection that the app serves at once: 64; then its socket is not read.
    pub calls_in_flight: usize,
    /// How long the app may take to serve a call, where its method does not say otherwise: 30 s.
    pub call_timeout: Duration,
    /// Calls of the server to one connection that wait for its answer: 64.
    pub calls_to_client: usize,
    /// Bytes of the answers that one call of the server to many clients gathers: 8 MiB.
    pub answers_bytes: usize,
    /// How long a client may take until it is authenticated: 10 s.
    pub authenticate_within: Duration,
    /// How long a session whose connection was lost can be taken up again: 2 minutes. At 0 none can.
    pub resume_within: Duration,
    /// Sessions without a connection that this node keeps: 10,000; then the oldest go first.
    pub parked_sessions: usize,
    /// Messages of one page of history: 1,000.
    pub history_page_messages: usize,
    /// Bytes of one page of history: 1 MiB.
    pub history_page_bytes: usize,
    /// Bytes of what the app says of one member of a topic's presence: 1 KiB; at most 8 KiB.
    pub presence_meta: usize,
    /// Members of one page of presence: 1,000.
    pub presence_page_members: usize,
    /// Connections of one user: 100.
    pub connections_per_user: usize,
    /// Connections from one address: unlimited unless set, because many clients
    /// share an address behind a proxy.
    pub connections_per_address: Option<usize>,
    /// Connections in all: 100,000.
    pub connections: usize,
    /// Topics that this node holds state for at once: 1,000,000.
    pub topics: usize,
    /// How long one call of the backend may take until it counts as failed: 5 s. A publish that is
    /// waited for longer may have been stored or not.
    pub backend_timeout: Duration,
}

impl Limits {
    /// Lifts what would keep the broker from working at all to the least that works.
    pub(crate) fn settle(&mut self) {
        let least_one = [
            &mut self.queue_messages,
            &mut self.topics_per_publish,
            &mut self.publishes_in_flight,
            &mut self.calls_in_flight,
            &mut self.history_page_messages,
            &mut self.presence_page_members,
        ];
        for limit in least_one {
            *limit = (*limit).max(1);
        }
        self.presence_meta = self.presence_meta.min(8 << 10);
        // A publish to several topics takes a permit for each.
        self.inbox_messages = self.inbox_messages.max(self.topics_per_publish);
        self.call_timeout = self.call_timeout.min(FOREVER);
        self.authenticate_within = self.authenticate_within.min(FOREVER);
        self.resume_within = self.resume_within.min(FOREVER);
        self.backend_timeout = self.backend_timeout.clamp(Duration::from_millis(1), FOREVER);
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_message: 64 << 10,
            max_label: 255,
            subscriptions_per_connection: 128,
            topics_per_publish: 16,
            queue_messages: 256,
            queue_bytes: 1 << 20,
            total_queue_bytes: 256 << 20,
            control_bytes: 64 << 10,
            inbox_messages: 4096,
            inbox_bytes: 4 << 20,
            commands_per_second: nonzero(100),
            commands_burst: nonzero(200),
            subscribes_per_second: nonzero(50),
            histories_per_second: nonzero(10),
            commands_ahead: 64,
            publishes_in_flight: 64,
            calls_in_flight: 64,
            call_timeout: Duration::from_secs(30),
            calls_to_client: 64,
            answers_bytes: 8 << 20,
            authenticate_within: Duration::from_secs(10),
            resume_within: Duration::from_secs(120),
            parked_sessions: 10_000,
            history_page_messages: 1000,
            history_page_bytes: 1 << 20,
            presence_meta: 1 << 10,
            presence_page_members: 1000,
            connections_per_user: 100,
            connections_per_address: None,
            connections: 100_000,
            topics: 1_000_000,
            backend_timeout: Duration::from_secs(5),
        }
    }
}

const fn nonzero(value: u32) -> NonZeroU32 {
    match NonZeroU32::new(value) {
        Some(value) => value,
        None => NonZeroU32::MIN,
    }
}
