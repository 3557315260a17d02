//! The end of a connection: the last words, the hooks, and the closing handshake (RFC 6455, sections 5.5.1 and 7.1).

use std::{future::poll_fn, task::Poll, time::Duration};

use fanfare_core::session::{CloseKind, CloseReason, Session};
use tokio::time::timeout;

use super::{End, Side, link::Link};
use crate::read::with_buffer;

/// How long the client may take to answer a Close frame.
const LINGER: Duration = Duration::from_secs(2);

/// Says what is to be said, ends the session, and closes the stream, in a bounded time and whatever the client does.
pub(super) async fn end<L: Link>(session: Session, side: &mut Side<L>, end: End) {
    // Whoever ended it first has the say.
    let (reason, linger) = match end {
        End::Over(reason) => {
            let said = reason.kind != CloseKind::Lost;
            (reason, said)
        }
        End::Because(reason) => {
            side.outbox.close(reason);
            let said = flushed(side).await;
            (said.clone(), said.kind != CloseKind::Lost)
        }
        End::Client(answer, kind) => {
            side.outbox.push_control(answer);
            // Whatever else is queued is given up, and there is no other word to say.
            side.outbox.close(CloseKind::Lost.into());
            let reason = flushed(side).await;
            let reason = if reason.kind == CloseKind::Lost { kind.into() } else { reason };
            (reason, false)
        }
        End::Lost => {
            side.outbox.close(CloseKind::Lost.into());
            (CloseKind::Lost.into(), false)
        }
        End::Cut => {
            let reason = CloseReason::new(CloseKind::SlowConsumer);
            side.outbox.close(reason.clone());
            (reason, false)
        }
    };
    tracing::debug!(target: "fanfare::ws", code = reason.code(), name = reason.name(), "connection ended");
    let closing = session.close(reason);
    let leaving = async {
        if linger {
            // A client that still sends would be reset by a closed socket, and lose the last words.
            let _ = timeout(LINGER, goodbye(side)).await;
        }
        let _ = timeout(LINGER, poll_fn(|cx| side.link.poll_end(cx))).await;
    };
    both(closing, leaving).await;
}

/// Waits until the last frame has gone out, or cannot.
async fn flushed<L: Link>(side: &mut Side<L>) -> CloseReason {
    let Side { link, outbox, mount, .. } = side;
    let limit = mount.config.write_timeout;
    let flush = poll_fn(|cx| link.poll_flush(outbox, cx));
    timeout(limit, flush).await.unwrap_or_else(|_| CloseKind::Lost.into())
}

/// Reads until the client's Close frame, or the end.
async fn goodbye<L: Link>(side: &mut Side<L>) {
    if side.parser.has_ended() {
        // After a broken frame its Close frame cannot be told apart: the end of the stream stands for it.
        poll_fn(|cx| side.link.poll_end(cx)).await;
    }
    let mut closed = false;
    while !closed {
        closed = poll_fn(|cx| {
            with_buffer(|buffer| {
                let Poll::Ready(read) = side.link.poll_read(cx, buffer) else { return Poll::Pending };
                let Ok(count @ 1..) = read else { return Poll::Ready(true) };
                let mut input = &mut buffer[..count];
                loop {
                    match side.parser.next(&mut input) {
                        Ok(Some(crate::frame::Event::Close(_))) => return Poll::Ready(true),
                        Ok(Some(_)) => {}
                        Ok(None) | Err(_) => return Poll::Ready(false),
                    }
                }
            })
        })
        .await;
    }
}

/// Runs both to their ends.
async fn both(first: impl Future<Output = ()>, second: impl Future<Output = ()>) {
    let (mut first, mut second) = (Box::pin(first), Box::pin(second));
    let (mut first_done, mut second_done) = (false, false);
    poll_fn(|cx| {
        first_done = first_done || first.as_mut().poll(cx).is_ready();
        second_done = second_done || second.as_mut().poll(cx).is_ready();
        if first_done && second_done { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}
