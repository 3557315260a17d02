//! Whether a client is still there (RFC 6455, section 5.5.2).
//!
//! Any byte counts as a pong: a client that is busy sending is alive. The clock of an unanswered ping starts when the
//! ping was written to the socket, not when it was queued behind messages, and it stands still while the connection is
//! not read on purpose: the pong may be waiting in the kernel.

use std::time::Duration;

use fanfare_http::wheel::Tick;

/// One connection's heartbeat.
#[derive(Debug)]
pub(crate) struct Heartbeat {
    /// When the last byte came.
    heard: Tick,
    ping: Ping,
    /// Since when the connection is not read on purpose.
    paused: Option<Tick>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ping {
    /// None since the last byte.
    None,
    Queued,
    Written(Tick),
}

/// What is to be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Beat {
    /// Nothing until then.
    Wait(Tick),
    /// Nothing until something else happens: reading goes on, or the ping is written.
    Idle,
    /// Queue a ping. Said once per ping.
    Ping,
    /// The pong did not come in time.
    Dead,
}

impl Heartbeat {
    pub(crate) fn new(now: Tick) -> Self {
        Self { heard: now, ping: Ping::None, paused: None }
    }

    /// A byte came. True if it was waited for: what is due next may be earlier than what was.
    pub(crate) fn heard(&mut self, now: Tick) -> bool {
        self.heard = now;
        std::mem::replace(&mut self.ping, Ping::None) != Ping::None
    }

    /// What was queued before has been written, a ping among it or not.
    pub(crate) fn written(&mut self, now: Tick) {
        if self.ping == Ping::Queued {
            self.ping = Ping::Written(now);
        }
    }

    /// The connection is not read from here on, or only as far as there is room.
    pub(crate) fn pause(&mut self, now: Tick) {
        self.paused.get_or_insert(now);
    }

    /// The connection is read again. The time since [`pause`](Self::pause), when it was paused at all, counts for
    /// nothing; gives when that was.
    pub(crate) fn resume(&mut self, now: Tick) -> Option<Tick> {
        let start = self.paused.take()?;
        // A byte that came all the same is not put off for the time before it.
        self.heard = self.heard.put_off(start.max(self.heard), now);
        if let Ping::Written(at) = self.ping {
            // A ping that was written while nothing was read starts its clock now.
            self.ping = Ping::Written(at.put_off(start.max(at), now));
        }
        Some(start)
    }

    /// What is due. Ask only after all that had come was read.
    pub(crate) fn beat(&mut self, now: Tick, interval: Duration, timeout: Duration) -> Beat {
        if self.paused.is_some() {
            return Beat::Idle;
        }
        let (due, then) = match self.ping {
            Ping::Queued => return Beat::Idle,
            Ping::None => (self.heard.after(interval), Beat::Ping),
            Ping::Written(at) => (at.after(timeout), Beat::Dead),
        };
        if now < due {
            return Beat::Wait(due);
        }
        if then == Beat::Ping {
            self.ping = Ping::Queued;
        }
        then
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(25);
    const TIMEOUT: Duration = Duration::from_secs(10);

    fn at(seconds: u64) -> Tick {
        Tick::from_millis(seconds * 1000)
    }

    fn beat(heartbeat: &mut Heartbeat, seconds: u64) -> Beat {
        heartbeat.beat(at(seconds), INTERVAL, TIMEOUT)
    }

    /// One that has been silent for 26 seconds and was sent a ping then.
    fn pinged() -> Heartbeat {
        let mut heartbeat = Heartbeat::new(at(0));
        assert_eq!(beat(&mut heartbeat, 26), Beat::Ping);
        heartbeat.written(at(26));
        heartbeat
    }

    #[test]
    fn a_silent_client_is_pinged_and_then_dead() {
        let mut heartbeat = Heartbeat::new(at(0));
        let Beat::Wait(due) = beat(&mut heartbeat, 0) else { panic!("not waiting") };
        assert!(due > at(25) && due < at(26));
        assert_eq!(beat(&mut heartbeat, 26), Beat::Ping);
        // The clock has not started: the ping may be behind a message that is not being read.
        assert_eq!(beat(&mut heartbeat, 99), Beat::Idle);
        heartbeat.written(at(100));
        assert!(matches!(beat(&mut heartbeat, 109), Beat::Wait(due) if due > at(110)));
        assert_eq!(beat(&mut heartbeat, 111), Beat::Dead);
    }

    #[test]
    fn any_byte_counts_as_pong() {
        let mut heartbeat = pinged();
        heartbeat.heard(at(35));
        assert!(matches!(beat(&mut heartbeat, 37), Beat::Wait(due) if due > at(60)));
        assert_eq!(beat(&mut heartbeat, 61), Beat::Ping);
    }

    #[test]
    fn a_byte_that_comes_before_the_ping_is_written_counts() {
        let mut heartbeat = Heartbeat::new(at(0));
        assert_eq!(beat(&mut heartbeat, 26), Beat::Ping);
        heartbeat.heard(at(27));
        heartbeat.written(at(28));
        assert!(matches!(beat(&mut heartbeat, 40), Beat::Wait(due) if due > at(52)));
    }

    #[test]
    fn the_clock_stands_still_while_nothing_is_read() {
        let mut heartbeat = pinged();
        heartbeat.pause(at(30));
        assert_eq!(beat(&mut heartbeat, 1000), Beat::Idle);
        heartbeat.resume(at(1000));
        // Four of the ten seconds had passed.
        assert!(matches!(beat(&mut heartbeat, 1005), Beat::Wait(_)));
        assert_eq!(beat(&mut heartbeat, 1007), Beat::Dead);
    }

    #[test]
    fn a_byte_that_comes_meanwhile_counts_from_the_end_of_the_pause() {
        let mut heartbeat = pinged();
        heartbeat.pause(at(30));
        heartbeat.heard(at(90));
        heartbeat.resume(at(100));
        assert!(matches!(beat(&mut heartbeat, 101), Beat::Wait(due) if due > at(124) && due < at(127)));
    }

    #[test]
    fn a_ping_that_is_written_meanwhile_starts_its_clock_on_resumption() {
        let mut heartbeat = Heartbeat::new(at(0));
        assert_eq!(beat(&mut heartbeat, 26), Beat::Ping);
        heartbeat.pause(at(27));
        heartbeat.written(at(500));
        heartbeat.resume(at(1000));
        assert!(matches!(beat(&mut heartbeat, 1009), Beat::Wait(_)));
        assert_eq!(beat(&mut heartbeat, 1011), Beat::Dead);
    }
}
