//! All connections on one thread: opening, reading, accounting for what was read, publishing.

use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::AsFd;

use anyhow::{Context, Result, bail, ensure};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use super::clock::now_ns;
use super::conn::{Conn, Role, State, Subscriptions};
use super::frame;
use super::ledger::{Lane, Ledger};
use super::options::Options;
use super::poller::{self, Poller, Ready};
use super::stamp;
use super::wire::{self, Control, Endpoint};

/// Room for one read, in bytes.
const READ: usize = 256 * 1024;
/// How long everything may take to connect and subscribe.
const CONNECT_DEADLINE_NS: u64 = 60_000_000_000;
/// Receive buffer of a connection that will stall, in bytes: its server should notice soon.
const STALLED_RECEIVE_BUFFER: usize = 4096;
/// The token of the urgent poller in the other one.
const URGENT: u64 = u64::MAX;

pub(super) struct Client {
    pub(super) ledger: Ledger,
    pub(super) notes: Notes,
    /// When something was last delivered.
    pub(super) last_delivery_ns: u64,
    /// Reads that returned something.
    pub(super) reads: u64,
    endpoint: Endpoint,
    address: SocketAddr,
    conns: Vec<Conn>,
    publishers: Vec<usize>,
    ready: usize,
    poller: Poller,
    /// The probe's connections: asked first in every turn, so that a backlog of this program's own is not
    /// measured as the server's delay.
    urgent: Poller,
    events: Vec<Ready>,
    buffer: Vec<u8>,
    payload: Vec<u8>,
    payload_size: usize,
    stamps: stamp::Reader,
}

/// What the server said or did beside delivering.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// Gaps that subscribers were told of.
    pub(super) gaps: u64,
    /// Messages that those gaps say are missing, as far as they say.
    pub(super) missed: u64,
    /// Publishes that were refused.
    pub(super) refused: u64,
    /// Deliveries that stalled subscribers read in the end.
    pub(super) stalled_received: u64,
    /// Messages that they were told are missing.
    pub(super) stalled_missed: u64,
    /// Stalled subscribers that were disconnected.
    pub(super) stalled_dead: u64,
    /// Connections that were closed or lost once ready.
    pub(super) dead: u64,
    /// Frames without a stamp that say nothing of the above.
    pub(super) other: u64,
    /// The first of the troubles, in words.
    pub(super) first: Option<String>,
}

impl Notes {
    fn trouble(&mut self, what: impl FnOnce() -> String) {
        self.first.get_or_insert_with(what);
    }
}

impl Client {
    pub(super) fn new(options: &Options, ledger: Ledger) -> Result<Self> {
        let endpoint = Endpoint::parse(&options.url, options.wire)?;
        let address = endpoint
            .authority
            .to_socket_addrs()
            .with_context(|| format!("no address of {}", endpoint.authority))?
            .next()
            .with_context(|| format!("{} has no address", endpoint.authority))?;
        let (poller, urgent) = (Poller::new()?, Poller::new()?);
        poller.add(&urgent, URGENT, false)?;
        Ok(Self {
            ledger,
            notes: Notes::default(),
            last_delivery_ns: 0,
            reads: 0,
            endpoint,
            address,
            conns: Vec::new(),
            publishers: Vec::new(),
            ready: 0,
            poller,
            urgent,
            events: Vec::new(),
            buffer: vec![0; READ],
            payload: Vec::new(),
            payload_size: options.payload,
            stamps: stamp::Reader::new(),
        })
    }

    /// Opens a connection for each of `roles`, at most `at_once` in progress, and waits until all are ready.
    pub(super) fn open_all(&mut self, roles: &[(Role, Lane)], at_once: usize) -> Result<()> {
        let (before, deadline) = (self.ready, now_ns() + CONNECT_DEADLINE_NS);
        let mut opened = 0;
        while self.ready - before < roles.len() {
            while opened < roles.len() && opened - (self.ready - before) < at_once {
                let (role, lane) = roles[opened];
                self.open(role, lane).with_context(|| format!("connecting to {}", self.address))?;
                opened += 1;
            }
            self.turn(100_000_000)?;
            ensure!(
                now_ns() < deadline,
                "only {} of {} connections were ready in time",
                self.ready - before,
                roles.len()
            );
        }
        Ok(())
    }

    fn open(&mut self, role: Role, lane: Lane) -> Result<()> {
        let stalls = matches!(role, Role::Subscriber(Subscriptions { stalls: true, .. }));
        let socket = poller::start_connect(&self.address, stalls.then_some(STALLED_RECEIVE_BUFFER))?;
        let conn = Conn::new(socket, role, lane == Lane::Probe);
        let at = self.conns.len();
        self.poller_of(&conn).add(&conn.socket, at as u64, true)?;
        if matches!(role, Role::Publisher) {
            self.publishers.push(at);
        }
        self.conns.push(conn);
        Ok(())
    }

