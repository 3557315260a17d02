//! How much one connection may ask for, and how fast.

use governor::{
    DefaultDirectRateLimiter, Quota,
    clock::{Clock, DefaultClock},
};

use super::{CommandError, ErrorCode};
use crate::Limits;

/// The budgets of one connection.
pub(super) struct Budgets {
    commands: DefaultDirectRateLimiter,
    /// Made when first needed: most connections subscribe a few times and then never again.
    others: Option<Box<Others>>,
    subscribe_quota: Quota,
    history_quota: Quota,
    burst: u32,
    /// Commands that were refused, less those that were not.
    refused: u32,
}

struct Others {
    subscribes: DefaultDirectRateLimiter,
    histories: DefaultDirectRateLimiter,
}

impl Budgets {
    pub(super) fn new(limits: &Limits) -> Self {
        let burst = limits.subscribes_per_second.saturating_add(limits.subscriptions_per_connection as u32);
        Self {
            commands: DefaultDirectRateLimiter::direct(
                Quota::per_second(limits.commands_per_second).allow_burst(limits.commands_burst),
            ),
            others: None,
            subscribe_quota: Quota::per_second(limits.subscribes_per_second).allow_burst(burst),
            history_quota: Quota::per_second(limits.histories_per_second),
            burst: limits.commands_burst.get(),
            refused: 0,
        }
    }

    pub(super) fn take_command(&mut self) -> Result<(), CommandError> {
        let taken = take(&self.commands, "commands");
        // One that gets through now and then forgives one refusal: what the budget lets pass is no sign of moderation.
        self.refused =
            if taken.is_ok() { self.refused.saturating_sub(1) } else { self.refused.saturating_add(1) };
        taken
    }

    /// A client that goes on although it was told.
    pub(super) fn is_flood(&self) -> bool {
        self.refused > self.burst
    }

    pub(super) fn take_subscribe(&mut self) -> Result<(), CommandError> {
        take(&self.others().subscribes, "`subscribe` commands")
    }

    pub(super) fn take_history(&mut self) -> Result<(), CommandError> {
        take(&self.others().histories, "`history` commands")
    }

    fn others(&mut self) -> &Others {
        self.others.get_or_insert_with(|| {
            Box::new(Others {
                subscribes: DefaultDirectRateLimiter::direct(self.subscribe_quota),
                histories: DefaultDirectRateLimiter::direct(self.history_quota),
            })
        })
    }
}

fn take(limiter: &DefaultDirectRateLimiter, what: &'static str) -> Result<(), CommandError> {
    limiter.check().map_err(|until| {
        let wait = until.wait_time_from(DefaultClock::default().now());
        CommandError::new(ErrorCode::RateLimited, format!("too many {what} in too short a time"))
            .limit(
                u64::from(until.quota().burst_size().get()),
                u64::from(until.quota().burst_size().get()) + 1,
            )
            .retry_after(wait)
    })
}
