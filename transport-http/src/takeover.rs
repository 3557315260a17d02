//! Taking a connection over from HTTP while a response is under way.

use std::{
    fmt,
    mem::replace,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use http::{HeaderMap, HeaderValue, Response, StatusCode, Version, header};
use parking_lot::Mutex;
use tokio::task;

use crate::Socket;

/// The offer to write the body of a response straight to the connection's socket, with HTTP out of the way.
///
/// [`Server`](crate::Server) makes it with each `GET` of HTTP/1.1, in the request's extensions: a body that lasts as long as
/// the client stays, as a stream of events does, is spared the buffers that HTTP needs between requests, and can be written by
/// whoever has something to write. A transport that accepts
///
/// 1. [marks](Self::mark) its response;
/// 2. gives it a body that, when it is polled first, asks whether the offer is [granted](Self::is_granted), and if it is
///    [takes the connection](Self::take) and is pending ever after. If it is not, the body goes on as any other does;
/// 3. is given the socket when the head is written, `Transfer-Encoding: chunked` and `Connection: close` in it, so that it writes
///    chunks (RFC 9112, section 7.1), and closes the connection behind the last one.
///
/// It is not granted where something between the transport and the server has given the response another meaning: another status or
/// version of HTTP, another type, a length, a content coding, or new extensions; nor where the body is read by another task than the
/// server's of this connection, which hands on what it read. What wraps the body otherwise is polled once and then dropped.
#[derive(Clone)]
pub struct Takeover {
    desk: Arc<Desk>,
    request: u64,
    /// The server's task of this connection, which alone knows when the head is written.
    task: Option<task::Id>,
}

/// What a response was when it was marked.
#[derive(Clone)]
struct Mark {
    takeover: Takeover,
    content_type: Option<HeaderValue>,
}

/// What is done with a socket that was taken.
type Then = Box<dyn FnOnce(Socket) + Send>;

/// Where the server, its socket and the body of a connection meet.
#[derive(Default)]
pub(crate) struct Desk {
    state: Mutex<State>,
    /// The body has asked: with the next flush of the socket the head is written.
    asked: AtomicBool,
    /// Since then the socket was flushed, and not written any more.
    flushed: AtomicBool,
}

#[derive(Default)]
struct State {
    /// Which request of the connection is being answered.
    request: u64,
    granted: bool,
    then: Option<Then>,
}

impl Takeover {
    /// Says that this response is one whose body takes the connection if it may.
    pub fn mark<B>(&self, response: &mut Response<B>) {
        let mark = Mark { takeover: self.clone(), content_type: content_type(response.headers()) };
        response.extensions_mut().insert(mark);
    }

    /// Whether the body may take the connection. To be asked when the body is polled first, not before.
    #[must_use]
    pub fn is_granted(&self) -> bool {
        let state = self.desk.state.lock();
        state.request == self.request && state.granted && self.task == task::try_id()
    }

    /// Takes the connection: `then` is given the socket, from within the server's task of this connection, when the head
    /// is written. It is dropped instead if the connection breaks before. Does nothing unless it is granted.
    pub fn take(&self, then: impl FnOnce(Socket) + Send + 'static) {
        let mut state = self.desk.state.lock();
        let is_ours = state.request == self.request && self.task == task::try_id();
        if is_ours && replace(&mut state.granted, false) {
            state.then = Some(Box::new(then));
            self.desk.asked.store(true, Ordering::Release);
        }
    }
}

impl fmt::Debug for Takeover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Takeover").field("request", &self.request).finish_non_exhaustive()
    }
}

impl Desk {
    /// An offer for the next request, made in the connection's task. Those before it are void.
    pub(crate) fn offer(self: &Arc<Self>) -> Takeover {
        let mut state = self.state.lock();
        state.request += 1;
        state.granted = false;
        Takeover { desk: self.clone(), request: state.request, task: task::try_id() }
    }

    /// Grants the offer that the response is marked with, if the response is still what it was meant to be.
    pub(crate) fn consider<B>(&self, response: &mut Response<B>) {
        let Some(Mark { takeover, content_type: marked }) = response.extensions_mut().remove::<Mark>() else {
            return;
        };
        let headers = response.headers();
        let changed = [
            header::CONTENT_ENCODING,
            header::CONTENT_LENGTH,
            header::CONTENT_RANGE,
            header::TRAILER,
            header::TRANSFER_ENCODING,
            header::UPGRADE,
        ];
        let is_another = response.status() != StatusCode::OK
            || response.version() != Version::HTTP_11
            || content_type(headers) != marked
            || changed.iter().any(|name| headers.contains_key(name));
        if is_another {
            return;
        }
        let mut state = self.state.lock();
        if std::ptr::eq(self, &*takeover.desk) && state.request == takeover.request {
            state.granted = true;
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
    }

    /// The socket was flushed: HTTP has nothing left to write.
    pub(crate) fn note_flush(&self) {
        if self.asked.load(Ordering::Acquire) {
            self.flushed.store(true, Ordering::Release);
        }
    }

    /// HTTP has something to write still: what wraps the body had more to say.
    pub(crate) fn note_write(&self) {
        if self.asked.load(Ordering::Acquire) {
            self.flushed.store(false, Ordering::Release);
        }
    }

    /// Who takes the socket, once the head is written.
    pub(crate) fn taker(&self) -> Option<Then> {
        if self.flushed.load(Ordering::Acquire) { self.state.lock().then.take() } else { None }
    }
}

fn content_type(headers: &HeaderMap) -> Option<HeaderValue> {
    headers.get(header::CONTENT_TYPE).cloned()
}

#[cfg(test)]
mod tests;
