//! A socket that takes as much as a test allows it to.

use std::{
    io::{self, ErrorKind, IoSlice},
    sync::Mutex,
    task::{Context, Poll, Waker},
};

use fanfare_core::outbox::Wire;

/// Takes everything until it is told otherwise.
#[derive(Default)]
pub(crate) struct TestWire {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    taken: Vec<u8>,
    /// How many bytes it takes before it refuses; `None` is all.
    room: Option<usize>,
    broken: bool,
    writes: usize,
    waker: Option<Waker>,
}

impl TestWire {
    /// Takes nothing more.
    pub(crate) fn shut(&self) {
        self.change(|state| state.room = Some(0));
    }

    /// Takes so many bytes more, and then nothing.
    pub(crate) fn allow(&self, bytes: usize) {
        self.change(|state| state.room = Some(state.room.unwrap_or(0) + bytes));
    }

    /// Takes everything again.
    pub(crate) fn open(&self) {
        self.change(|state| state.room = None);
    }

    /// Fails from now on.
    pub(crate) fn break_off(&self) {
        self.change(|state| state.broken = true);
    }

    /// How often something was written.
    pub(crate) fn writes(&self) -> usize {
        self.state.lock().unwrap().writes
    }

    /// All it has taken.
    pub(crate) fn taken(&self) -> Vec<u8> {
        self.state.lock().unwrap().taken.clone()
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let waker = {
            let mut state = self.state.lock().unwrap();
            change(&mut state);
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Wire for TestWire {
    fn try_write(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut state = self.state.lock().unwrap();
        if state.broken {
            return Err(ErrorKind::BrokenPipe.into());
        }
        let mut written = 0;
        for buf in bufs {
            let part = state.room.unwrap_or(usize::MAX).min(buf.len());
            state.taken.extend_from_slice(&buf[..part]);
            state.room = state.room.map(|room| room - part);
            written += part;
        }
        if written == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        state.writes += 1;
        Ok(written)
    }

    fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.state.lock().unwrap();
        if state.broken || state.room != Some(0) {
            return Poll::Ready(Ok(()));
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}
