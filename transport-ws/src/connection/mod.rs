//! One client's connection, in a task of its own.
//!
//! The task reads what comes, has it served in turns, and writes what the socket did not take at once. While a turn waits, for
//! a policy, a backend, or the client to read its replies, little more is read than what need not wait: that is the client's backpressure.
//! An idle connection is this one small struct; buffers are the thread's, and all that is needed now and then is boxed.

mod ahead;
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
    session::{Aside, CloseKind, CloseReason, Session},
};
use fanfare_http::TcpWire;
use tokio::net::TcpStream;

use self::{
    ahead::Ahead,
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
    session: Session,
    side: Side<L>,
}

/// All but the session, which a turn borrows.
struct Side<L> {
    link: L,
    outbox: Outbox,
    parser: Parser,
    /// What was read and not parsed yet; most of the time nothing.
    unread: Option<Box<BytesMut>>,
    /// What was parsed while the turn before was being served.
    ahead: Option<Box<Turn>>,
    deadlines: Deadlines,
    mode: Mode,
    mount: Arc<Mount>,
}

/// Serves a client on its connection, in a new task.
pub(crate) fn spawn(client: Client, socket: Socket) {
    match socket {
        Socket::Tcp(stream, early) => spawn_direct(client, stream, &early),
        Socket::Other(stream) => {
            tokio::spawn(Connection::new(client, Pulled::new(stream), &[]).run());
        }
    }
}

fn spawn_direct(client: Client, stream: TcpStream, early: &[u8]) {
    let link = Direct::new(TcpWire::new(stream), &client.outbox);
    tokio::spawn(Connection::new(client, link, early).run());
}

impl<L: Link> Connection<L> {
    fn new(client: Client, link: L, early: &[u8]) -> Self {
        let Client { session, outbox, mode, mount } = client;
        let parser = Parser::new(mount.max_message);
        let deadlines = Deadlines::new(mount.wheel.timer());
        let unread = (!early.is_empty()).then(|| Box::new(BytesMut::from(early)));
        let side = Side { link, outbox, parser, unread, ahead: None, deadlines, mode, mount };
        Self { session, side }
    }

    // An async function would hold its argument twice, as long as the connection lasts.
    #[expect(clippy::manual_async_fn)]
    fn run(mut self) -> impl Future<Output = ()> + Send {
        async move {
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
            Box::pin(ending::end(self.session, &mut self.side, end)).await;
        }
    }

    /// Waits for something to do, doing all the rest meanwhile.
    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<Result<Turn, End>> {
        let Self { session, side } = self;
        let _never = session.poll_progress(cx);
        side.deadlines.observe(session, &side.mount.config);
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

    /// Serves a turn, writing meanwhile what it waits for the client to read, and reading what others may wait for.
    async fn serve(&mut self, mut turn: Turn) -> Result<(), End> {
        let Self { session, side } = self;
        let outbox = side.outbox.clone();
        // In the other modes there is no word that others could wait for.
        let aside = session.aside().filter(|_| side.mode == Mode::V1);
        let mut ahead = Ahead::default();
        let mut served = Ok(());
        while served.is_ok()
            && let Some(item) = turn.items.pop_front()
        {
            let mut serving = pin!(item.serve(session, &outbox));
            served = poll_fn(|cx| {
                if let Poll::Ready(served) = serving.as_mut().poll(cx) {
                    return Poll::Ready(served);
                }
                side.deadlines.pause();
                if let Some(aside) = &aside {
                    // What came together with it waits as well.
                    ahead.add(std::mem::take(&mut turn), aside, &outbox);
                    side.read_ahead(&mut ahead, aside, cx);
                }
                side.poll_rest(cx).map(Err)
            })
            .await;
        }
        poll_fn(|cx| {
            side.link.flush(&side.outbox, cx);
            Poll::Ready(())
        })
        .await;
        side.ahead = ahead.into_turn();
        side.deadlines.resume();
        served.and_then(|()| turn.end.map_or(Ok(()), Err))
    }
}

impl<L: Link> Side<L> {
    /// Reads, until there is something to do.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Turn> {
        if let Some(turn) = self.ahead.take() {
            return Poll::Ready(*turn);
        }
        if let Some(unread) = &mut self.unread {
            let mut input = &mut unread[..];
            let turn = Turn::read(&mut self.parser, &self.mode, &self.mount.decode, &mut input);
            let left = input.len();
            unread.advance(unread.len() - left);
            if left == 0 {
                self.unread = None;
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
                if !input.is_empty() {
                    self.unread.get_or_insert_default().extend_from_slice(input);
                }
                let turn = self.heard(turn);
                if !turn.is_empty() {
                    return Poll::Ready(turn);
                }
            }
        })
    }

    /// Reads what comes while a turn is being served, as long as there is room for what has to wait.
    fn read_ahead(&mut self, ahead: &mut Ahead, aside: &Aside, cx: &mut Context<'_>) {
        let commands = self.mount.commands_ahead;
        while !ahead.is_full(commands)
            && let Poll::Ready(read) = self.poll_read(cx)
        {
            ahead.add(read, aside, &self.outbox);
        }
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
mod tests;
