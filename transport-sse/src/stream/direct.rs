//! A stream that has taken its connection over from HTTP: fan-out writes the socket, without waiting and without a task in
//! between, and nothing of an idle stream is left but a small task that waits for the client to leave.

use std::{future::poll_fn, net::Shutdown, sync::Arc, task::Poll, time::Duration};

use bytes::{Bytes, BytesMut};
use fanfare_core::session::{CloseKind, CloseReason};
use fanfare_http::{Socket, TcpWire};
use tokio::time::timeout;

use super::{
    Stream,
    unasked::{LINGER, Unasked},
};
use crate::chunk;

/// A reader sends nothing that would show that it is still there. One whose machine has not acknowledged a heartbeat for this long
/// is gone, and no member of anything any more: long enough for a tunnel, and not the quarter of an hour that TCP waits.
const VANISHED: Duration = Duration::from_secs(60);

/// A stream on its way to its socket, and then on it. Dropped, it ends the stream.
pub(super) struct Direct {
    stream: Arc<Stream>,
    /// What comes before all events.
    first: Bytes,
    unasked: Unasked,
}

impl Direct {
    pub(super) fn new(stream: Arc<Stream>, first: Bytes) -> Self {
        Self { stream, first, unasked: Unasked::default() }
    }

    /// Begins to write, in a task of its own.
    pub(super) fn spawn(mut self, socket: Socket) {
        let wire = Arc::new(TcpWire::new(socket.into_inner()));
        wire.acknowledged_within(VANISHED.max(self.stream.mount.config.write_timeout));
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
            self.unasked.poll(|buf| wire.poll_read(cx, buf)).map(|()| None)
        });
        match over.await {
            Some(reason) => {
                let is_said = reason.kind != CloseKind::Lost;
                self.stream.end(reason);
                wire.shutdown(Shutdown::Write);
                if is_said {
                    // A socket that is closed while its client sends would take the last words back.
                    let _ =
                        timeout(LINGER, poll_fn(|cx| self.unasked.poll(|buf| wire.poll_read(cx, buf)))).await;
                }
            }
            None => self.stream.leave(),
        }
        wire.shutdown(Shutdown::Both);
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
