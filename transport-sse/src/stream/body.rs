//! The response's body.

use std::{
    convert::Infallible,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use fanfare_http::Takeover;
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;

use super::{Stream, direct::Direct, piece::Piece, pulled::Pulled};
use crate::{chunk, cursor::Ids};

/// How much is taken out of the outbox at once, in bytes, more or less: what is taken is beyond the reach of every overflow
/// policy.
const PULL: usize = 64 * 1024;

/// The body of an event stream, or of the answer to a request that was refused.
///
/// Dropping it ends the stream: HTTP servers do so when the client has gone.
pub struct EventBody(Kind);

enum Kind {
    Stream(Reader),
    Whole(Full<Bytes>),
    /// Ends without having said a length, as the answer to `HEAD` does.
    Nothing,
}

/// Who takes a stream's events out of its outbox.
pub(super) struct Reader {
    stream: Arc<Stream>,
    /// What comes before all events.
    first: Bytes,
    path: Path,
    /// Where `id:` is not a part of the shared events.
    ids: Option<Box<Ids>>,
    over: bool,
}

/// By which way events reach the client.
enum Path {
    /// By HTTP, as they are.
    Http,
    /// Past HTTP, if the server grants it: events that all readers share are chunks.
    Offered(Takeover),
    /// By HTTP, because it did not.
    Declined,
    /// Past HTTP: the rest is not this body's.
    Taken,
}

impl EventBody {
    /// A body whose shared events are chunks if it was offered to take the connection over.
    pub(crate) fn stream(
        stream: Arc<Stream>,
        first: Bytes,
        ids: Option<Box<Ids>>,
        offer: Option<Takeover>,
    ) -> Self {
        let path = offer.map_or(Path::Http, Path::Offered);
        Self(Kind::Stream(Reader { stream, first, path, ids, over: false }))
    }

    pub(crate) fn whole(body: Full<Bytes>) -> Self {
        Self(Kind::Whole(body))
    }

    pub(crate) fn nothing() -> Self {
        Self(Kind::Nothing)
    }
}

impl Reader {
    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    /// Takes the connection: fan-out writes what all readers share, and a task what is each reader's own.
    fn take_over(&mut self, offer: &Takeover) {
        let (stream, first) = (self.stream.clone(), std::mem::take(&mut self.first));
        match self.ids.take() {
            None => {
                let direct = Direct::new(stream);
                offer.take(move |socket| direct.spawn(&first, socket));
            }
            ids => {
                let pulled = Self { stream, first, path: Path::Http, ids, over: false };
                offer.take(|socket| Pulled::spawn(pulled, socket));
            }
        }
    }

    /// Takes what waits, all in one piece.
    pub(super) fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if self.over {
            return Poll::Ready(None);
        }
        if let Path::Offered(offer) = &self.path {
            let offer = offer.clone();
            self.path = Path::Declined;
            if offer.is_granted() {
                self.path = Path::Taken;
                self.take_over(&offer);
            }
        }
        if let Path::Taken = self.path {
            return Poll::Pending;
        }
        let is_chunked = matches!(self.path, Path::Declined);
        let mut piece = Piece::default();
        if !self.first.is_empty() {
            piece.push(&std::mem::take(&mut self.first));
        }
        let pulled = match &mut self.ids {
            None if is_chunked => self
                .stream
                .outbox
                .poll_pull_frames(cx, PULL, |frame| piece.push(&chunk::content(frame.bytes))),
            None => self.stream.outbox.poll_pull_frames(cx, PULL, |frame| piece.push(frame.bytes)),
            Some(ids) => {
                let max = PULL / ids.weight();
                self.stream.outbox.poll_pull_frames(cx, max, |frame| piece.push_with_id(frame, ids))
            }
        };
        if let Poll::Ready(Some(reason)) = pulled {
            self.over = true;
            self.stream.end(reason);
        }
        if !piece.is_empty() {
            self.stream.has_written();
            return Poll::Ready(Some(piece.into_bytes()));
        }
        if self.over { Poll::Ready(None) } else { Poll::Pending }
    }
}

impl Body for EventBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut self.get_mut().0 {
            Kind::Stream(reader) => {
                reader.poll_piece(cx).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
            }
            Kind::Whole(body) => Pin::new(body).poll_frame(cx),
            Kind::Nothing => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Stream(reader) => reader.over,
            Kind::Whole(body) => body.is_end_stream(),
            Kind::Nothing => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Whole(body) => body.size_hint(),
            Kind::Stream(_) | Kind::Nothing => SizeHint::default(),
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if !matches!(self.path, Path::Taken) {
            self.stream.leave();
        }
    }
}

impl fmt::Debug for EventBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventBody").finish_non_exhaustive()
    }
}
