//! One client's connection, in a task of its own.
//!
//! The task reads what comes, has it served in turns, and writes what the socket did not take at once. While a turn waits, for
//! a policy, a backend, or the client to read its replies, the socket is not read: that is the client's backpressure.
//! An idle connection is this one small struct; buffers are the thread's, and all that is needed now and then is boxed.

mod deadlines;
mod ending;
mod link;
mod turn;

use std::{
    future::poll_fn,
    pin::pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::{Buf, Bytes, BytesMut};
use fanfare_core::{
    outbox::Outbox,
    session::{CloseKind, CloseReason, Session},
};
use fanfare_http::TcpWire;
use tokio::net::TcpStream;

use self::{
    deadlines::Deadlines,
    link::{Direct, Link, Pulled},
    turn::Turn,
};
pub(crate) use turn::Mode;

use crate::{frame::Parser, mount::Mount, read::with_buffer, upgrade::Socket};

/// A client that was let in, on its way to its connection.
pub(crate) struct Client {
    pub(crate) session: Session,
    pub(crate) outbox: Outbox,
    pub(crate) mode: Mode,
    pub(crate) mount: Arc<Mount>,
}

/// How a connection ends.
#[derive(Debug)]
enum End {
    /// All is said already, or nothing can be said any more.
    Over(CloseReason),
    /// The client is told why.
    Because(CloseReason),
    /// The client has closed, for this reason, and gets this answer.
    Client(Bytes, CloseKind),
    /// The stream has ended without a word.
    Lost,
    /// The client has not taken a byte for too long.
    Cut,
}

struct Connection<L> {
    /// `None` once it is ending.
    session: Option<Session>,
    side: Side<L>,
}

/// All but the session, which a turn borrows.
struct Side<L> {
    link: L,
    outbox: Outbox,
    parser: Parser,
    /// What was read and not parsed yet.
    unread: BytesMut,
    deadlines: Deadlines,
    mode: Mode,
    mount: Arc<Mount>,
}

/// Serves a client on its connection, in a new task.
pub(crate) fn spawn(client: Client, socket: Socket) {
    match socket {
        Socket::Tcp(stream, early) => spawn_direct(client, stream, &early),
        Socket::Other(stream) => {
            let mut connection = Connection::new(client, Pulled::new(stream), &[]);
            tokio::spawn(async move { connection.run().await });
        }
    }
}

fn spawn_direct(client: Client, stream: TcpStream, early: &[u8]) {
    let link = Direct::new(TcpWire::new(stream), &client.outbox);
    let mut connection = Connection::new(client, link, early);
    tokio::spawn(async move { connection.run().await });
}

impl<L: Link> Connection<L> {
    fn new(client: Client, link: L, early: &[u8]) -> Self {
        let Client { session, outbox, mode, mount } = client;
        let parser = Parser::new(mount.max_message);
        let deadlines = Deadlines::new(mount.wheel.timer());
        let side = Side { link, outbox, parser, unread: BytesMut::from(early), deadlines, mode, mount };
        Self { session: Some(session), side }
    }

    async fn run(&mut self) {
        let end = loop {
            let turn = match poll_fn(|cx| self.poll_turn(cx)).await {
                Ok(turn) => turn,
                Err(end) => break end,
            };
            if let Err(end) = Box::pin(self.serve(turn)).await {
                break end;
            }
            tokio::task::coop::consume_budget().await;
        };
        let ending = ending::end(self.session.take(), &mut self.side, end);
        Box::pin(ending).await;
    }

    /// Waits for something to do, doing all the rest meanwhile.
    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<Result<Turn, End>> {
        let Self { session, side } = self;
        if let Some(session) = session {
            let _never = session.poll_progress(cx);
            side.deadlines.observe(session, &side.mount.config);
        }
        match side.poll_read(cx) {
            Poll::Ready(turn) => {
                // A client that never stops sending does not stop the clock.
                if side.deadlines.are_due()
                    && let Poll::Ready(end) = side.poll_rest(cx)
                {
                    return Poll::Ready(Err(end));
                }
                Poll::Ready(Ok(turn))
            }
            Poll::Pending => side.poll_rest(cx).map(Err),
        }
    }

    /// Serves a turn, writing meanwhile what it waits for the client to read.
    async fn serve(&mut self, turn: Turn) -> Result<(), End> {
        let Self { session, side } = self;
        let Some(session) = session else { return Ok(()) };
        let outbox = side.outbox.clone();
        let mut serving = pin!(turn.serve(session, &outbox));
        let served = poll_fn(|cx| {
            if let Poll::Ready(served) = serving.as_mut().poll(cx) {
                side.link.flush(&side.outbox, cx);
                return Poll::Ready(served);
            }
            side.deadlines.pause();
            side.poll_rest(cx).map(Err)
        });
        let served = served.await;
        side.deadlines.resume();
        served
    }
}

impl<L: Link> Side<L> {
    /// Reads, until there is something to do.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Turn> {
        if !self.unread.is_empty() {
            let mut input = &mut self.unread[..];
            let turn = Turn::read(&mut self.parser, &self.mode, &self.mount.decode, &mut input);
            let left = input.len();
            self.unread.advance(self.unread.len() - left);
            if left == 0 {
                self.unread = BytesMut::new();
            }
            if !turn.is_empty() {
                return Poll::Ready(self.heard(turn));
            }
        }
        with_buffer(|buffer| {
            loop {
                let count = match self.link.poll_read(cx, buffer) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Turn::lost()),
                    Poll::Ready(Ok(count)) => count,
                };
                let mut input = &mut buffer[..count];
                let turn = Turn::read(&mut self.parser, &self.mode, &self.mount.decode, &mut input);
                self.unread.extend_from_slice(input);
                let turn = self.heard(turn);
                if !turn.is_empty() {
                    return Poll::Ready(turn);
                }
            }
        })
    }

    fn heard(&mut self, turn: Turn) -> Turn {
        self.deadlines.heard(turn.has_message);
        turn
    }

    /// Writes what waits, and looks at the clock.
    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        loop {
            if let Poll::Ready(reason) = self.link.poll_flush(&self.outbox, cx) {
                return Poll::Ready(End::Over(reason));
            }
            let stalled = self.link.stalled_for(&self.outbox);
            match self.deadlines.check(stalled, &self.mount, cx) {
                deadlines::Due::Nothing => return Poll::Pending,
                deadlines::Due::Ping => drop(self.outbox.ping()),
                deadlines::Due::End(end) => return Poll::Ready(end),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{io, time::Duration};

    use fanfare_core::{Broker, policy::Open, session::Handshake};
    use tokio::net::TcpListener;

    use super::*;
    use crate::Config;

    /// A client that sends one ping after the other until it is closed.
    struct Pings {
        closed: bool,
    }

    impl Link for Pings {
        fn poll_flush(&mut self, outbox: &Outbox, cx: &mut Context<'_>) -> Poll<CloseReason> {
            loop {
                match outbox.poll_pull(cx, 1024, &mut Vec::new()) {
                    Poll::Ready(None) => {}
                    Poll::Ready(Some(reason)) => {
                        self.closed = true;
                        return Poll::Ready(reason);
                    }
                    Poll::Pending => return Poll::Pending,
                }
            }
        }

        fn flush(&mut self, outbox: &Outbox, cx: &mut Context<'_>) {
            let _ = self.poll_flush(outbox, cx);
        }

        fn poll_read(&mut self, _: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
            if self.closed {
                return Poll::Ready(Ok(0));
            }
            buf[..6].copy_from_slice(&[0x89, 0x80, 0, 0, 0, 0]);
            Poll::Ready(Ok(6))
        }

        fn stalled_for(&self, _: &Outbox) -> Option<Duration> {
            None
        }

        fn poll_end(&mut self, _: &mut Context<'_>) -> Poll<()> {
            Poll::Ready(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_never_stops_sending_does_not_stop_the_clock() {
        let broker = Broker::builder().policy(Open).start().await.unwrap();
        let config = Config::new().idle_timeout(Duration::from_secs(5));
        let mount = Arc::new(Mount::new(&broker).unwrap().configured(config));
        let (session, outbox) = broker.connect(Handshake::new("ws"), &mount.v1).await.unwrap();
        let client = Client { session, outbox, mode: Mode::V1, mount };
        let mut connection = Connection::new(client, Pings { closed: false }, &[]);
        let served = tokio::spawn(async move { connection.run().await });
        for _ in 0..4 {
            tokio::time::advance(Duration::from_secs(1)).await;
            assert!(!served.is_finished());
        }
        for _ in 0..10 {
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert!(served.is_finished(), "nothing was asked for too long");
    }

    #[tokio::test]
    async fn an_idle_connection_is_small() {
        let broker = Broker::builder().policy(Open).start().await.unwrap();
        let mount = Arc::new(Mount::new(&broker).unwrap());
        let (session, outbox) = broker.connect(Handshake::new("ws"), &mount.v1).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let client = Client { session, outbox, mode: Mode::V1, mount };
        let link = Direct::new(TcpWire::new(stream), &client.outbox);
        let mut connection = Connection::new(client, link, &[]);
        let task = async move { connection.run().await };
        // tokio adds some 100 bytes of its own, and rounds up to a multiple of 128.
        assert!(size_of_val(&task) <= 256, "{} bytes", size_of_val(&task));
    }
}
