//! A TCP socket that the fan-out writes to, and its connection reads from.

use std::{
    io::{self, IoSlice},
    task::{Context, Poll, ready},
};

use fanfare_core::outbox::Wire;
use tokio::net::TcpStream;

pub(crate) struct Socket {
    stream: TcpStream,
}

impl Socket {
    pub(crate) fn new(stream: TcpStream) -> Self {
        let _ = stream.set_nodelay(true);
        Self { stream }
    }

    /// Reads one line into `line`, without its end, keeping what follows it in `unread`. False at the end of the stream, and when
    /// the line is longer than `max` bytes. Cancel safe.
    pub(crate) async fn read_line(&self, unread: &mut Vec<u8>, line: &mut String, max: usize) -> bool {
        loop {
            if let Some(end) = unread.iter().position(|byte| *byte == b'\n') {
                let bytes: Vec<u8> = unread.drain(..=end).collect();
                *line = String::from_utf8_lossy(&bytes).trim().to_owned();
                return true;
            }
            if unread.len() > max || self.stream.readable().await.is_err() {
                return false;
            }
            match self.stream.try_read_buf(unread) {
                Ok(0) => return false,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return false,
            }
        }
    }
}

impl Wire for Socket {
    fn try_write(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.stream.try_write_vectored(bufs)
    }

    fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.stream.poll_write_ready(cx))?;
        Poll::Ready(Ok(()))
    }
}
