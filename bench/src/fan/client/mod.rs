//! All connections on one thread: opening them, publishing, and whose turn it is to be read.

mod input;
mod notes;

use std::net::{SocketAddr, ToSocketAddrs};

use anyhow::{Context, Result, ensure};

use super::clock::now_ns;
use super::conn::{Conn, Role, State, Subscriptions};
use super::ledger::{Lane, Ledger};
use super::options::Options;
use super::poller::{self, Poller, Ready};
use super::stamp;
use super::wire::Endpoint;
use notes::Notes;

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

impl Client {
    pub(super) fn new(options: &Options, ledger: Ledger) -> Result<Self> {
        let endpoint = Endpoint::parse(options)?;
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
        let conn = Conn::new(socket, role, self.endpoint.input(role), lane == Lane::Probe);
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
        conn.asked += 1;
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
                self.start_asking(at)?;
            } else {
                self.flush(at)?;
            }
        }
        if event.readable && !matches!(self.conns[at].state, State::Closed | State::Stalled) {
            self.read(at)?;
        }
        Ok(())
    }

    fn start_asking(&mut self, at: usize) -> Result<()> {
        let conn = &mut self.conns[at];
        poller::connect_result(&conn.socket).with_context(|| format!("connecting to {}", self.address))?;
        let request = match conn.role {
            Role::Subscriber(subscriptions) => Some(self.endpoint.subscriber_request(subscriptions.topics())),
            Role::Publisher => self.endpoint.publisher_request(),
        };
        conn.state = State::Upgrading;
        conn.out.extend_from_slice(request.as_deref().unwrap_or_default().as_bytes());
        self.flush(at)?;
        if request.is_none() { self.become_ready(at) } else { Ok(()) }
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

    fn poller_of(&self, conn: &Conn) -> &Poller {
        if conn.urgent { &self.urgent } else { &self.poller }
    }
}
