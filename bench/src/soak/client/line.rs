//! A connection without a socket: commands go in, frames come out.

use std::{
    collections::VecDeque,
    future::poll_fn,
    pin::pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use fanfare::{
    message::Format,
    outbox::Outbox,
    session::{CloseReason, Command, Handshake, RequestId, Session},
};

use super::format::{Heard, read};
use crate::soak::nodes::Node;

/// How much is taken out at once: bytes.
const TURN: usize = 16 << 10;

/// A connection without a socket.
pub(super) struct Line {
    session: Session,
    outbox: Outbox,
    frames: VecDeque<Bytes>,
    next_id: u64,
    over: Option<CloseReason>,
}

impl Line {
    pub(super) async fn connect(node: &Node, format: &Format) -> Result<Self, String> {
        let handshake = Handshake::new("soak");
        let connected = node.broker.connect(handshake, format).await;
        let (session, outbox) = connected.map_err(|error| error.to_string())?;
        Ok(Self { session, outbox, frames: VecDeque::new(), next_id: 0, over: None })
    }

    /// Hands a command over; its number. `None` when the connection is over.
    pub(super) async fn command(&mut self, command: Command) -> Option<u64> {
        self.next_id += 1;
        let id = RequestId::new(self.next_id);
        let Self { session, outbox, frames, over, .. } = self;
        let mut handled = pin!(session.handle(id, command));
        let handled = poll_fn(|cx| {
            // Whoever reads nothing has no room for replies.
            while over.is_none() && pull(outbox, frames, over, cx).is_ready() {}
            handled.as_mut().poll(cx)
        });
        match handled.await {
            Ok(()) => Some(self.next_id),
            Err(reason) => {
                self.outbox.close(reason);
                None
            }
        }
    }

    /// What comes next; `None` when the connection is over. Cancel safe.
    pub(super) async fn next(&mut self) -> Option<Result<Heard, String>> {
        let Self { session, outbox, frames, over, .. } = self;
        let frame = poll_fn(|cx| {
            let _ = session.poll_progress(cx);
            loop {
                if let Some(frame) = frames.pop_front() {
                    return Poll::Ready(Some(frame));
                }
                if over.is_some() {
                    return Poll::Ready(None);
                }
                if pull(outbox, frames, over, cx).is_pending() {
                    return Poll::Pending;
                }
            }
        });
        frame.await.map(|frame| read(&frame))
    }

    /// Says goodbye.
    pub(super) async fn close(self, reason: impl Into<CloseReason>) {
        self.session.close(reason.into()).await;
    }
}

fn pull(
    outbox: &Outbox,
    frames: &mut VecDeque<Bytes>,
    over: &mut Option<CloseReason>,
    cx: &mut Context<'_>,
) -> Poll<()> {
    if over.is_some() {
        return Poll::Ready(());
    }
    let mut taken = Vec::new();
    let pulled = outbox.poll_pull(cx, TURN, &mut taken);
    frames.extend(taken);
    match pulled {
        Poll::Pending => Poll::Pending,
        Poll::Ready(ended) => {
            *over = ended;
            Poll::Ready(())
        }
    }
}
