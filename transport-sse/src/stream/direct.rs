//! A stream that has taken its connection over from HTTP: fan-out writes the socket, without waiting and without a task in
//! between, and nothing of an idle stream is left but a small task that waits for the client to leave.

use std::{
    future::poll_fn,
    net::Shutdown,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use fanfare_core::session::{CloseKind, CloseReason};
use fanfare_http::{Socket, TcpWire};
use tokio::time::timeout;

use super::Stream;
use crate::chunk;

/// How long a client may take to leave when all was said.
const LINGER: Duration = Duration::from_secs(2);

/// How many bytes a client may send that nobody asked for.
const UNASKED: usize = 64 * 1024;

/// A stream on its way to its socket, and then on it. Dropped, it ends the stream.
pub(super) struct Direct {
    stream: Arc<Stream>,
    /// What comes before all events.
    first: Bytes,
    unasked: usize,
}

impl Direct {
    pub(super) fn new(stream: Arc<Stream>, first: Bytes) -> Self {
        Self { stream, first, unasked: 0 }
    }

    /// Begins to write, in a task of its own.
    pub(super) fn spawn(mut self, socket: Socket) {
        let wire = Arc::new(TcpWire::new(socket.into_inner()));
        let mut first = BytesMut::new();
        chunk::write(&std::mem::take(&mut self.first), &mut first);
        // The control lane goes before all data; nothing but a heartbeat can be in it, and both fit.
        self.stream.outbox.push_control(first.freeze());
        self.stream.outbox.attach(wire.clone());
        if self.stream.wire.set(wire.clone()).is_ok() {
            tokio::spawn(self.run(wire));
        }
    }

    async fn run(mut self, wire: Arc<TcpWire>) {
        let over = poll_fn(|cx| {
            if let Poll::Ready(reason) = self.stream.outbox.poll_flush(cx) {
                return Poll::Ready(Some(reason));
            }
            self.poll_leave(&wire, cx).map(|()| None)
        });
        match over.await {
            Some(reason) => {
                let is_said = reason.kind != CloseKind::Lost;
                self.stream.end(reason);
                wire.shutdown(Shutdown::Write);
                if is_said {
                    // A socket that is closed while its client sends would take the last words back.
                    let _ = timeout(LINGER, poll_fn(|cx| self.poll_leave(&wire, cx))).await;
                }
            }
            None => self.stream.leave(),
        }
        wire.shutdown(Shutdown::Both);
    }

    /// Ready when the client has left, or sends what does not belong here.
    fn poll_leave(&mut self, wire: &TcpWire, cx: &mut Context<'_>) -> Poll<()> {
        let mut bytes = [0; 512];
        loop {
            match wire.poll_read(cx, &mut bytes) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(()),
                Poll::Ready(Ok(count)) => {
                    self.unasked += count;
                    if self.unasked > UNASKED {
                        return Poll::Ready(());
                    }
                }
            }
        }
    }
}

impl Drop for Direct {
    fn drop(&mut self) {
        self.stream.leave();
    }
}

impl Stream {
    /// Cuts the socket of a client that takes nothing.
    pub(super) fn cut(&self, reason: CloseReason) {
        self.end(reason);
        if let Some(wire) = self.wire.get() {
            wire.reset();
        }
    }
}
