//! What a session waits for: the backend, for publishes; the app, for calls.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::stream::{FuturesUnordered, Stream};

use super::{Published, Reply, RequestId};
use crate::{
    Limits,
    calls::{ClientCall, Method, Running, Served},
    message::Frame,
    outbox::Outbox,
    publish::{Ack, Awaited, PublishError},
};

/// The publishes of one session that wait for the backend, and its calls that the app serves. Empty, it holds no memory of its own.
#[derive(Default)]
pub(super) struct Pending {
    acks: Option<Box<FuturesUnordered<Waiting>>>,
    /// The calls that the app serves.
    calls: Option<Box<Running>>,
    /// A reply for which there was no room.
    held: Option<Box<(bytes::Bytes, Awaited)>>,
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
        self.acks.is_none() && self.calls.is_none() && self.held.is_none()
    }

    pub(super) fn push(&mut self, id: Option<RequestId>, ack: Ack, awaited: Awaited) {
        self.acks.get_or_insert_default().push(Waiting { id, ack, awaited });
    }

    /// Enqueues the replies of those that are done, as far as there is room.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, outbox: &Outbox) {
        loop {
            if let Some(held) = &self.held {
                let (frame, _) = &**held;
                if outbox.poll_room(cx, frame.len()).is_pending() || !outbox.push_control(frame.clone()) {
                    return;
                }
                self.held = None;
                outbox.flush();
            }
            let Some((id, reply, awaited)) = self.next(cx) else { return };
            if id.is_some() || matches!(reply, Reply::Error(_)) {
                let frame = outbox.encode(Frame::Reply { id, reply: &reply });
                self.held = Some(Box::new((frame, awaited)));
            }
        }
    }

    /// The next reply that can be made now.
    fn next(&mut self, cx: &mut Context<'_>) -> Option<(Option<RequestId>, Reply, Awaited)> {
        if let Some(acks) = &mut self.acks {
            match Pin::new(&mut **acks).poll_next(cx) {
                Poll::Pending => {}
                Poll::Ready(None) => self.acks = None,
                Poll::Ready(Some((id, result, awaited))) => {
                    let error = |error: PublishError| Reply::Error(Box::new(error.into()));
                    return Some((id, result.map_or_else(error, Reply::Published), awaited));
                }
            }
        }
        if let Some(calls) = &mut self.calls {
            match calls.poll_next(cx) {
                Poll::Pending => {}
                Poll::Ready(None) => self.calls = None,
                Poll::Ready(Some(Served { id, result, awaited })) => {
                    return Some((id, result.map_or_else(Reply::from, Reply::Called), awaited));
                }
            }
        }
        None
    }

    /// Ready when fewer than so many wait.
    pub(super) fn poll_below(&mut self, cx: &mut Context<'_>, outbox: &Outbox, limit: usize) -> Poll<()> {
        self.poll(cx, outbox);
        let waiting = self.acks.as_ref().map_or(0, |acks| acks.len());
        if waiting < limit { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Begins to serve a call.
    pub(super) fn serve(
        &mut self,
        id: Option<RequestId>,
        method: Arc<Method>,
        call: ClientCall,
        limits: &Limits,
        awaited: Awaited,
    ) {
        self.calls.get_or_insert_default().begin(id, method, call, limits, awaited);
    }

    /// Drops the handlers of all calls that are being served.
    pub(super) fn stop_calls(&mut self) {
        self.calls = None;
    }

    /// Ready when no call keeps the next command waiting.
    pub(super) fn poll_turn(&mut self, cx: &mut Context<'_>, outbox: &Outbox) -> Poll<()> {
        self.poll(cx, outbox);
        let is_exclusive = self.calls.as_ref().is_some_and(|calls| calls.is_exclusive());
        if is_exclusive { Poll::Pending } else { Poll::Ready(()) }
    }

    /// Ready when another call of a method may begin.
    pub(super) fn poll_room_for(
        &mut self,
        cx: &mut Context<'_>,
        outbox: &Outbox,
        method: &Arc<Method>,
        limit: usize,
    ) -> Poll<()> {
        self.poll(cx, outbox);
        let has_room = self.calls.as_ref().is_none_or(|calls| calls.has_room(method, limit));
        if has_room { Poll::Ready(()) } else { Poll::Pending }
    }
}
