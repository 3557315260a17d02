//! Calls of the backend, each with a deadline: one that hangs holds up nobody for ever.

use std::time::Duration;

use super::Inner;
use crate::backend::{BackendError, BackendErrorKind, blocks::Chain};

impl Inner {
    /// Awaits a backend's answer, for as long as the limits allow.
    pub(super) async fn call<T>(
        &self,
        operation: &'static str,
        call: impl Future<Output = Result<T, BackendError>>,
    ) -> Result<T, BackendError> {
        let called = within(self.limits.backend_timeout, operation, call).await;
        called.inspect_err(|error| self.note_failure(error))
    }

    /// A call has failed: whoever runs the server hears why, and not only who called.
    pub(crate) fn note_failure(&self, error: &BackendError) {
        // While the backend is away that is the reason, and has been said.
        if self.is_up() || !error.retry_can_help() {
            self.complain(error);
        }
    }

    /// Says why the backend fails: a new reason at once, each again once in a while.
    pub(super) fn complain(&self, error: &BackendError) {
        if self.reasons.lock().is_news(error) {
            tracing::warn!(target: "fanfare::backend", error = %Chain(error), "the backend failed");
        }
    }
}

/// Awaits a backend's answer, for a while. What it did nobody knows then.
pub(crate) async fn within<T>(
    limit: Duration,
    operation: &'static str,
    call: impl Future<Output = Result<T, BackendError>>,
) -> Result<T, BackendError> {
    tokio::time::timeout(limit, call).await.unwrap_or_else(|_| {
        let message = format!("no answer within {limit:?}");
        Err(BackendError::new(BackendErrorKind::OutcomeUnknown, operation, message))
    })
}

/// How long to wait before another try: a random time up to a limit that grows, so that nodes that lost the same
/// server do not come back at the same moment.
pub(super) fn pause(failures: u32) -> Duration {
    /// Less would be a hot loop.
    const LEAST: Duration = Duration::from_millis(5);
    const MOST: Duration = Duration::from_millis(800);
    /// After about a minute.
    const MOST_IN_A_LONG_OUTAGE: Duration = Duration::from_secs(5);
    const LONG: u32 = 150;
    let most = match failures {
        LONG.. => MOST_IN_A_LONG_OUTAGE,
        _ => MOST.min(Duration::from_millis(50 << failures.min(10))),
    };
    LEAST + most.saturating_sub(LEAST).mul_f64(fastrand::f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_spread_and_bounded() {
        for failures in [0, 1, 3, 10, 100, u32::MAX] {
            let pauses: Vec<_> = (0..1000).map(|_| pause(failures)).collect();
            let most = if failures < 150 { 800 } else { 5000 };
            assert!(pauses.iter().all(|p| (5..=most).contains(&p.as_millis())), "{failures}");
            let (least, longest) = (pauses.iter().min().unwrap(), pauses.iter().max().unwrap());
            assert!(longest.as_millis() >= 2 * least.as_millis(), "{failures}: they are spread");
        }
        assert!(pause(0) <= Duration::from_millis(50), "the first try is soon");
    }
}
