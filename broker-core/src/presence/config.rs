//! How presence behaves on the topics of a pattern.

use std::{fmt, time::Duration};

use crate::limits::FOREVER;

/// How presence behaves on the topics of a pattern: see [`TopicConfig::presence`](crate::topic::TopicConfig::presence).
///
/// ```
/// use std::time::Duration;
/// use fanfare_core::{presence::PresenceConfig, topic::TopicConfig};
///
/// let rooms = TopicConfig::new().presence(PresenceConfig::new().grace(Duration::from_secs(10)));
/// assert!(rooms.presence_config().is_some());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PresenceConfig {
    grace: Duration,
    shown: usize,
    listed: usize,
}

impl PresenceConfig {
    /// A grace of 5 s, snapshots of at most 100 members, lists that are kept current up to 1,000 members.
    #[must_use]
    pub fn new() -> Self {
        Self { grace: Duration::from_secs(5), shown: 100, listed: 1000 }
    }

    /// How long a member stays one whose connection was lost: 5 s unless set. Who is back within it, in the same session,
    /// has never left. It holds for connections that end without the server's doing, a page's reload among them; who
    /// unsubscribes or is disconnected by the server leaves at once.
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace.min(FOREVER);
        self
    }

    /// How many members a snapshot lists: 100 unless set, at least 1, at most 1,000. The `presence` command pages through the others.
    #[must_use]
    pub fn snapshot_members(mut self, members: usize) -> Self {
        self.shown = members.clamp(1, 1000);
        self
    }

    /// Up to how many members each join and leave is told: 1,000 unless set. What is told grows with the square of a
    /// room's size, so beyond this watchers hear how many there are, at most once a second, and page through the list
    /// when somebody wants to see it. When there are three quarters of this many again, they get a fresh snapshot.
    #[must_use]
    pub fn listed_members(mut self, members: usize) -> Self {
        self.listed = members;
        self
    }

    pub(crate) fn grace_period(&self) -> Duration {
        self.grace
    }

    pub(crate) fn shown(&self) -> usize {
        self.shown
    }

    pub(crate) fn listed(&self) -> usize {
        self.listed
    }
}

impl Default for PresenceConfig {
    fn default() -> Self {
        Self::new()
    }
}

/// What is set, in short, the same wherever it is set the same.
impl fmt::Display for PresenceConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "grace {} ms, listed {}, shown {}", self.grace.as_millis(), self.listed, self.shown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_is_the_nearest_that_can() {
        let config = |shown| PresenceConfig::new().snapshot_members(shown);
        assert_eq!([0, 1, 1000, usize::MAX].map(|shown| config(shown).shown()), [1, 1, 1000, 1000]);
        assert_eq!(PresenceConfig::new().grace(Duration::MAX).grace_period(), FOREVER);
    }
}
