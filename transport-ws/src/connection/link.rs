//! The ways to a client: a TCP socket that anyone may write to, or any other stream, which its own task serves.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    net::Shutdown,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, Bytes};
use fanfare_core::{
    outbox::Outbox,
    session::{CloseKind, CloseReason},
};
use fanfare_http::TcpWire;
use smallvec::SmallVec;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

/// How a connection's task reads, and writes what its outbox holds.
pub(crate) trait Link: Send + 'static {
    /// Writes what waits. Ready when the connection is over: the last frame has gone out, or the stream broke.
    fn poll_flush(&mut self, outbox: &Outbox, cx: &mut Context<'_>) -> Poll<CloseReason>;

    /// Writes what a turn has put into the outbox, if that can be done without waiting: a client that goes on sending
    /// does not keep its replies back. What becomes of it, `poll_flush` says.
    fn flush(&mut self, outbox: &Outbox, cx: &mut Context<'_>);

    /// Reads what there is; 0 at the end of the stream.
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>>;

    /// How long the stream has taken nothing although something waits.
    fn stalled_for(&self, outbox: &Outbox) -> Option<Duration>;

    /// Says that nothing more will be written.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()>;
}

/// A TCP socket, which fan-out writes directly.
#[derive(Debug)]
pub(crate) struct Direct(Arc<TcpWire>);

impl Direct {
    pub(crate) fn new(wire: TcpWire, outbox: &Outbox) -> Self {
        let wire = Arc::new(wire);
        outbox.attach(wire.clone());
        Self(wire)
    }
}

impl Link for Direct {
    fn poll_flush(&mut self, outbox: &Outbox, cx: &mut Context<'_>) -> Poll<CloseReason> {
        outbox.poll_flush(cx)
    }

    fn flush(&mut self, outbox: &Outbox, _: &mut Context<'_>) {
        outbox.flush();
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        self.0.poll_read(cx, buf)
    }

    fn stalled_for(&self, outbox: &Outbox) -> Option<Duration> {
        outbox.stalled_for()
    }

    fn poll_end(&mut self, _: &mut Context<'_>) -> Poll<()> {
        self.0.shutdown(Shutdown::Write);
        Poll::Ready(())
    }
}

/// The socket is closed here and now, whoever else holds it.
impl Drop for Direct {
    fn drop(&mut self) {
        self.0.shutdown(Shutdown::Both);
    }
}

/// How many bytes are taken out of the outbox at once: what is taken is beyond the reach of every overflow policy.
const PULL: usize = 16 * 1024;
/// How many frames one write gathers.
const FRAMES: usize = 32;

/// Any other stream, TLS for one. Frames are pulled when it has taken those before.
#[derive(Debug)]
pub(crate) struct Pulled<S> {
    stream: S,
    out: VecDeque<Bytes>,
    /// Written, but perhaps still in a buffer of the stream.
    unflushed: bool,
    /// Since when the stream takes nothing.
    stalled: Option<Instant>,
    /// The outbox has given its last frame.
    over: Option<CloseReason>,
}

impl<S> Pulled<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, out: VecDeque::new(), unflushed: false, stalled: None, over: None }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Pulled<S> {
    /// Ready when all that was taken out of the outbox has left.
    fn poll_write_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.out.is_empty() {
            let slices: SmallVec<[IoSlice<'_>; FRAMES]> =
                self.out.iter().take(FRAMES).map(|frame| IoSlice::new(frame)).collect();
            let mut written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, &slices))?;
            drop(slices);
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            (self.unflushed, self.stalled) = (true, None);
            while let Some(frame) = self.out.front_mut() {
                let part = written.min(frame.len());
                frame.advance(part);
                written -= part;
                if !frame.is_empty() {
                    break;
                }
                self.out.pop_front();
            }
        }
        // An idle connection holds no memory for what it once had to say.
        self.out = VecDeque::new();
        if self.unflushed {
            ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
            (self.unflushed, self.stalled) = (false, None);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Link for Pulled<S> {
    fn poll_flush(&mut self, outbox: &Outbox, cx: &mut Context<'_>) -> Poll<CloseReason> {
        loop {
            match self.poll_write_out(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(CloseKind::Lost.into()),
                Poll::Pending => {
                    self.stalled.get_or_insert_with(Instant::now);
                    return outbox.poll_cut(cx);
                }
            }
            if let Some(reason) = &self.over {
                return Poll::Ready(reason.clone());
            }
            let mut frames = Vec::new();
            self.over = ready!(outbox.poll_pull(cx, PULL, &mut frames));
            self.out = frames.into();
        }
    }

    fn flush(&mut self, outbox: &Outbox, cx: &mut Context<'_>) {
        let _asked_again = self.poll_flush(outbox, cx);
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buf = ReadBuf::new(buf);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buf))?;
        Poll::Ready(Ok(buf.filled().len()))
    }

    fn stalled_for(&self, outbox: &Outbox) -> Option<Duration> {
        outbox.ending_for().or_else(|| self.stalled.map(|since| since.elapsed()))
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.stream).poll_shutdown(cx).map(drop)
    }
}
