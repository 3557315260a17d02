//! One call at a time, and those who waited for it share its failure.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{Mutex, MutexGuard};

use crate::backend::{BackendError, BackendErrorKind};

/// Held while the backend is told what this node wants. Who waits for it while an attempt fails has failed with
/// it: a thousand who wait do not wait for a thousand deadlines.
#[derive(Default)]
pub(crate) struct Flight {
    failures: AtomicU64,
    held: Mutex<LastFailure>,
}

#[derive(Default)]
struct LastFailure(Option<(BackendErrorKind, &'static str, String)>);

pub(crate) struct InFlight<'a> {
    flight: &'a Flight,
    held: MutexGuard<'a, LastFailure>,
}

impl Flight {
    /// How many attempts have failed.
    pub(crate) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Acquire)
    }

    pub(crate) async fn lock(&self) -> InFlight<'_> {
        InFlight { flight: self, held: self.held.lock().await }
    }
}

impl InFlight<'_> {
    /// The last failure, if it came after there were so many.
    pub(crate) fn failed_since(&self, failures: u64) -> Option<BackendError> {
        let (kind, operation, message) =
            self.held.0.as_ref().filter(|_| self.flight.failures() != failures)?;
        Some(BackendError::new(*kind, operation, message.clone()))
    }

    /// An attempt has failed.
    pub(crate) fn fail(&mut self, error: &BackendError) {
        self.held.0 = Some((error.kind(), error.operation(), error.message().to_owned()));
        self.flight.failures.fetch_add(1, Ordering::AcqRel);
    }
}
