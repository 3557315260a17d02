//! The socket, and the task that writes to it.

use std::{
    io::{self, IoSlice},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use parking_lot::Mutex;

use crate::outbox::Wire;

/// A socket that takes as many bytes as it was told to.
#[derive(Default)]
pub(super) struct Sink(pub(super) Mutex<Sunk>);

/// What it has taken, and what it will.
#[derive(Default)]
pub(super) struct Sunk {
    room: usize,
    pub(super) taken: Vec<u8>,
    pub(super) broken: bool,
    waker: Option<Waker>,
    pub(super) writes: usize,
}

impl Wire for Sink {
    fn try_write(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut sunk = self.0.lock();
        sunk.writes += 1;
        if sunk.broken {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        let mut written = 0;
        for buf in bufs {
            let part = buf.len().min(sunk.room);
            sunk.taken.extend_from_slice(&buf[..part]);
            sunk.room -= part;
            written += part;
        }
        if written == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(written) }
    }

    fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut sunk = self.0.lock();
        if sunk.room > 0 || sunk.broken {
            return Poll::Ready(Ok(()));
        }
        sunk.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Sink {
    pub(super) fn open(&self, bytes: usize) {
        let mut sunk = self.0.lock();
        sunk.room += bytes;
        let waker = if sunk.room > 0 { sunk.waker.take() } else { None };
        drop(sunk);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// The connection's task: polled when it was woken, never else.
pub(super) struct Task {
    pub(super) woken: AtomicBool,
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.woken.store(true, Ordering::Relaxed);
    }
}
