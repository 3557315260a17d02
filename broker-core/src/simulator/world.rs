//! One seed: a broker, its clients, and what happens to them.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;

use super::{
    client::Client,
    direct::{DirectTrack, USERS},
    frames::{Socket, Table},
    publishing::{Publisher, Sending},
    reader::Reader,
    shards::Shards,
    truth::{Retains, Topic, Truth},
    view::View,
};
use crate::{
    Broker,
    policy::{Action, Admission, Identity, Policy, Verdict},
    session::{CloseKind, CloseReason, Handshake, Refusal},
    topic::{OverflowPolicy, TopicConfig},
};

pub(super) const TOPICS: [&str; 6] = ["e.a", "e.b", "e.c", "l.a", "l.b", "l.c"];
pub(super) const PATTERNS: [&str; 5] = ["e.*", "l.*", "*.a", "e.b", ">"];
pub(super) const POLICIES: [OverflowPolicy; 5] = [
    OverflowPolicy::DropOldest,
    OverflowPolicy::DropNewest,
    OverflowPolicy::ConflateByKey,
    OverflowPolicy::Disconnect,
    OverflowPolicy::Resync,
];

pub(super) struct World {
    pub(super) rng: fastrand::Rng,
    pub(super) broker: Broker,
    pub(super) shards: Shards,
    pub(super) truth: Truth,
    pub(super) clients: Vec<Client>,
    pub(super) readers: Vec<Reader>,
    pub(super) publishers: Vec<Publisher>,
    pub(super) sending: Vec<Sending>,
    pub(super) formats: Vec<(crate::message::Format, Arc<Table>)>,
    pub(super) published: u64,
    /// Read by readers that are gone.
    pub(super) read_messages: u64,
    pub(super) next_uid: u64,
    pub(super) began: std::time::Instant,
    pub(super) large: bool,
    pub(super) trace: bool,
}

/// Allows everything, sometimes only after a while.
struct Hesitant(u8);

#[async_trait]
impl Policy for Hesitant {
    async fn connect(&self, handshake: &Handshake) -> Result<Admission, Refusal> {
        let user = handshake.credential().map(Identity::user);
        Ok(Admission::Accept(user.unwrap_or_else(Identity::anonymous)))
    }

    fn authorize<'a>(&'a self, _: &'a Identity, _: Action<'a>) -> Verdict<'a> {
        if fastrand::u8(..3) < self.0 {
            return Verdict::allow();
        }
        Verdict::later(async {
            tokio::task::yield_now().await;
            Ok(crate::policy::Grant::new())
        })
    }
}

pub(super) async fn run(seed: u64, trace: bool) {
    let mut world = World::new(seed, trace).await;
    let steps = world.rng.usize(20..900);
    for _ in 0..steps {
        world.act().await;
        world.check();
    }
    note!(world, "-- now everything is let through");
    world.settle().await;
    world.finish().await;
}

pub(super) fn pick<T: Copy>(rng: &mut fastrand::Rng, of: &[T]) -> T {
    of[rng.usize(..of.len())]
}

