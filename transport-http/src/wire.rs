//! A TCP socket that is written and read by readiness, without buffers of its own.

use std::{
    io::{self, IoSlice, Read},
    net::Shutdown,
    task::{Context, Poll, ready},
    time::Duration,
};

use fanfare_core::outbox::Wire;
use socket2::SockRef;
use tokio::{io::Interest, net::TcpStream};

use crate::set_options;

/// A connected socket, shared by who writes to it from outside and by the task that reads it.
#[derive(Debug)]
pub struct TcpWire {
    stream: TcpStream,
}

impl TcpWire {
    /// Takes a socket over and [sets its options](set_options). One that cannot be set is left as it is: the socket still works.
    #[must_use]
    pub fn new(stream: TcpStream) -> Self {
        if let Err(error) = set_options(&stream) {
            tracing::debug!(target: "fanfare::http", %error, "socket option not set");
        }
        Self { stream }
    }

    /// Writes from the front of `bufs` what the kernel takes, without waiting. The result is a number of bytes.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::WouldBlock`] when it takes none; all others mean that the connection is lost.
    pub fn try_write(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        match bufs {
            [one] => self.stream.try_write(one),
            several => self.stream.try_write_vectored(several),
        }
    }

    /// Waits until [`try_write`](Self::try_write) may succeed. Of several tasks only the last to ask is woken.
    ///
    /// # Errors
    ///
    /// The connection is lost.
    pub fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.poll_write_ready(cx)
    }

    /// Reads what there is, at most `buf.len()` bytes; 0 at the end of the stream.
    ///
    /// Of several tasks only the last to ask is woken. On the first call this takes the place of the task that had the
    /// socket before, so that nothing keeps that one alive.
    ///
    /// # Errors
    ///
    /// The connection is lost.
    pub fn poll_read(&self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.stream.poll_read_ready(cx))?;
            match self.try_read(buf) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done),
            }
        }
    }

    /// Has the connection end when the client's machine acknowledges nothing of what was sent to it for this long
    /// (`TCP_USER_TIMEOUT`, RFC 5482, on Linux). Left alone, TCP goes on for a quarter of an hour. A client that is there and does
    /// not read is cut after the same time. Where it cannot be set the system's own patience counts.
    pub fn acknowledged_within(&self, patience: Duration) {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        if let Err(error) = SockRef::from(&self.stream).set_tcp_user_timeout(Some(patience)) {
            tracing::debug!(target: "fanfare::http", %error, "socket option not set");
        }
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        let _ = patience;
    }

    /// Ends one direction or both. A socket that is gone already is none the worse for it.
    pub fn shutdown(&self, how: Shutdown) {
        let _ = SockRef::from(&self.stream).shutdown(how);
    }

    /// Ends the connection at once, for a client that takes nothing: closed in the ordinary way, what is unsent would stay with
    /// the kernel until the client has read it. Who waits for the socket is woken.
    pub fn reset(&self) {
        let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
        self.shutdown(Shutdown::Both);
    }

    /// Reads once. A read that does not fill the buffer has emptied the socket: where the kernel says when more comes,
    /// the readiness is cleared at once, which saves the read that would only find this out.
    fn try_read(&self, buf: &mut [u8]) -> io::Result<usize> {
        let edge_triggered = cfg!(any(target_os = "linux", target_os = "android"));
        let mut count = None;
        let result = self.stream.try_io(Interest::READABLE, || {
            let read = (&*SockRef::from(&self.stream)).read(buf)?;
            count = Some(read);
            // To the runtime this kind of error says nothing but "not ready any more".
            let emptied = edge_triggered && read > 0 && read < buf.len();
            if emptied { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
        });
        count.map_or_else(|| result.map(|()| 0), Ok)
    }
}

impl Wire for TcpWire {
    fn try_write(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.try_write(bufs)
    }

    fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_writable(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, sync::Arc};

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
        time::timeout,
    };

    use super::*;

    async fn pair() -> (TcpWire, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (TcpWire::new(listener.accept().await.unwrap().0), client)
    }

    async fn read(wire: &TcpWire, buf: &mut [u8]) -> usize {
        poll_fn(|cx| wire.poll_read(cx, buf)).await.unwrap()
    }

    #[tokio::test]
    async fn rule_9_unsent_bytes_are_kept_few_by_the_kernel() {
        let (wire, _client) = pair().await;
        assert!(wire.stream.nodelay().unwrap());
        #[cfg(target_os = "linux")]
        assert_eq!(SockRef::from(&wire.stream).tcp_notsent_lowat().unwrap(), 64 * 1024);
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_client_that_vanishes_is_given_up() {
        let (wire, _client) = pair().await;
        wire.acknowledged_within(Duration::from_secs(60));
        let patience = SockRef::from(&wire.stream).tcp_user_timeout().unwrap();
        assert_eq!(patience, Some(Duration::from_secs(60)));
    }

    #[tokio::test]
    async fn reads_all_that_comes_in_turns_of_any_size() {
        let (wire, mut client) = pair().await;
        let sent: Vec<u8> = (0..500_000u32).map(|at| (at % 251) as u8).collect();
        let expected = sent.clone();
        let writer = tokio::spawn(async move {
            for piece in sent.chunks(777) {
                client.write_all(piece).await.unwrap();
                tokio::task::yield_now().await;
            }
        });
        let mut received = Vec::new();
        let mut buf = vec![0; 1000];
        loop {
            let count =
                timeout(Duration::from_secs(10), read(&wire, &mut buf)).await.expect("a wake-up was lost");
            if count == 0 {
                break;
            }
            received.extend_from_slice(&buf[..count]);
        }
        writer.await.unwrap();
        assert!(received == expected);
    }

    #[tokio::test]
    async fn what_a_full_buffer_left_is_read_at_once() {
        let (wire, mut client) = pair().await;
        client.write_all(&[1; 3000]).await.unwrap();
        let mut buf = [0; 1000];
        for _ in 0..3 {
            // All of it has come: there will be no other sign of it.
            assert_eq!(timeout(Duration::from_secs(10), read(&wire, &mut buf)).await, Ok(1000));
        }
    }

    #[tokio::test]
    async fn sees_the_end_that_comes_with_the_last_bytes() {
        let (wire, mut client) = pair().await;
        client.write_all(b"last").await.unwrap();
        drop(client);
        let mut buf = [0; 64];
        assert_eq!(read(&wire, &mut buf).await, 4);
        assert_eq!(timeout(Duration::from_secs(10), read(&wire, &mut buf)).await, Ok(0));
    }

    #[tokio::test]
    async fn waits_for_nothing_but_more_bytes() {
        let (wire, mut client) = pair().await;
        let mut buf = [0; 64];
        for _ in 0..3 {
            client.write_all(b"x").await.unwrap();
            assert_eq!(read(&wire, &mut buf).await, 1);
            let more = poll_fn(|cx| Poll::Ready(wire.poll_read(cx, &mut buf).is_ready())).await;
            assert!(!more);
        }
    }

    #[tokio::test]
    async fn a_full_socket_refuses_and_says_when_it_takes_more() {
        let (wire, mut client) = pair().await;
        let wire = Arc::new(wire);
        let data = vec![7; 1 << 20];
        let mut taken = 0;
        let refusal = loop {
            match wire.try_write(&[IoSlice::new(&data), IoSlice::new(&data)]) {
                Ok(count) => taken += count,
                Err(error) => break error,
            }
        };
        assert_eq!(refusal.kind(), io::ErrorKind::WouldBlock);
        let writable = tokio::spawn(async move { poll_fn(|cx| wire.poll_writable(cx)).await });
        let mut buf = vec![0; 1 << 16];
        while taken > 0 {
            taken -= client.read(&mut buf).await.unwrap();
        }
        timeout(Duration::from_secs(10), writable).await.expect("a wake-up was lost").unwrap().unwrap();
    }
}