    /// Lets the stalled subscribers read on.
    pub(super) fn resume_stalled(&mut self) -> Result<()> {
        for at in 0..self.conns.len() {
            if self.conns[at].state == State::Stalled {
                self.conns[at].state = State::CatchingUp;
                self.conns[at].watches_room = false;
                self.poller.add(&self.conns[at].socket, at as u64, false)?;
            }
        }
        Ok(())
    }

    /// Publishes one message, due at `due_ns`, through publisher number `publisher`.
    ///
    /// [`Self::flush_publishers`] sends it.
    pub(super) fn publish(&mut self, publisher: usize, topic: u32, lane: Lane, due_ns: u64) {
        let number = self.ledger.publish(topic, lane, due_ns);
        stamp::write(&mut self.payload, number, self.payload_size);
        let conn = &mut self.conns[self.publishers[publisher]];
        self.endpoint.publish(&mut conn.out, topic, &self.payload);
    }

    pub(super) fn flush_publishers(&mut self) -> Result<()> {
        for publisher in 0..self.publishers.len() {
            let at = self.publishers[publisher];
            if !self.conns[at].out.is_empty() && !self.conns[at].watches_room {
                self.flush(at)?;
            }
        }
        Ok(())
    }

    /// Waits up to `timeout_ns` for something to be ready and handles it; whether there was anything.
    pub(super) fn turn(&mut self, timeout_ns: u64) -> Result<bool> {
        let mut events = std::mem::take(&mut self.events);
        self.urgent.wait(0, &mut events)?;
        let mut any = !events.is_empty();
        for event in &events {
            self.handle(*event)?;
        }
        self.poller.wait(if any { 0 } else { timeout_ns }, &mut events)?;
        any |= !events.is_empty();
        for event in events.iter().filter(|event| event.token != URGENT) {
            self.handle(*event)?;
        }
        self.events = events;
        Ok(any)
    }

    fn handle(&mut self, event: Ready) -> Result<()> {
        let at = event.token as usize;
        if event.writable {
            if self.conns[at].state == State::Connecting {
                self.start_upgrade(at)?;
            } else {
                self.flush(at)?;
            }
        }
        if event.readable && !matches!(self.conns[at].state, State::Closed | State::Stalled) {
            self.read(at)?;
        }
        Ok(())
    }

    fn start_upgrade(&mut self, at: usize) -> Result<()> {
        let conn = &mut self.conns[at];
        poller::connect_result(&conn.socket).with_context(|| format!("connecting to {}", self.address))?;
        let request = match conn.role {
            Role::Subscriber(subscriptions) => {
                self.endpoint.subscriber_request(subscriptions.base + subscriptions.first)
            }
            Role::Publisher => self.endpoint.publisher_request(),
        };
        conn.out.extend_from_slice(request.as_bytes());
        conn.state = State::Upgrading;
        self.flush(at)
    }

    fn flush(&mut self, at: usize) -> Result<()> {
        let conn = &mut self.conns[at];
        let sent_all = match conn.send_queued() {
            Ok(sent_all) => sent_all,
            Err(error) => return self.lose(at, &error.to_string()),
        };
        if conn.watches_room == sent_all {
            conn.watches_room = !sent_all;
            let conn = &self.conns[at];
            self.poller_of(conn).modify(&conn.socket, at as u64, conn.watches_room)?;
        }
        Ok(())
    }

    fn read(&mut self, at: usize) -> Result<()> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let conn = &mut self.conns[at];
        let held = conn.carry.len();
        if buffer.len() < held + READ / 2 {
            buffer.resize(held + READ, 0);
        }
        buffer[..held].copy_from_slice(&conn.carry);
        let outcome = match recv(&conn.socket, &mut buffer[held..], RecvFlags::empty()) {
            Ok((_, 0)) => self.lose(at, "closed by the server"),
            Ok((_, count)) => {
                conn.carry.clear();
                self.reads += 1;
                let bytes = &buffer[..held + count];
                self.consume(at, bytes, now_ns()).map(|used| {
                    self.conns[at].carry.extend_from_slice(&bytes[used..]);
                })
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(()),
            Err(error) => self.lose(at, &error.to_string()),
        };
        self.buffer = buffer;
        outcome
    }

