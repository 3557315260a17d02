//! One reader's stream: a session without commands, whose outbox the response's body pulls.
//!
//! The body is polled by the HTTP server, and not at all while its connection takes nothing. So what has to happen all the
//! same, ending a stream that is stalled, a heartbeat, the end of an admission, is done by the stream's own [`Timer`], which
//! wakes no task: its waker is the stream.

mod body;
mod direct;
mod piece;
mod pulled;
mod unasked;

use std::{
    sync::{Arc, OnceLock},
    task::{Context, Wake, Waker},
};

pub use body::EventBody;
use fanfare_core::{
    outbox::Outbox,
    session::{CloseKind, CloseReason, Session},
};
use fanfare_http::{
    TcpWire,
    wheel::{AtomicTick, Timer},
};
use parking_lot::Mutex;
use tokio::{runtime::Handle, time::Instant};

use crate::mount::Mount;

/// What a stream and its timer share.
pub(crate) struct Stream {
    mount: Arc<Mount>,
    outbox: Outbox,
    /// The tick at which the body was given something last.
    written: AtomicTick,
    /// The socket, where the stream has one of its own.
    wire: OnceLock<Arc<TcpWire>>,
    /// `None` once it has ended.
    held: Mutex<Option<Held>>,
}

struct Held {
    session: Session,
    timer: Timer,
}

impl Stream {
    /// A stream that has begun. Needs a runtime.
    pub(crate) fn new(mount: Arc<Mount>, session: Session, outbox: Outbox) -> Arc<Self> {
        let timer = mount.wheel.timer();
        let written = AtomicTick::new(timer.now());
        let held = Mutex::new(Some(Held { session, timer }));
        let stream = Arc::new(Self { mount, outbox, written, wire: OnceLock::new(), held });
        stream.look();
        stream
    }

    /// Looks at the clock, and has itself woken for the next look.
    fn look(self: &Arc<Self>) {
        if let Some(due) = self.due() {
            match due {
                Due::Over(reason) => self.end(reason),
                Due::Cut(reason) => self.cut(reason),
                Due::Tell(reason) => self.outbox.close(reason),
                Due::Beat => drop(self.outbox.ping()),
            }
        }
    }

    fn due(self: &Arc<Self>) -> Option<Due> {
        let mut held = self.held.lock();
        let Held { session, timer } = held.as_mut()?;
        let now = timer.now();
        let timeout = self.mount.config.write_timeout;
        if let Some(reason) = self.outbox.over() {
            // The body was woken for this, and was not polled.
            return Some(Due::Over(reason));
        }
        let mut next = now.after(timeout);
        let stalled = self.outbox.stalled_for();
        if let Some(stalled) = stalled {
            match timeout.checked_sub(stalled) {
                Some(left) if !left.is_zero() => next = next.min(now.after(left)),
                _ => return Some(Due::Cut(CloseKind::SlowConsumer.into())),
            }
        }
        let mut end = None;
        if let Some((at, kind)) = session.deadline() {
            let left = at.saturating_duration_since(Instant::now());
            if left.is_zero() {
                end = Some(Due::Tell(kind.into()));
            } else {
                next = next.min(now.after(left));
            }
        }
        if stalled.is_none() && end.is_none() {
            let mut beat = self.written.load().after(self.mount.ping_interval);
            if now >= beat {
                self.written.store(now);
                end = Some(Due::Beat);
                beat = now.after(self.mount.ping_interval);
            }
            next = next.min(beat);
        }
        timer.arm(next, &Context::from_waker(&Waker::from(self.clone())));
        end
    }

    /// Notes that the body was given something.
    fn has_written(&self) {
        self.written.store(self.mount.wheel.coarse_now());
    }

    /// The client has gone, unless all was said.
    fn leave(&self) {
        let reason = self.outbox.over();
        self.end(reason.unwrap_or(CloseKind::Lost.into()));
    }

    /// Ends the session, if it has not ended: subscriptions, queue and timer go at once, hooks run in a task of their own.
    fn end(&self, reason: CloseReason) {
        let Some(Held { session, timer }) = self.held.lock().take() else { return };
        drop(timer);
        tracing::debug!(target: "fanfare::sse", code = reason.code(), name = reason.name(), "stream ended");
        // What is queued goes now, not when the shard has let go; a reader that is still there is told.
        self.outbox.close(reason.clone());
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(session.close(reason))),
            Err(_) => drop(session),
        }
    }
}

/// What the clock says.
enum Due {
    /// All was said, or nothing can be said any more.
    Over(CloseReason),
    /// Nobody takes anything.
    Cut(CloseReason),
    /// The reader is told.
    Tell(CloseReason),
    /// Not yet, but a sign of life is due.
    Beat,
}

impl Wake for Stream {
    fn wake(self: Arc<Self>) {
        self.look();
    }
}
