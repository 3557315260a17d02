//! What the stream holds of each topic.

use std::time::Duration;

use fanfare_core::backend::Retention;

/// What a stream holds of each topic, at the least: messages, time.
const LEAST_MESSAGES: u64 = 64;
const LEAST_AGE: Duration = Duration::from_secs(600);

/// A stream that would hold messages for longer than this holds them for ever.
pub(super) const FOREVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// What a stream holds of each topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) messages: u64,
    pub(crate) age: Duration,
    /// How long ids are remembered.
    pub(crate) window: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { messages: LEAST_MESSAGES, age: LEAST_AGE, window: Duration::from_millis(100) }
    }
}

impl Limits {
    pub(super) fn of(retention: &Retention) -> Self {
        let window = retention.history.idempotency_window.clamp(Duration::from_millis(100), FOREVER);
        // Longer than a message is retained: what is there no more is known to have been there.
        let age = retention.history.ttl.saturating_mul(3).max(window).max(LEAST_AGE);
        Self { messages: held(retention.history.messages as u64), age, window }
    }

    pub(super) fn with(self, other: Self) -> Self {
        Self {
            messages: self.messages.max(other.messages),
            age: self.age.max(other.age),
            window: self.window.max(other.window),
        }
    }

    pub(super) fn hold(self, other: Self) -> bool {
        self.with(other) == self
    }
}

/// How many messages of a topic are held that retains so many: at least two more, by which it is known where its log begins.
pub(super) fn held(messages: u64) -> u64 {
    messages.clamp(LEAST_MESSAGES - 2, (1 << 40) - 2).saturating_add(2).next_power_of_two()
}