    /// Handles all that is complete in `bytes` and returns how much that was.
    fn consume(&mut self, at: usize, bytes: &[u8], now: u64) -> Result<usize> {
        let mut used = 0;
        if self.conns[at].state == State::Upgrading {
            let Some(size) = wire::upgrade_answer(bytes)? else { return Ok(0) };
            used = size;
            self.start_subscribing(at)?;
        }
        loop {
            let frame = match frame::decode(&bytes[used..]) {
                Ok(Some(frame)) => frame,
                Ok(None) => return Ok(used),
                Err(error) => bail!("the server broke the protocol: {error}"),
            };
            used += frame.size;
            match frame.opcode {
                frame::TEXT | frame::BINARY if frame.fin => self.message(at, frame.payload, now)?,
                frame::TEXT | frame::BINARY | frame::CONTINUATION => {
                    self.conns[at].fragments.extend_from_slice(frame.payload);
                    if frame.fin {
                        let message = std::mem::take(&mut self.conns[at].fragments);
                        self.message(at, &message, now)?;
                    }
                }
                frame::PING => {
                    frame::encode(&mut self.conns[at].out, frame::PONG, &[frame.payload]);
                    self.flush(at)?;
                }
                frame::CLOSE => self.lose(at, &close_reason(frame.payload))?,
                _ => {}
            }
            if matches!(self.conns[at].state, State::Closed | State::Stalled) {
                return Ok(bytes.len());
            }
        }
    }

    fn start_subscribing(&mut self, at: usize) -> Result<()> {
        let conn = &mut self.conns[at];
        let replies = match conn.role {
            Role::Subscriber(subscriptions) => self.endpoint.subscribe(&mut conn.out, subscriptions.topics()),
            Role::Publisher => 0,
        };
        conn.state = State::Subscribing(replies);
        self.flush(at)?;
        if replies == 0 { self.become_ready(at) } else { Ok(()) }
    }

    fn become_ready(&mut self, at: usize) -> Result<()> {
        self.ready += 1;
        let conn = &mut self.conns[at];
        conn.state = State::Ready;
        if let Role::Subscriber(Subscriptions { stalls: true, .. }) = conn.role {
            conn.state = State::Stalled;
            self.poller.remove(&conn.socket)?;
        }
        Ok(())
    }

    fn message(&mut self, at: usize, message: &[u8], now: u64) -> Result<()> {
        if let Role::Subscriber(subscriptions) = self.conns[at].role
            && let Some(number) = self.stamps.read(message)
        {
            if self.conns[at].state == State::CatchingUp {
                self.notes.stalled_received += 1;
                return Ok(());
            }
            self.last_delivery_ns = now;
            let reader = self.ledger.topic_of(number).and_then(|topic| subscriptions.reader_of(topic));
            match reader {
                Some(reader) => self.ledger.deliver(reader, number, now),
                None => self.ledger.counts.misrouted += 1,
            }
            return Ok(());
        }
        match (self.endpoint.control(message), self.conns[at].state) {
            (Some(Control::Done), State::Subscribing(1)) => return self.become_ready(at),
            (Some(Control::Done), State::Subscribing(more)) => {
                self.conns[at].state = State::Subscribing(more - 1);
            }
            (Some(Control::Refused(why)), State::Subscribing(_)) => {
                bail!("a subscription was refused: {why}")
            }
            (Some(Control::Refused(why)), _) => {
                self.notes.refused += 1;
                self.notes.trouble(|| format!("a publish was refused: {why}"));
            }
            (Some(Control::Gap { missed }), State::CatchingUp) => {
                self.notes.stalled_missed += missed.unwrap_or(0);
            }
            (Some(Control::Gap { missed }), _) => {
                self.notes.gaps += 1;
                self.notes.missed += missed.unwrap_or(0);
            }
            _ => self.notes.other += 1,
        }
        Ok(())
    }

    /// The connection is gone: fatal for a publisher and before the run, counted for a subscriber.
    fn lose(&mut self, at: usize, why: &str) -> Result<()> {
        let conn = &mut self.conns[at];
        let Role::Subscriber(subscriptions) = conn.role else {
            bail!("a publisher lost its connection: {why}")
        };
        match conn.state {
            State::Closed => return Ok(()),
            State::Ready => {}
            State::CatchingUp => {
                conn.state = State::Closed;
                self.notes.stalled_dead += 1;
                return Ok(self.poller.remove(&conn.socket)?);
            }
            state => bail!("a subscriber lost its connection while {state:?}: {why}"),
        }
        conn.state = State::Closed;
        for topic in subscriptions.topics() {
            self.ledger.remove_reader(topic);
        }
        self.notes.dead += 1;
        self.notes.trouble(|| format!("subscriber {at} lost its connection: {why}"));
        let conn = &self.conns[at];
        Ok(self.poller_of(conn).remove(conn.socket.as_fd())?)
    }

    fn poller_of(&self, conn: &Conn) -> &Poller {
        if conn.urgent { &self.urgent } else { &self.poller }
    }
}

/// A close frame's code and reason (RFC 6455 section 5.5.1).
fn close_reason(payload: &[u8]) -> String {
    match payload.split_first_chunk::<2>() {
        Some((code, reason)) => {
            format!("closed with {} {}", u16::from_be_bytes(*code), String::from_utf8_lossy(reason))
        }
        None => "closed without a code".into(),
    }
}
