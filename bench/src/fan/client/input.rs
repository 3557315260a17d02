//! What is read: frames, events and answers, and what they mean for the account.

use std::ops::Range;
use std::os::fd::AsFd;

use anyhow::{Context, Result, bail, ensure};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use super::{Client, READ};
use crate::fan::clock::now_ns;
use crate::fan::conn::{Input, Role, State, Subscriptions};
use crate::fan::wire::Control;
use crate::fan::{event, frame, http, wire};

impl Client {
    /// Reads once and handles all that is complete.
    pub(super) fn read(&mut self, at: usize) -> Result<()> {
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
                self.consume(at, &mut buffer[..held + count], held, now_ns()).map(|kept| {
                    self.conns[at].carry.extend_from_slice(&buffer[kept]);
                })
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(()),
            Err(error) => self.lose(at, &error.to_string()),
        };
        self.buffer = buffer;
        outcome
    }

    /// Handles all that is complete in `bytes`, of which `held` were carried from earlier reads, and returns where
    /// the rest is.
    fn consume(&mut self, at: usize, bytes: &mut [u8], held: usize, now: u64) -> Result<Range<usize>> {
        let mut carried = 0..held;
        if self.conns[at].state == State::Upgrading {
            let Some(size) = self.head(at, bytes)? else { return Ok(0..bytes.len()) };
            // What follows the head was never decoded.
            carried = size..size;
            self.start_subscribing(at)?;
        }
        let used = match self.conns[at].input {
            Input::Frames => carried.start + self.frames(at, &bytes[carried.start..], now)?,
            Input::Answers => carried.start + self.answers(at, &bytes[carried.start..])?,
            Input::Events(None) => carried.start + self.events(at, &bytes[carried.start..], now)?,
            Input::Events(Some(mut chunks)) => {
                let found = chunks.decode(bytes, carried);
                let found =
                    found.map_err(|error| anyhow::anyhow!("the server broke the protocol: {error}"))?;
                self.conns[at].input = Input::Events(Some(chunks));
                let used = found.data.start + self.events(at, &bytes[found.data.clone()], now)?;
                if chunks.is_over() {
                    self.lose(at, "the stream ended")?;
                }
                return Ok(used..found.data.end.max(used));
            }
        };
        Ok(used..bytes.len())
    }

    /// Reads the answer to a subscriber's or a publisher's first request: its size once it is complete.
    fn head(&mut self, at: usize, bytes: &[u8]) -> Result<Option<usize>> {
        let Input::Events(chunks) = &mut self.conns[at].input else { return wire::upgrade_answer(bytes) };
        let Some(head) = http::Head::parse(bytes)? else { return Ok(None) };
        if head.status != 200 {
            let body = String::from_utf8_lossy(&bytes[head.size..]);
            bail!("the stream was refused: {} {body}", head.line);
        }
        let kind = head.field("content-type").unwrap_or_default();
        ensure!(kind.starts_with("text/event-stream"), "the stream is no event stream: {kind}");
        *chunks = head.is_chunked().then(crate::fan::chunked::Chunks::new);
        Ok(Some(head.size))
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

    pub(super) fn become_ready(&mut self, at: usize) -> Result<()> {
        self.ready += 1;
        let conn = &mut self.conns[at];
        conn.state = State::Ready;
        if let Role::Subscriber(Subscriptions { stalls: true, .. }) = conn.role {
            conn.state = State::Stalled;
            self.poller.remove(&conn.socket)?;
        }
        Ok(())
    }

    /// Handles the frames that are complete and returns how many bytes they were.
    fn frames(&mut self, at: usize, bytes: &[u8], now: u64) -> Result<usize> {
        let mut used = 0;
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

    /// Handles the events that are complete and returns how many bytes they were.
    fn events(&mut self, at: usize, bytes: &[u8], now: u64) -> Result<usize> {
        let mut used = 0;
        while let Some(size) = event::size(&bytes[used..]) {
            let event = &bytes[used..used + size];
            used += size;
            match self.stamps.find(event).filter(|(place, _)| event::is_data(event, *place)) {
                Some((_, number)) => self.delivered(at, number, now),
                None => self.other_event(at, event)?,
            }
            if self.conns[at].state == State::Closed {
                return Ok(bytes.len());
            }
        }
        Ok(used)
    }

    fn other_event(&mut self, at: usize, event: &[u8]) -> Result<()> {
        let Some(event) = event::parse(event) else { return Ok(()) };
        match event.name {
            b"$gap" => self.gap(at, wire::missed(&event.data)),
            b"$close" => {
                let why = format!("closed with {}", String::from_utf8_lossy(&event.data));
                self.lose(at, &why)?;
            }
            b"$live" => {}
            _ => self.notes.other += 1,
        }
        Ok(())
    }

    /// Handles the answers to publishes that are complete and returns how many bytes they were.
    fn answers(&mut self, at: usize, bytes: &[u8]) -> Result<usize> {
        let mut used = 0;
        while let Some(answer) = http::answer(&bytes[used..]).context("the answer to a publish")? {
            used += answer.size;
            ensure!(self.conns[at].asked > 0, "an answer to nothing");
            self.conns[at].asked -= 1;
            if let Some(why) = answer.refusal {
                self.refused(&why);
            }
        }
        Ok(used)
    }

    /// A message over WebSocket.
    fn message(&mut self, at: usize, message: &[u8], now: u64) -> Result<()> {
        if matches!(self.conns[at].role, Role::Subscriber(_))
            && let Some((_, number)) = self.stamps.find(message)
        {
            self.delivered(at, number, now);
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
            (Some(Control::Refused(why)), _) => self.refused(&why),
            (Some(Control::Gap { missed }), _) => self.gap(at, missed),
            _ => self.notes.other += 1,
        }
        Ok(())
    }

    /// Message `number` reached a subscriber.
    fn delivered(&mut self, at: usize, number: u32, now: u64) {
        let Role::Subscriber(subscriptions) = self.conns[at].role else { return };
        if self.conns[at].state == State::CatchingUp {
            self.notes.stalled_received += 1;
            return;
        }
        self.last_delivery_ns = now;
        let reader = self.ledger.topic_of(number).and_then(|topic| subscriptions.reader_of(topic));
        match reader {
            Some(reader) => self.ledger.deliver(reader, number, now),
            None => self.ledger.counts.misrouted += 1,
        }
    }

    /// A subscriber was told that it lost messages: so many, where the server knows.
    fn gap(&mut self, at: usize, missed: Option<u64>) {
        if self.conns[at].state == State::CatchingUp {
            self.notes.stalled_missed += missed.unwrap_or(0);
        } else {
            self.notes.gaps += 1;
            self.notes.missed += missed.unwrap_or(0);
        }
    }

    fn refused(&mut self, why: &str) {
        self.notes.refused += 1;
        self.notes.trouble(|| format!("a publish was refused: {why}"));
    }

    /// The connection is gone: fatal for a publisher and before the run, counted for a subscriber.
    pub(super) fn lose(&mut self, at: usize, why: &str) -> Result<()> {
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