impl World {
    async fn new(seed: u64, trace: bool) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        fastrand::seed(rng.u64(..));
        let mut truth = Truth::default();
        let mut builder =
            Broker::builder().policy(Hesitant(rng.u8(..3))).shards(rng.usize(1..=3)).limits(|limits| {
                limits.queue_messages = pick(&mut rng, &[1, 2, 3, 5, 8, 64]);
                limits.queue_bytes = pick(&mut rng, &[1, 300, 1000, 1 << 20, 1 << 20]);
                limits.total_queue_bytes = pick(&mut rng, &[1, 1000, 4000, 1 << 28, 1 << 28]);
                limits.control_bytes = pick(&mut rng, &[1024, 2048, 64 << 10]);
                limits.topics_per_publish = 3;
                limits.inbox_messages = pick(&mut rng, &[3, 5, 4096]);
                limits.inbox_bytes = pick(&mut rng, &[100, 1000, 4 << 20]);
                limits.commands_per_second = std::num::NonZeroU32::MAX;
                limits.commands_burst = std::num::NonZeroU32::MAX;
                limits.subscribes_per_second = std::num::NonZeroU32::MAX;
            });
        for name in TOPICS {
            let (topic, config) = configure(&mut rng, name);
            builder = builder.topic(name, config);
            truth.topics.push(topic);
        }
        let broker = builder.start().await.unwrap_or_else(|error| panic!("{error}"));
        let tables = [Arc::new(Table::new(0)), Arc::new(Table::new(40))];
        let formats = tables
            .map(|table| (broker.register(table.clone()).unwrap_or_else(|error| panic!("{error}")), table));
        let mut world = Self {
            shards: Shards::take(&broker),
            large: rng.u8(..) < 8,
            rng,
            broker,
            truth,
            clients: Vec::new(),
            readers: Vec::new(),
            publishers: Vec::new(),
            sending: Vec::new(),
            formats: formats.into(),
            published: 0,
            read_messages: 0,
            next_uid: 0,
            began: std::time::Instant::now(),
            trace,
        };
        note!(world, "limits: {:?}", world.broker.limits());
        for topic in &world.truth.topics {
            note!(world, "{topic:?}");
        }
        world.connect().await;
        world
    }

    async fn act(&mut self) {
        match self.rng.u8(..100) {
            0..3 => self.connect().await,
            3..20 => self.publish(),
            20..32 => self.command(),
            32..44 => self.poll_session(),
            44..56 => self.poll_outbox(),
            56..64 => self.give_room(),
            64..80 => {
                let (shard, offers) = (self.rng.usize(..8), self.rng.usize(1..12));
                note!(self, "shard {shard}: {offers} offers");
                self.shards.step(shard, offers);
            }
            80..86 => self.poll_publisher(false),
            86..88 => self.subscribe_within(),
            88..94 => self.read(),
            94 => self.end_one(),
            95 => {
                let time = Duration::from_millis(self.rng.u64(..600));
                tokio::time::advance(time).await;
            }
            96 => self.drop_one(),
            _ => tokio::task::yield_now().await,
        }
    }

    async fn connect(&mut self) {
        if self.clients.iter().filter(|client| !client.is_done()).count() >= 5 {
            return;
        }
        let (format, table) = self.formats[self.rng.usize(..2)].clone();
        let user = pick(&mut self.rng, &[None, Some(USERS[0]), Some(USERS[1])]);
        let handshake = Handshake::new("sim");
        let handshake = user.map_or(handshake.clone(), |user| handshake.with_token(user));
        let connected = self.broker.connect(handshake, &format).await;
        let (session, outbox) = connected.unwrap_or_else(|error| panic!("{error}"));
        let socket = (self.rng.u8(..3) > 0).then(Arc::<Socket>::default);
        note!(self, "{} connects, socket: {}", outbox.client(), socket.is_some());
        let client = outbox.client();
        let view = View::new(client, Some(DirectTrack::new(client, user, &self.truth)));
        self.clients.push(Client::new(session, outbox, socket, table, view));
    }

    fn poll_outbox(&mut self) {
        let Some(at) = self.client() else { return };
        let max = pick(&mut self.rng, &[1, 100, 1000, 64 << 10]);
        self.clients[at].poll_outbox(true, max);
        self.clients[at].read(&self.truth, self.trace);
    }

    fn give_room(&mut self) {
        let Some(at) = self.client() else { return };
        let Some(socket) = &self.clients[at].socket else { return };
        match self.rng.u8(..100) {
            0 => {
                note!(self, "the socket of {} breaks", self.clients[at].view.client);
                socket.break_off();
            }
            1..20 => socket.give_room(1 << 30, usize::MAX),
            _ => {
                let (room, per_write) =
                    (self.rng.usize(..400), pick(&mut self.rng, &[1, 13, 50, usize::MAX]));
                note!(self, "{} bytes of room for {}", room, self.clients[at].view.client);
                socket.give_room(room, per_write);
            }
        }
        self.clients[at].read(&self.truth, self.trace);
    }

    fn subscribe_within(&mut self) {
        if self.readers.len() >= 4 {
            return;
        }
        let name =
            if self.rng.u8(..4) == 0 { pick(&mut self.rng, &PATTERNS) } else { pick(&mut self.rng, &TOPICS) };
        let start = self.start(name, None);
        let policy = (self.rng.bool()).then(|| pick(&mut self.rng, &POLICIES));
        let queue = (self.rng.bool()).then(|| self.rng.usize(1..6));
        note!(self, "a reader of {name}, {start:?}, {policy:?}, {queue:?}");
        let subscribe = if name.contains(['*', '>']) {
            self.broker.subscribe_pattern(name)
        } else {
            self.broker.subscribe(name)
        };
        self.readers.push(Reader::new(subscribe, name, start, policy, queue));
    }

    fn read(&mut self) {
        if self.readers.is_empty() {
            return;
        }
        let at = self.rng.usize(..self.readers.len());
        let most = self.rng.usize(1..5);
        self.read_at(at, most, true);
    }

    /// False when it was not polled.
    fn read_at(&mut self, at: usize, most: usize, always: bool) -> bool {
        let tops = self.truth.topics.iter().map(Topic::top).collect();
        let begun = self.begun(self.readers[at].name, self.readers[at].start, tops);
        self.readers[at].poll(&self.truth, begun, most, always, self.trace)
    }

    fn end_one(&mut self) {
        let Some(at) = self.client() else { return };
        let id = self.clients[at].view.client;
        let how = self.rng.u8(..4);
        note!(self, "{id} is ended: {how}");
        match how {
            0 => drop(self.broker.disconnect(id, CloseReason::new(CloseKind::Kicked))),
            1 => self.clients[at].outbox.finish(CloseReason::new(CloseKind::Draining)),
            2 => {
                self.clients[at].outbox.close(CloseReason::new(CloseKind::Normal));
                self.clients[at].close(CloseKind::Normal.into());
            }
            _ => {}
        }
    }

    /// Gives up a reader, or a publish that may not have been accepted yet.
    fn drop_one(&mut self) {
        if self.rng.bool() && !self.readers.is_empty() {
            let at = self.rng.usize(..self.readers.len());
            note!(self, "the reader of {} is dropped", self.readers[at].name);
            self.read_messages += self.readers.swap_remove(at).messages();
        } else if !self.publishers.is_empty() {
            let at = self.rng.usize(..self.publishers.len());
            let publisher = self.publishers.swap_remove(at);
            note!(self, "a publish is dropped, accepted: {}", publisher.sending.is_none());
        }
    }

    /// What must hold at any time.
    fn check(&self) {
        let mut bytes = 0;
        for outbox in self
            .clients
            .iter()
            .map(|client| &client.outbox)
            .chain(self.readers.iter().filter_map(Reader::outbox))
        {
            bytes += outbox.check_bounds();
        }
        // A reader that was dropped is forgotten here at once, and by its shard when that comes to it.
        assert!(self.broker.stats().queued_bytes >= bytes, "the budget is what the queues hold");
    }

    /// Lets everything through, waking nobody who was not woken.
    async fn settle(&mut self) {
        for client in &self.clients {
            if let Some(socket) = &client.socket {
                socket.give_room(1 << 30, usize::MAX);
            }
        }
        let mut idle = 0;
        for round in 0.. {
            assert!(round < 20_000, "it goes on and on: {:?}", self.broker.stats());
            let mut moved = self.shards.step_all();
            for at in 0..self.clients.len() {
                moved |= self.poll_session_at(at, false);
                moved |= self.clients[at].poll_outbox(false, 64 << 10);
                self.clients[at].read(&self.truth, self.trace);
            }
            for at in (0..self.publishers.len()).rev() {
                moved |= self.poll_publisher_at(at, true);
            }
            for at in 0..self.readers.len() {
                moved |= self.read_at(at, usize::MAX, false);
            }
            for _ in 0..4 {
                tokio::task::yield_now().await;
            }
            self.check();
            // A task that has only yielded is woken after the round.
            idle = if moved { 0 } else { idle + 1 };
            if idle > 1 {
                // A session that was let go on last may not have been flushed.
                if self.clients.iter().any(|client| !client.is_done() && client.flush()) {
                    continue;
                }
                return;
            }
        }
    }

    async fn finish(&mut self) {
        assert!(self.publishers.is_empty(), "a publisher waits for ever");
        let stats = self.broker.stats();
        note!(self, "{stats:?}");
        for client in self.clients.iter_mut().filter(|client| !client.is_done()) {
            note!(self, "the end of {}", client.view.client);
            client.view.end(&self.truth);
        }
        for reader in &mut self.readers {
            reader.end(&self.truth);
        }
        assert_eq!(stats.queued, 0);
        let gone = stats.delivered + stats.conflated + stats.dropped + stats.discarded + stats.resynced;
        assert_eq!(stats.offered, gone + stats.hidden, "accounted for: {stats:?}");
        let seen: u64 = self.clients.iter().map(|client| client.view.messages).sum();
        let seen = seen + self.read_messages + self.readers.iter().map(Reader::messages).sum::<u64>();
        let cut = self.clients.iter().filter(|client| client.is_cut()).count() as u64;
        assert!(
            (seen..=seen + cut).contains(&stats.delivered),
            "{seen} of {} arrived, {cut} cut",
            stats.delivered
        );
        self.readers.clear();
        for client in &mut self.clients {
            client.close(CloseKind::Normal.into());
        }
        self.settle().await;
        let stats = self.broker.stats();
        assert_eq!(
            (stats.subscriptions, stats.queued, stats.queued_bytes),
            (0, 0, 0),
            "something stays behind"
        );
        assert!(stats.shard_depths.iter().all(|depth| *depth == 0), "permits are missing: {stats:?}");
    }
}

fn configure(rng: &mut fastrand::Rng, name: &'static str) -> (Topic, TopicConfig) {
    let mut config = TopicConfig::new();
    let retains = name.starts_with('l').then(|| Retains {
        messages: pick(rng, &[1, 2, 3, 8, 50]),
        bytes: pick(rng, &[1, 100, 1 << 20, 1 << 20]),
        ttl: pick(rng, &[Duration::from_secs(1), Duration::from_secs(3600)]),
        latest: pick(rng, &[0, 1, 2, 5]),
    });
    if let Some(retains) = retains {
        config = config.history(retains.messages).history_bytes(retains.bytes).history_ttl(retains.ttl);
        config = config.latest(retains.latest);
    }
    if rng.u8(..4) > 0 {
        config = config.overflow(pick(rng, &POLICIES));
    }
    if rng.bool() {
        config = config.queue_messages(rng.usize(1..6));
    }
    let policy = config.overflow_policy();
    let topic = Topic {
        name,
        retains,
        conflates: policy == OverflowPolicy::ConflateByKey,
        resyncs: policy == OverflowPolicy::Resync,
        sent: Vec::new(),
        epoch: None,
    };
    (topic, config)
}
