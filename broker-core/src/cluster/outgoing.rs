//! What this node has to say to others: one queue, in order, bounded.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::{StreamExt, stream::FuturesUnordered};
use parking_lot::Mutex;
use thiserror::Error;
use tokio::sync::{Notify, oneshot};

use super::parcel::{MAX_PARCEL, Part, parts};
use crate::{
    backend::{Backend, NodeId},
    broker::{self, within},
};

/// How many bytes of parcels wait at most.
const MAX_BYTES: usize = 16 << 20;
const _: () = assert!(MAX_PARCEL <= MAX_BYTES, "one always fits an empty queue");

/// How many parcels wait at most.
const MAX_PARCELS: usize = 4096;

/// How many frames are with the backend at once.
const AT_ONCE: usize = 16;

/// Why a parcel is not sent, or not whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum NotSent {
    /// It is longer than [`MAX_PARCEL`].
    #[error("it is longer than {MAX_PARCEL} bytes")]
    TooLong,
    /// As much waits as may.
    #[error("too much waits to be sent to other nodes")]
    Full,
    /// The backend has not taken it, or the node has said goodbye.
    #[error("the backend is away")]
    Away,
}

/// What waits to be sent.
pub(super) struct Outgoing {
    queue: Mutex<Queue>,
    notify: Notify,
    is_alone: bool,
}

#[derive(Default)]
struct Queue {
    items: VecDeque<Item>,
    bytes: usize,
    /// The number of the last parcel.
    last: u64,
    is_closed: bool,
}

struct Item {
    to: Option<NodeId>,
    content: Content,
    sending: Arc<Sending>,
}

enum Content {
    /// A frame as it is.
    Frame(Bytes),
    Parcel {
        kind: u8,
        number: u64,
        next: u16,
        content: Bytes,
    },
}

/// Tells how it went when the last part has gone.
struct Sending {
    missing: AtomicUsize,
    done: Mutex<Option<oneshot::Sender<Result<(), NotSent>>>>,
}

impl Drop for Sending {
    fn drop(&mut self) {
        if let Some(done) = self.done.get_mut().take() {
            let is_sent = *self.missing.get_mut() == 0;
            let _ = done.send(if is_sent { Ok(()) } else { Err(NotSent::Away) });
        }
    }
}

impl Item {
    fn new(to: Option<NodeId>, content: Content, done: Option<oneshot::Sender<Result<(), NotSent>>>) -> Self {
        let parts = match &content {
            Content::Frame(_) => 1,
            Content::Parcel { content, .. } => usize::from(parts(content.len())),
        };
        let sending = Sending { missing: AtomicUsize::new(parts), done: Mutex::new(done) };
        Self { to, content, sending: Arc::new(sending) }
    }

    fn bytes(&self) -> usize {
        match &self.content {
            Content::Frame(frame) => frame.len(),
            Content::Parcel { content, .. } => content.len(),
        }
    }
}

impl Outgoing {
    pub(super) fn new(is_alone: bool) -> Self {
        Self { queue: Mutex::default(), notify: Notify::new(), is_alone }
    }

    /// There is nobody to send anything to.
    pub(super) fn is_alone(&self) -> bool {
        self.is_alone
    }

    pub(super) fn post(&self, to: Option<NodeId>, kind: u8, content: Bytes) -> Result<(), NotSent> {
        self.put(to, kind, content, None)
    }

    pub(super) fn post_and_tell(
        &self,
        to: Option<NodeId>,
        kind: u8,
        content: Bytes,
    ) -> Result<oneshot::Receiver<Result<(), NotSent>>, NotSent> {
        let (done, told) = oneshot::channel();
        self.put(to, kind, content, Some(done)).map(|()| told)
    }

    fn put(
        &self,
        to: Option<NodeId>,
        kind: u8,
        content: Bytes,
        done: Option<oneshot::Sender<Result<(), NotSent>>>,
    ) -> Result<(), NotSent> {
        if content.len() > MAX_PARCEL {
            return Err(NotSent::TooLong);
        }
        if self.is_alone {
            if let Some(done) = done {
                let _ = done.send(Ok(()));
            }
            return Ok(());
        }
        let mut queue = self.queue.lock();
        if queue.is_closed {
            return Err(NotSent::Away);
        }
        if queue.bytes + content.len() > MAX_BYTES || queue.items.len() >= MAX_PARCELS {
            return Err(NotSent::Full);
        }
        queue.last += 1;
        let content = Content::Parcel { kind, number: queue.last, next: 0, content };
        queue.push(Item::new(to, content, done));
        drop(queue);
        self.notify.notify_one();
        Ok(())
    }

    /// Sends a frame that is no parcel, also where there is no room for parcels: there are never more than a few.
    pub(super) fn frame(&self, to: Option<NodeId>, frame: Bytes) {
        let mut queue = self.queue.lock();
        if self.is_alone || queue.is_closed || queue.items.len() >= 2 * MAX_PARCELS {
            return;
        }
        queue.push(Item::new(to, Content::Frame(frame), None));
        drop(queue);
        self.notify.notify_one();
    }

    /// Says goodbye to all, and takes nothing more. `None` where there is nobody to say it to.
    pub(super) fn goodbye(&self) -> Option<oneshot::Receiver<Result<(), NotSent>>> {
        let mut queue = self.queue.lock();
        if self.is_alone || std::mem::replace(&mut queue.is_closed, true) {
            return None;
        }
        let (done, told) = oneshot::channel();
        let frame = broker::goodbye();
        queue.push(Item::new(None, Content::Frame(frame), Some(done)));
        drop(queue);
        self.notify.notify_one();
        Some(told)
    }

    /// Gives the backend what waits, in order, until it is dropped.
    pub(super) async fn run(self: Arc<Self>, backend: Arc<dyn Backend>, timeout: Duration) {
        let mut at_work = FuturesUnordered::new();
        loop {
            while at_work.len() < AT_ONCE
                && let Some((to, frame, sending)) = self.queue.lock().next()
            {
                // The call is the hand-over: what is called first is sent first.
                let call = within(timeout, "control", backend.control(to, frame));
                at_work.push(async move {
                    if call.await.is_ok() {
                        sending.missing.fetch_sub(1, Ordering::AcqRel);
                    }
                });
            }
            tokio::select! {
                Some(()) = at_work.next() => {}
                () = self.notify.notified() => {}
            }
        }
    }
}

impl Queue {
    fn push(&mut self, item: Item) {
        self.bytes += item.bytes();
        self.items.push_back(item);
    }

    /// The next frame.
    fn next(&mut self) -> Option<(Option<NodeId>, Bytes, Arc<Sending>)> {
        let front = self.items.front_mut()?;
        let (to, sending) = (front.to, front.sending.clone());
        let (frame, is_last) = match &mut front.content {
            Content::Frame(frame) => (frame.clone(), true),
            Content::Parcel { kind, number, next, content } => {
                let part = Part::of(to.is_some(), *kind, *number, *next, content);
                *next += 1;
                let mut frame = BytesMut::with_capacity(16 + part.content.len());
                frame.put_slice(&broker::parcel_head());
                part.put(&mut frame);
                (frame.freeze(), *next == part.count)
            }
        };
        if is_last && let Some(item) = self.items.pop_front() {
            self.bytes -= item.bytes();
        }
        Some((to, frame, sending))
    }
}
