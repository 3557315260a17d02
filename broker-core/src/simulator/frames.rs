//! A wire format that shows any torn, lost or foreign byte, and a socket that takes what it likes.

use std::{
    io::{self, ErrorKind, IoSlice},
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::{BufMut, BytesMut};
use parking_lot::Mutex;

use crate::{
    message::{Encoder, Frame, Gap, LogPlace, Message, Position},
    outbox::Wire,
    session::{ErrorCode, Reply, Subscribed},
};

/// What a client reads out of its stream.
#[derive(Clone, Debug)]
pub(super) enum Seen {
    Message { topic: String, uid: u64, place: Option<LogPlace> },
    Cursor { topic: String, position: Position },
    Gap { subject: String, gap: Gap },
    Live { topic: String, position: Position },
    Reply { id: u64, reply: SeenReply },
    Ping,
    Close(u16),
}

/// An answer, as far as the simulator looks at it.
#[derive(Clone, Debug)]
pub(super) enum SeenReply {
    Subscribed(Subscribed),
    Connected(Vec<(String, Subscribed)>),
    Unsubscribed,
    Published,
    Pong,
    Error(ErrorCode),
    Other,
}

/// Each frame is its length, its number in a table of all frames, and filling that depends on that number.
#[derive(Default)]
pub(super) struct Table {
    frames: Mutex<Vec<Seen>>,
    filling: usize,
}

const HEAD: usize = 8;

impl Table {
    pub(super) fn new(filling: usize) -> Self {
        Self { frames: Mutex::default(), filling }
    }

    /// Reads the first whole frame, and how long it is.
    pub(super) fn decode(&self, bytes: &[u8]) -> Option<(Seen, usize)> {
        let head = bytes.first_chunk::<HEAD>()?;
        let length = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let number = u32::from_be_bytes([head[4], head[5], head[6], head[7]]);
        let frames = self.frames.lock();
        assert!(
            (number as usize) < frames.len() && length >= HEAD,
            "a frame is torn: {length} bytes, {number}"
        );
        let frame = bytes.get(..length)?;
        assert!(frame[HEAD..].iter().all(|byte| *byte == number as u8), "frame {number} holds foreign bytes");
        Some((frames[number as usize].clone(), length))
    }
}

impl Encoder for Table {
    fn encode(&self, frame: Frame<'_>, out: &mut BytesMut) {
        let (seen, weight) = match frame {
            Frame::Message(message) => {
                let topic = message.topic().as_str().to_owned();
                let seen = Seen::Message { topic, uid: uid(message), place: message.place() };
                (seen, message.payload().len())
            }
            Frame::Cursor { topic, position } => {
                (Seen::Cursor { topic: topic.as_str().to_owned(), position }, 5)
            }
            Frame::Gap { topic, gap } => (Seen::Gap { subject: topic.to_owned(), gap: gap.clone() }, 20),
            Frame::Live { topic, position } => (Seen::Live { topic: topic.as_str().to_owned(), position }, 7),
            Frame::Reply { id, reply } => {
                let reply = match reply {
                    Reply::Subscribed(subscribed) => SeenReply::Subscribed(*subscribed),
                    Reply::Connected(connected) => SeenReply::Connected(
                        connected
                            .subscribed
                            .iter()
                            .map(|(name, outcome)| match outcome {
                                Ok(outcome) => (name.clone(), *outcome),
                                Err(error) => panic!("{name}: {error}"),
                            })
                            .collect(),
                    ),
                    Reply::Unsubscribed => SeenReply::Unsubscribed,
                    Reply::Published(_) => SeenReply::Published,
                    Reply::Pong => SeenReply::Pong,
                    Reply::Error(error) => SeenReply::Error(error.code),
                    _ => SeenReply::Other,
                };
                (Seen::Reply { id: id.map_or(0, |id| id.value()), reply }, 11)
            }
            // The simulated app says nothing unasked.
            Frame::Call(_)
            | Frame::Subscribed { .. }
            | Frame::Unsubscribed { .. }
            | Frame::Presence { .. }
            | Frame::Token { .. } => {
                return;
            }
            Frame::Ping => (Seen::Ping, 0),
            Frame::Close(reason) => (Seen::Close(reason.code()), 3),
        };
        let mut frames = self.frames.lock();
        let number = frames.len() as u32;
        frames.push(seen);
        let filling = weight + self.filling;
        out.put_u32((HEAD + filling) as u32);
        out.put_u32(number);
        out.put_bytes(number as u8, filling);
    }
}

/// A payload begins with the message's own number.
pub(super) fn uid(message: &Message) -> u64 {
    message.payload().bytes().first_chunk().map_or(0, |head| u64::from_be_bytes(*head))
}

/// A socket that takes so many bytes and no more, until it is given room.
#[derive(Default)]
pub(super) struct Socket(Mutex<SocketState>);

#[derive(Default)]
struct SocketState {
    room: usize,
    per_write: usize,
    interrupted: bool,
    broken: bool,
    taken: Vec<u8>,
    waker: Option<Waker>,
}

impl Socket {
    pub(super) fn give_room(&self, bytes: usize, per_write: usize) {
        let mut state = self.0.lock();
        state.room = bytes;
        state.per_write = per_write.max(1);
        state.interrupted = bytes % 7 == 3;
        let waker = if bytes > 0 { state.waker.take() } else { None };
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(super) fn break_off(&self) {
        let mut state = self.0.lock();
        state.broken = true;
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
    }

    pub(super) fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.0.lock().taken)
    }
}

impl Wire for Socket {
    fn try_write(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut state = self.0.lock();
        if std::mem::take(&mut state.interrupted) {
            return Err(ErrorKind::Interrupted.into());
        }
        if state.broken {
            return Err(ErrorKind::BrokenPipe.into());
        }
        let mut left = state.room.min(state.per_write);
        if left == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        let mut written = 0;
        for buf in bufs {
            let part = buf.len().min(left);
            state.taken.extend_from_slice(&buf[..part]);
            written += part;
            left -= part;
        }
        state.room -= written;
        Ok(written)
    }

    fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.0.lock();
        if state.broken || state.room > 0 {
            return Poll::Ready(Ok(()));
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

/// Whether a task was woken.
#[derive(Default)]
pub(super) struct Flag(std::sync::atomic::AtomicBool);

impl Flag {
    pub(super) fn raised() -> Arc<Self> {
        Arc::new(Self(true.into()))
    }

    /// Whether it was woken since the last call.
    pub(super) fn lower(&self) -> bool {
        self.0.swap(false, std::sync::atomic::Ordering::SeqCst)
    }

    pub(super) fn raise(&self) {
        self.0.store(true, std::sync::atomic::Ordering::SeqCst);
    }
}

impl std::task::Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.raise();
    }
}
