//! How much one connection may ask for, and how fast.
//!
//! Every connection has these as long as it lives, so each budget is one number; what it allows is in the limits, which all share.

use std::{
    num::NonZeroU32,
    sync::LazyLock,
    time::{Duration, Instant},
};

use super::{CommandError, ErrorCode};
use crate::Limits;

/// The budgets of one connection.
#[derive(Default)]
pub(super) struct Budgets {
    commands: Budget,
    subscribes: Budget,
    histories: Budget,
    /// Commands that were refused, less those that were not.
    refused: u32,
}

/// So many a second, and so many at once: the virtual scheduling algorithm (ITU-T I.371, the generic cell rate algorithm).
#[derive(Default)]
struct Budget {
    /// When it is full again, in nanoseconds since [`START`].
    full_at: u64,
}

/// What a budget allows.
struct Quota {
    per_second: NonZeroU32,
    burst: NonZeroU32,
}

/// Where the time of budgets begins.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

impl Budgets {
    pub(super) fn take_command(&mut self, limits: &Limits) -> Result<(), CommandError> {
        let quota = Quota { per_second: limits.commands_per_second, burst: limits.commands_burst };
        let taken = take(&mut self.commands, &quota, "commands");
        // One that gets through now and then forgives one refusal: what the budget lets pass is no sign of moderation.
        self.refused =
            if taken.is_ok() { self.refused.saturating_sub(1) } else { self.refused.saturating_add(1) };
        taken
    }

    /// A client that goes on although it was told.
    pub(super) fn is_flood(&self, limits: &Limits) -> bool {
        self.refused > limits.commands_burst.get()
    }

    pub(super) fn take_subscribe(&mut self, limits: &Limits) -> Result<(), CommandError> {
        let per_second = limits.subscribes_per_second;
        let burst = per_second.saturating_add(limits.subscriptions_per_connection as u32);
        take(&mut self.subscribes, &Quota { per_second, burst }, "`subscribe` commands")
    }

    pub(super) fn take_history(&mut self, limits: &Limits) -> Result<(), CommandError> {
        let per_second = limits.histories_per_second;
        take(&mut self.histories, &Quota { per_second, burst: per_second }, "`history` commands")
    }
}

fn take(budget: &mut Budget, quota: &Quota, what: &'static str) -> Result<(), CommandError> {
    let now = u64::try_from(START.elapsed().as_nanos()).unwrap_or(u64::MAX);
    budget.take(quota, now).map_err(|wait| {
        let burst = u64::from(quota.burst.get());
        CommandError::new(ErrorCode::RateLimited, format!("too many {what} in too short a time"))
            .limit(burst, burst + 1)
            .retry_after(wait)
    })
}

impl Budget {
    /// Takes one at a time, in nanoseconds, or says how long until there is one.
    fn take(&mut self, quota: &Quota, now: u64) -> Result<(), Duration> {
        let one = 1_000_000_000 / u64::from(quota.per_second.get());
        let full_at = self.full_at.max(now).saturating_add(one);
        let latest = now.saturating_add(one * u64::from(quota.burst.get()));
        if full_at > latest {
            return Err(Duration::from_nanos(full_at - latest));
        }
        self.full_at = full_at;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: u64 = 1_000_000;

    fn quota(per_second: u32, burst: u32) -> Quota {
        let nonzero = |number| NonZeroU32::new(number).unwrap();
        Quota { per_second: nonzero(per_second), burst: nonzero(burst) }
    }

    /// How many it gives at once.
    fn all_at(budget: &mut Budget, quota: &Quota, now: u64) -> usize {
        std::iter::from_fn(|| budget.take(quota, now).ok()).count()
    }

    #[test]
    fn so_many_at_once_and_then_so_many_a_second() {
        let (mut budget, quota) = (Budget::default(), quota(100, 5));
        for start in [0, 3_600_000 * MILLISECOND] {
            assert_eq!(all_at(&mut budget, &quota, start), 5);
            assert_eq!(budget.take(&quota, start + 4 * MILLISECOND), Err(Duration::from_millis(6)));
            assert_eq!(all_at(&mut budget, &quota, start + 10 * MILLISECOND), 1);
            assert_eq!(all_at(&mut budget, &quota, start + 30 * MILLISECOND), 2);
            assert_eq!(all_at(&mut budget, &quota, start + 3_600 * MILLISECOND), 5, "no more than it holds");
        }
    }

    #[test]
    fn what_is_refused_costs_nothing() {
        let (mut budget, quota) = (Budget::default(), quota(1, 1));
        assert_eq!(all_at(&mut budget, &quota, 0), 1);
        for now in 1..1000 {
            assert!(budget.take(&quota, now * MILLISECOND).is_err());
        }
        assert!(budget.take(&quota, 1000 * MILLISECOND).is_ok());
    }

    #[test]
    fn the_largest_quota_is_none() {
        let (mut budget, quota) = (Budget::default(), quota(u32::MAX, u32::MAX));
        assert!((0..1_000_000).all(|_| budget.take(&quota, 0).is_ok()));
        let slow = self::quota(1, u32::MAX);
        assert!(budget.take(&slow, u64::MAX - 1).is_ok(), "at the end of time");
    }
}
