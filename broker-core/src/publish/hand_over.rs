//! Over to the backend: what became of a message there, and who waits for it.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use futures_util::{FutureExt, future::BoxFuture};

use super::PublishError;
use crate::{
    backend::{Accepted, Outgoing},
    broker::{Inner, within},
    session::Published,
};

/// A committed message's acknowledgement. Dropping it takes nothing back.
pub(crate) enum Ack {
    Done(Published),
    Waiting(BoxFuture<'static, Result<Accepted, PublishError>>, Awaited),
}

impl Future for Ack {
    type Output = Result<Published, PublishError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            Self::Done(published) => Poll::Ready(Ok(*published)),
            Self::Waiting(future, _) => future.as_mut().poll(cx).map(|accepted| Ok(published(&accepted?))),
        }
    }
}

pub(super) fn published(accepted: &Accepted) -> Published {
    Published { position: accepted.position, duplicate: accepted.duplicate }
}

impl Inner {
    pub(super) fn hand_over(&self, outgoing: Outgoing) -> Ack {
        let awaited = Awaited::new(&self.awaited);
        let limit = self.limits.backend_timeout;
        let in_flight = Awaited::new(&self.in_flight);
        if outgoing.retention.is_some() {
            let accepted = within(limit, "publish", self.backend.publish(outgoing));
            let broker = self.weak();
            let accepted = accepted.map(move |accepted| {
                drop(in_flight);
                if let Err(error) = &accepted
                    && let Some(broker) = broker.upgrade()
                {
                    broker.note_failure(error);
                }
                accepted.map_err(PublishError::from)
            });
            return Ack::Waiting(accepted.boxed(), awaited);
        }
        // What does not reach the other nodes must not be lost on them without word.
        let mut topics = outgoing.also.clone();
        topics.push((outgoing.message.topic.clone(), outgoing.origin));
        let (broker, accepted) = (self.weak(), self.backend.publish(outgoing));
        let counted = awaited.clone();
        let carried = async move {
            let accepted = within(limit, "publish", accepted).await;
            if let Err(error) = &accepted
                && let Some(broker) = broker.upgrade()
            {
                broker.note_failure(error);
                broker.not_carried(topics);
            }
            drop((counted, in_flight));
            accepted.map_err(PublishError::NotCarried)
        };
        let carried = Carried { outcome: Some(carried.boxed()), runtime: self.runtime.clone() };
        Ack::Waiting(carried.boxed(), awaited)
    }
}

/// Counts what is waited for, as long as it is held: draining waits for it as well.
pub(crate) struct Awaited(Arc<AtomicUsize>);

impl Awaited {
    pub(crate) fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count.clone())
    }
}

impl Clone for Awaited {
    fn clone(&self) -> Self {
        Self::new(&self.0)
    }
}

impl Drop for Awaited {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// What became of an ephemeral message. Who gives up waiting leaves the waiting to the node: a message that was not
/// carried must be known to it.
struct Carried {
    /// `None` once it is known.
    outcome: Option<BoxFuture<'static, Result<Accepted, PublishError>>>,
    runtime: tokio::runtime::Handle,
}

impl Future for Carried {
    type Output = Result<Accepted, PublishError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(outcome) = &mut self.outcome else { return Poll::Pending };
        let outcome = std::task::ready!(outcome.as_mut().poll(cx));
        self.outcome = None;
        Poll::Ready(outcome)
    }
}

impl Drop for Carried {
    fn drop(&mut self) {
        if let Some(outcome) = self.outcome.take() {
            self.runtime.spawn(outcome);
        }
    }
}
