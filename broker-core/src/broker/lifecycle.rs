//! How the backend starts, and how it ends.

use std::{sync::atomic::Ordering, time::Duration};

use tokio::time::Instant;

use super::{Inner, call::pause};
use crate::backend::{BackendError, BackendErrorKind, BackendState, Ingress, blocks::Chain};

/// How long a backend may take to end that nobody waits for, or that never started.
const END_WITHIN: Duration = Duration::from_secs(5);

/// What a backend is given beyond the time by which it has to have ended.
const GRACE: Duration = Duration::from_millis(500);

impl Inner {
    /// Starts the backend, trying again where that can help, for so long. One that does not start is ended.
    pub(super) async fn start_backend(&self, within: Duration) -> Result<(), BackendError> {
        let mut last = None;
        let starting = async {
            let mut failures = 0;
            loop {
                match self.backend.start(self.ingress()).await {
                    Err(error) if error.retry_can_help() => last = Some(error),
                    result => return result,
                }
                tokio::time::sleep(pause(failures)).await;
                failures += 1;
            }
        };
        let started = tokio::time::timeout(within, starting).await;
        let late = || {
            let message = format!("no answer within {within:?}");
            BackendError::new(BackendErrorKind::Unavailable, "start", message)
        };
        match started.unwrap_or_else(|_| Err(last.unwrap_or_else(late))) {
            Ok(()) => {
                self.backend_state(BackendState::Up);
                let wanted = self.want_nodes().await;
                if wanted.is_err() {
                    self.stop_backend(Instant::now() + END_WITHIN).await;
                }
                wanted
            }
            Err(error) => {
                self.stop_backend(Instant::now() + END_WITHIN).await;
                Err(error)
            }
        }
    }

    /// The same without an end, and without anybody waiting for it.
    pub(super) fn start_backend_in_background(&self) {
        // The task keeps no broker alive: one whose backend never starts still ends with its last handle.
        let (this, backend, ingress) = (self.weak(), self.backend.clone(), self.ingress());
        let task = tokio::spawn(async move {
            if let Some(inner) = this.upgrade() {
                // As long as the backend is away nothing comes of this but that it is owed.
                let _ = inner.want_nodes().await;
            }
            let mut failures = 0;
            loop {
                let started = backend.start(ingress.clone()).await;
                let Some(inner) = this.upgrade() else { return };
                match started {
                    // What was subscribed to meanwhile is wanted now.
                    Ok(()) => return inner.backend_state(BackendState::Up),
                    Err(error) if error.retry_can_help() => inner.complain(&error),
                    Err(error) => {
                        tracing::error!(target: "fanfare::backend", error = %Chain(&error), "the backend does not start");
                        return;
                    }
                }
                drop(inner);
                tokio::time::sleep(pause(failures)).await;
                failures += 1;
            }
        });
        self.tasks.lock().push(task);
    }

    fn ingress(&self) -> Ingress {
        Ingress::of(self.node, self.weak())
    }

    /// Ends the backend, once.
    pub(super) async fn stop_backend(&self, by: Instant) {
        if !self.is_stopped.swap(true, Ordering::AcqRel)
            && tokio::time::timeout_at(by + GRACE, self.backend.shutdown(by)).await.is_err()
        {
            tracing::warn!(target: "fanfare::backend", "the backend does not end in time");
        }
    }

    /// Ends a backend whose broker was dropped.
    pub(super) fn abandon_backend(&self) {
        if !self.is_stopped.swap(true, Ordering::AcqRel) {
            let backend = self.backend.clone();
            let is_among_others = !self.capabilities.inline;
            self.runtime.spawn(async move {
                let by = Instant::now() + END_WITHIN;
                if is_among_others {
                    let _ = tokio::time::timeout_at(by, backend.control(None, super::goodbye())).await;
                }
                let _ = tokio::time::timeout_at(by + GRACE, backend.shutdown(by)).await;
            });
        }
    }
}
