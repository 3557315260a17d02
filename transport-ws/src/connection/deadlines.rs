//! All that a connection may be too late for, on one timer.

use std::{task::Context, time::Duration};

use fanfare_core::session::{CloseKind, CloseReason, Session};
use fanfare_http::wheel::{Tick, Timer};

use super::End;
use crate::{
    Config,
    heartbeat::{Beat, Heartbeat},
    mount::Mount,
};

/// The longest time without a look at the clock.
const LOOK_EVERY: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct Deadlines {
    timer: Timer,
    heartbeat: Heartbeat,
    began: Tick,
    /// When the last message came.
    message: Tick,
    /// When the session ends unless something happens before.
    session: Option<(Tick, CloseKind)>,
    /// The timer has to be set anew.
    stale: bool,
    /// The timer was never set.
    is_new: bool,
}

/// What the clock says.
#[derive(Debug)]
pub(super) enum Due {
    /// The timer is set for the next look.
    Nothing,
    /// Send a ping, write it, and look again.
    Ping,
    /// Too late.
    End(End),
}

impl Deadlines {
    pub(super) fn new(timer: Timer) -> Self {
        let now = timer.now();
        let heartbeat = Heartbeat::new(now);
        Self { timer, heartbeat, began: now, message: now, session: None, stale: true, is_new: true }
    }

    /// Whether it is time to look at the clock, or nobody has yet. Takes no lock.
    pub(super) fn are_due(&self) -> bool {
        self.is_new || self.timer.is_due()
    }

    /// Takes over the session's own deadline, which commands move.
    pub(super) fn observe(&mut self, session: &Session, config: &Config) {
        let deadline = session.deadline().map(|(at, kind)| {
            let tick = self.timer.tick_at(at);
            let tick = match kind {
                CloseKind::ConnectTimeout => tick.min(self.began.after(config.connect_timeout)),
                _ => tick,
            };
            (tick, kind)
        });
        self.stale |= deadline != self.session;
        self.session = deadline;
    }

    /// Bytes came, a message among them or not.
    pub(super) fn heard(&mut self, message: bool) {
        let now = self.timer.coarse_now();
        // With pings more often than a pong may take, the next ping comes before the deadline of this pong would have.
        self.stale |= self.heartbeat.heard(now);
        if message {
            self.message = now;
        }
    }

    /// Little or nothing is read from here on.
    pub(super) fn pause(&mut self) {
        self.heartbeat.pause(self.timer.coarse_now());
    }

    /// Reading goes on.
    pub(super) fn resume(&mut self) {
        let now = self.timer.coarse_now();
        if let Some(start) = self.heartbeat.resume(now) {
            // What came meanwhile counts until now.
            self.message = self.message.put_off(start.max(self.message), now);
        }
        self.stale = true;
    }

    /// Looks at the clock if it is time, and sets the timer. `stalled` is how long the stream has taken nothing; when it is
    /// `None`, all that was enqueued has been written.
    pub(super) fn check(&mut self, stalled: Option<Duration>, mount: &Mount, cx: &Context<'_>) -> Due {
        if stalled.is_none() {
            self.heartbeat.written(self.timer.coarse_now());
        }
        if !self.stale && stalled.is_none() && !self.timer.is_due() {
            return Due::Nothing;
        }
        let config = &mount.config;
        let now = self.timer.now();
        let mut due = now.after(LOOK_EVERY);
        if let Some(stalled) = stalled {
            match config.write_timeout.checked_sub(stalled) {
                Some(left) if !left.is_zero() => due = due.min(now.after(left)),
                _ => return Due::End(End::Cut),
            }
        }
        if let Some((at, kind)) = self.session {
            if now >= at {
                return Due::End(End::Because(kind.into()));
            }
            due = due.min(at);
        }
        if let Some(timeout) = config.idle_timeout {
            let at = self.message.after(timeout);
            if now >= at {
                let reason = CloseReason::with_message(CloseKind::Normal, "nothing was asked for too long");
                return Due::End(End::Because(reason));
            }
            due = due.min(at);
        }
        match self.heartbeat.beat(now, mount.ping_interval, config.pong_timeout) {
            Beat::Wait(at) => due = due.min(at),
            Beat::Idle => {}
            Beat::Ping => {
                self.stale = true;
                return Due::Ping;
            }
            Beat::Dead => return Due::End(End::Because(CloseKind::PongTimeout.into())),
        }
        (self.stale, self.is_new) = (false, false);
        self.timer.arm(due, cx);
        Due::Nothing
    }
}
