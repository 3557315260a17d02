//! A stream that has taken its connection over from HTTP, and whose events are not the same for all readers: its own task
//! pulls them, and writes them behind the reader's own `id:`. Idle, it has no buffers.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use fanfare_http::Socket;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::timeout,
};

use super::{
    body::Reader,
    unasked::{LINGER, Unasked},
};
use crate::chunk;

/// A stream on its socket, which watches over its writes itself.
pub(super) struct Pulled {
    /// Dropped, it ends the stream.
    reader: Reader,
    socket: Socket,
    /// What was pulled and is not written yet.
    out: Bytes,
    unasked: Unasked,
}

impl Pulled {
    /// Begins to write, in a task of its own.
    pub(super) fn spawn(reader: Reader, socket: Socket) {
        let pulled = Self { reader, socket, out: Bytes::new(), unasked: Unasked::default() };
        tokio::spawn(pulled.run());
    }

    async fn run(mut self) {
        let is_said = poll_fn(|cx| match self.poll_write_all(cx) {
            Poll::Ready(written) => Poll::Ready(written.is_ok()),
            Poll::Pending => self.poll_leave(cx).map(|()| false),
        });
        if is_said.await && poll_fn(|cx| Pin::new(&mut self.socket).poll_shutdown(cx)).await.is_ok() {
            // A socket that is closed while its client sends would take the last words back.
            let _ = timeout(LINGER, poll_fn(|cx| self.poll_leave(cx))).await;
        }
    }

    /// Ready when all is said and written.
    fn poll_write_all(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            while !self.out.is_empty() {
                let written = ready!(Pin::new(&mut self.socket).poll_write(cx, &self.out))?;
                if written == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                self.out.advance(written);
            }
            self.out = Bytes::new();
            let Some(piece) = ready!(self.reader.poll_piece(cx)) else { return Poll::Ready(Ok(())) };
            let mut out = BytesMut::new();
            chunk::write(&piece, &mut out);
            if self.reader.is_over() {
                out.put_slice(chunk::LAST);
            }
            self.out = out.freeze();
        }
    }

    fn poll_leave(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Self { socket, unasked, .. } = self;
        unasked.poll(|bytes| {
            let mut buf = ReadBuf::new(bytes);
            ready!(Pin::new(&mut *socket).poll_read(cx, &mut buf))?;
            Poll::Ready(Ok(buf.filled().len()))
        })
    }
}
