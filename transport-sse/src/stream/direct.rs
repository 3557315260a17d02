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
    unasked: Unasked,
}

impl Direct {
    pub(super) fn new(stream: Arc<Stream>) -> Self {
        Self { stream, unasked: Unasked::default() }
    }

    /// Begins to write, in a task of its own: first what comes before all events.
    pub(super) fn spawn(self, first: &Bytes, socket: Socket) {
        let wire = Arc::new(TcpWire::new(socket.into_inner()));
        wire.acknowledged_within(VANISHED.max(self.stream.mount.config.write_timeout));
        let mut chunk = BytesMut::new();
        chunk::write(first, &mut chunk);
        // The control lane goes before all data; nothing but a heartbeat can be in it, and both fit.
        self.stream.outbox.push_control(chunk.freeze());
        self.stream.outbox.attach(wire.clone());
        if self.stream.wire.set(wire.clone()).is_ok() {
            tokio::spawn(self.run(wire));
        }
    }

    // An async function would hold its arguments twice, as long as the stream lasts.
    #[expect(clippy::manual_async_fn)]
    fn run(mut self, wire: Arc<TcpWire>) -> impl Future<Output = ()> + Send {
        async move {
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
                        let left = poll_fn(|cx| self.unasked.poll(|buf| wire.poll_read(cx, buf)));
                        let _ = Box::pin(timeout(LINGER, left)).await;
                    }
                }
                None => self.stream.leave(),
            }
            wire.shutdown(Shutdown::Both);
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

#[cfg(test)]
mod tests {
    use fanfare_core::{Broker, policy::Open, session::Handshake};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::mount::Mount;

    #[tokio::test]
    async fn an_idle_stream_is_small() {
        let broker = Broker::builder().policy(Open).start().await.unwrap();
        let mount = Arc::new(Mount::new(&broker).unwrap());
        let (session, outbox) = broker.connect(Handshake::new("sse"), &mount.direct).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let direct = Direct::new(Stream::new(mount, session, outbox));
        let task = direct.run(Arc::new(TcpWire::new(socket)));
        // tokio adds 104 bytes of its own, and rounds up to a multiple of 128.
        assert!(size_of_val(&task) <= 152, "{} bytes", size_of_val(&task));
        assert_eq!(size_of::<Stream>(), 72);
    }
}
