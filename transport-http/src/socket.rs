//! The server's sockets: one that stops taking what is written is cut.

use std::{
    fmt,
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, Bytes};
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Sleep, sleep},
};

use crate::takeover::Desk;

/// How much unsent data the kernel takes for one socket before it refuses more, in bytes. Left alone it takes
/// megabytes, which a client that does not read holds until it is gone.
#[cfg(any(target_os = "linux", target_os = "android"))]
const NOT_SENT_LOW_WATER: u32 = 64 * 1024;

/// Prepares a TCP socket for messages: nothing waits for more to come (`TCP_NODELAY`), and the kernel takes at most 64 KiB
/// that it cannot send yet (`TCP_NOTSENT_LOWAT`, on Linux). [`Server`](crate::Server) does so with each of its sockets.
///
/// # Errors
///
/// The first option that could not be set. The socket works all the same.
pub fn set_options(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    SockRef::from(stream).set_tcp_notsent_lowat(NOT_SENT_LOW_WATER)?;
    Ok(())
}

/// What [`Server`](crate::Server) serves HTTP on. A transport that takes connections over from HTTP finds it in
/// hyper's `Upgraded`, as `TokioIo<Socket>`.
///
/// While somebody waits for it to take bytes, a clock runs; when it has taken none for the write timeout, the connection is
/// reset, so that the kernel does not hold on to what is unsent, either. An idle connection has no timer.
pub struct Socket {
    stream: TcpStream,
    /// What was read to see which version of HTTP is spoken.
    early: Bytes,
    write_timeout: Duration,
    /// Runs while the socket takes nothing.
    stalled: Option<Pin<Box<Sleep>>>,
    /// Who waits until nothing is left to write.
    desk: Option<Arc<Desk>>,
}

impl Socket {
    pub(crate) fn new(stream: TcpStream, write_timeout: Duration) -> Self {
        if let Err(error) = set_options(&stream) {
            tracing::debug!(target: "fanfare::http", %error, "socket option not set");
        }
        Self { stream, early: Bytes::new(), write_timeout, stalled: None, desk: None }
    }

    /// The TCP socket. From here on nothing watches over its writes.
    #[must_use]
    pub fn into_inner(self) -> TcpStream {
        self.stream
    }

    /// Tells `desk` of each flush; nobody with `None`.
    pub(crate) fn tell(&mut self, desk: Option<Arc<Desk>>) {
        self.desk = desk;
    }

    /// Gives back what was read, to be read again.
    pub(crate) fn unread(&mut self, bytes: Bytes) {
        self.early = bytes;
    }

    fn note_write(&self) {
        if let Some(desk) = &self.desk {
            desk.note_write();
        }
    }

    /// Passes on what a write came to. One that did not come to anything starts the clock, or finds that it has run out.
    fn watch(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let deadline = self.stalled.get_or_insert_with(|| Box::pin(sleep(self.write_timeout)));
        ready!(deadline.as_mut().poll(cx));
        // Closed in the ordinary way, it would stay with the kernel until the client has read all of it.
        let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing")))
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket").field("stream", &self.stream).finish_non_exhaustive()
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.early.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        let count = self.early.len().min(buf.remaining());
        buf.put_slice(&self.early[..count]);
        self.early.advance(count);
        if buf.remaining() > 0 {
            // What has come meanwhile belongs to the same read: for a second one hyper would make its buffer twice as large, and
            // keep that as long as the connection lives. An error is met again.
            let _ = Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.note_write();
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.watch(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.note_write();
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.watch(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        if let Some(desk) = &self.desk {
            desk.note_flush();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    #[tokio::test]
    async fn what_was_read_ahead_and_what_follows_is_one_read() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut socket = Socket::new(listener.accept().await.unwrap().0, Duration::from_secs(10));
        client.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
        socket.stream.readable().await.unwrap();
        socket.unread(Bytes::from_static(b"early "));
        let mut buffer = [0; 64];
        let count = socket.read(&mut buffer).await.unwrap();
        assert_eq!(&buffer[..count], b"early GET / HTTP/1.1\r\n");

        // No more than there is room for, and nothing is lost.
        socket.unread(Bytes::from_static(b"0123456789"));
        client.write_all(b"abc").await.unwrap();
        drop(client);
        let mut small = [0; 4];
        assert_eq!(socket.read(&mut small).await.unwrap(), 4);
        let mut rest = Vec::new();
        socket.read_to_end(&mut rest).await.unwrap();
        assert_eq!([&small, &rest[..]].concat(), b"0123456789abc");
    }
}
