//! Publishes that wait for the backend.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use futures_util::stream::{FuturesUnordered, Stream};

use super::{Published, Reply, RequestId};
use crate::{
    message::Frame,
    outbox::Outbox,
    publish::{Ack, Awaited, PublishError},
};

/// The publishes of one session that wait for the backend. Empty, it holds no memory of its own.
#[derive(Default)]
pub(super) struct Pending {
    acks: Option<Box<FuturesUnordered<Waiting>>>,
    /// A reply for which there was no room.
    held: Option<(bytes::Bytes, Awaited)>,
}

struct Waiting {
    id: Option<RequestId>,
    ack: Ack,
    awaited: Awaited,
}

impl Future for Waiting {
    type Output = (Option<RequestId>, Result<Published, PublishError>, Awaited);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let result = std::task::ready!(Pin::new(&mut self.ack).poll(cx));
        Poll::Ready((self.id, result, self.awaited.clone()))
    }
}

impl Pending {
    pub(super) fn is_empty(&self) -> bool {
        self.acks.is_none() && self.held.is_none()
    }

    pub(super) fn push(&mut self, id: Option<RequestId>, ack: Ack, awaited: Awaited) {
        self.acks.get_or_insert_default().push(Waiting { id, ack, awaited });
    }

    /// Enqueues the replies of those that are done, as far as there is room.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, outbox: &Outbox) {
        loop {
            if let Some((frame, _)) = &self.held {
                if outbox.poll_room(cx, frame.len()).is_pending() || !outbox.push_control(frame.clone()) {
                    return;
                }
                self.held = None;
                outbox.flush();
            }
            let Some(acks) = &mut self.acks else { return };
            match Pin::new(&mut **acks).poll_next(cx) {
                Poll::Pending => return,
                Poll::Ready(None) => {
                    self.acks = None;
                    return;
                }
                Poll::Ready(Some((id, result, awaited))) => {
                    let reply = match result {
                        Ok(published) if id.is_some() => Reply::Published(published),
                        Ok(_) => continue,
                        Err(error) => Reply::Error(Box::new(error.into())),
                    };
                    self.held = Some((outbox.encode(Frame::Reply { id, reply: &reply }), awaited));
                }
            }
        }
    }

    /// Ready when fewer than so many wait.
    pub(super) fn poll_below(&mut self, cx: &mut Context<'_>, outbox: &Outbox, limit: usize) -> Poll<()> {
        self.poll(cx, outbox);
        let waiting = self.acks.as_ref().map_or(0, |acks| acks.len());
        if waiting < limit { Poll::Ready(()) } else { Poll::Pending }
    }
}
