//! What a yes may say beyond yes.

use std::time::Duration;

use crate::message::Payload;

/// A policy's yes to an [`Action`](super::Action): for how long, and what comes with it. What does not concern the action is passed over: a
/// subscription has an end, a publish has none.
///
/// ```
/// use std::time::Duration;
///
/// use fanfare_core::policy::{Grant, Verdict};
///
/// let for_an_hour = Verdict::grant(Grant::new().expires_in(Duration::from_secs(3600)));
/// let unseen = Verdict::grant(Grant::new().hidden());
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Grant {
    /// When a subscription's grant ends, from now; `None` is never. The policy is asked again then, and a no ends the subscription.
    pub expires: Option<Duration>,
    /// What the presence list of the topic says of the client beside its names.
    pub presence: Option<Payload>,
    /// The client does not stand in the presence list of the topic.
    pub hidden: bool,
}

impl Grant {
    /// Yes, without an end.
    #[must_use]
    pub const fn new() -> Self {
        Self { expires: None, presence: None, hidden: false }
    }

    /// What two policies grant together: the shorter time, and what the first says beside.
    pub(crate) fn and(self, other: Self) -> Self {
        let expires = match (self.expires, other.expires) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        Self { expires, presence: self.presence.or(other.presence), hidden: self.hidden || other.hidden }
    }

    /// The same, ending after a time.
    #[must_use]
    pub const fn expires_in(mut self, after: Duration) -> Self {
        self.expires = Some(after);
        self
    }

    /// The same, with what the presence list of the topic says of the client.
    #[must_use]
    pub fn presence(mut self, meta: impl Into<Payload>) -> Self {
        self.presence = Some(meta.into());
        self
    }

    /// The same, for a client that the presence list of the topic does not show.
    #[must_use]
    pub const fn hidden(mut self) -> Self {
        self.hidden = true;
        self
    }
}
