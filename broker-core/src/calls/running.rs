//! The calls of one connection that are being served.

use std::{
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::{
    FutureExt,
    future::BoxFuture,
    stream::{FuturesUnordered, Stream},
};

use super::{ClientCall, Method};
use crate::{
    Limits,
    message::Payload,
    publish::Awaited,
    session::{CommandError, ErrorCode, RequestId},
};

/// The calls of one connection that are being served. They run in its own task.
#[derive(Default)]
pub(crate) struct Running {
    calls: FuturesUnordered<Serving>,
    /// One of them keeps the next command waiting.
    is_exclusive: bool,
}

/// A call that has been served.
pub(crate) struct Served {
    pub(crate) id: Option<RequestId>,
    pub(crate) result: Result<Payload, CommandError>,
    /// Draining waits until the answer has gone out.
    pub(crate) awaited: Awaited,
}

struct Serving {
    id: Option<RequestId>,
    method: Arc<Method>,
    result: BoxFuture<'static, Result<Payload, CommandError>>,
    awaited: Awaited,
}

impl Future for Serving {
    type Output = (Served, bool);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let result = std::task::ready!(self.result.as_mut().poll(cx));
        let served = Served { id: self.id, result, awaited: self.awaited.clone() };
        Poll::Ready((served, self.method.at_once().is_none()))
    }
}

impl Running {
    /// Whether the next command may be served.
    pub(crate) fn is_exclusive(&self) -> bool {
        self.is_exclusive
    }

    /// Whether another call of a method may begin beside those that run.
    pub(crate) fn has_room(&self, method: &Arc<Method>, limit: usize) -> bool {
        let same = || self.calls.iter().filter(|serving| Arc::ptr_eq(&serving.method, method)).count();
        self.calls.len() < limit && method.at_once().is_none_or(|at_once| same() < at_once)
    }

    /// Begins to serve a call.
    pub(crate) fn begin(
        &mut self,
        id: Option<RequestId>,
        method: Arc<Method>,
        call: ClientCall,
        limits: &Limits,
        awaited: Awaited,
    ) {
        self.is_exclusive |= method.at_once().is_none();
        let (timeout, max) = (method.timeout().unwrap_or(limits.call_timeout), limits.max_message);
        let handler = method.clone();
        let result = async move {
            // The call of the handler may panic as well as its future.
            let serving = async { handler.serve(call).await };
            match tokio::time::timeout(timeout, AssertUnwindSafe(serving).catch_unwind()).await {
                Ok(Ok(result)) => result.map_err(CommandError::from).and_then(|answer| within(answer, max)),
                Ok(Err(_)) => {
                    tracing::error!(target: "fanfare::hooks", hook = "on_call", "a hook panicked");
                    Err(CommandError::new(ErrorCode::Internal, "the app failed to serve the call"))
                }
                Err(_) => Err(CommandError::new(ErrorCode::Timeout, "the app did not answer in time")),
            }
        };
        self.calls.push(Serving { id, method, result: result.boxed(), awaited });
    }

    /// The next call that has been served; `None` when none is left.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Served>> {
        let next = std::task::ready!(Pin::new(&mut self.calls).poll_next(cx));
        Poll::Ready(next.map(|(served, was_exclusive)| {
            self.is_exclusive &= !was_exclusive;
            served
        }))
    }
}

/// An answer that the client can be expected to take.
fn within(answer: Payload, max: usize) -> Result<Payload, CommandError> {
    if answer.len() <= max {
        return Ok(answer);
    }
    tracing::error!(target: "fanfare::hooks", hook = "on_call", bytes = answer.len(), "an answer is too large");
    let error = CommandError::new(ErrorCode::TooLarge, "the app's answer is over the limit");
    Err(error.field("data").limit(max as u64, answer.len() as u64))
}
