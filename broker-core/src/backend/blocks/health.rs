//! Whether a backend works.

use std::{fmt, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{sync::watch, time::timeout};

use super::{Inbox, Trouble};
use crate::backend::BackendState;

/// Whether a backend works, from its start to its end: whoever keeps its connection says so here, and all others learn it in order. The
/// core is told from the moment on in which [`started`](Self::started) has seen the backend up, until [`end`](Self::end).
pub struct Health {
    inbox: Arc<Inbox>,
    is_over: Mutex<bool>,
    status: watch::Sender<Status>,
    state: watch::Sender<BackendState>,
}

#[derive(Clone, Default)]
struct Status {
    is_up: bool,
    /// Why it is not, or was not last.
    trouble: Option<Trouble>,
}

impl Health {
    /// A backend that is not up yet. `state` is for whoever watches the backend beside the core, such as a probe of an app's readiness.
    #[must_use]
    pub fn new(inbox: Arc<Inbox>, state: watch::Sender<BackendState>) -> Self {
        Self { inbox, is_over: Mutex::new(false), status: watch::Sender::default(), state }
    }

    /// The backend works, or does not. Saying the same twice is saying it once.
    pub fn set(&self, is_up: bool) {
        let is_over = self.is_over.lock();
        let has_changed =
            self.status.send_if_modified(|status| std::mem::replace(&mut status.is_up, is_up) != is_up);
        if !has_changed {
            return;
        }
        let state = if is_up { BackendState::Up } else { BackendState::Down };
        self.state.send_replace(state);
        // Told under the lock, so that the core hears changes in their order.
        if !*is_over {
            self.inbox.state(state);
        }
    }

    /// Why a connection cannot be made, or was lost.
    pub fn failed(&self, trouble: &Trouble) {
        self.status.send_modify(|status| status.trouble = Some(trouble.clone()));
    }

    /// Whether the backend works.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.status.borrow().is_up
    }

    /// Waits until the backend works, so that [`Backend::start`](crate::backend::Backend::start) may return: what comes from then on is for the
    /// core.
    ///
    /// # Errors
    ///
    /// What was given to [`failed`](Self::failed) last, where nothing but a change by somebody helps, or where the time is over; the latter
    /// also without anything.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it has begun nothing.
    pub async fn started(&self, limit: Duration) -> Result<(), Option<Trouble>> {
        let mut status = self.status.subscribe();
        let up = async {
            loop {
                let ended = status
                    .wait_for(|status| {
                        status.is_up || status.trouble.as_ref().is_some_and(Trouble::is_lasting)
                    })
                    .await;
                match ended.map(|status| status.clone()) {
                    Ok(status) if !status.is_up => return Err(status.trouble),
                    Ok(_) if !self.begin() => {}
                    _ => return Ok(()),
                }
            }
        };
        match timeout(limit, up).await {
            Ok(ended) => ended,
            Err(_) => Err(self.status.borrow().trouble.clone()),
        }
    }

    /// From here on the core is told. False where the backend has gone down again.
    fn begin(&self) -> bool {
        let _is_over = self.is_over.lock();
        let is_up = self.is_up();
        if is_up {
            self.inbox.begin();
        }
        is_up
    }

    /// The core is told nothing any more.
    pub fn end(&self) {
        *self.is_over.lock() = true;
    }
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Health").field("is_up", &self.is_up()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::{
        backend::{Arrivals, Incoming, Ingress, NodeId},
        topic::TopicName,
    };

    const LIMIT: Duration = Duration::from_secs(4);

    /// Writes down the states that it is told.
    #[derive(Default)]
    struct Core(Mutex<Vec<BackendState>>);

    #[async_trait::async_trait]
    impl Arrivals for Core {
        async fn deliver(&self, _: Incoming) {}

        fn lost(&self, _: Option<&TopicName>) {}

        fn control(&self, _: NodeId, _: Bytes) {}

        fn state(&self, state: BackendState) {
            self.0.lock().push(state);
        }
    }

    fn health() -> (Arc<Health>, Arc<Core>, watch::Receiver<BackendState>) {
        let (core, state) = (Arc::new(Core::default()), watch::Sender::new(BackendState::Down));
        let inbox = Inbox::new(Ingress::to(NodeId::new(1), core.clone()));
        let watching = state.subscribe();
        (Arc::new(Health::new(Arc::new(inbox), state)), core, watching)
    }

    #[tokio::test(start_paused = true)]
    async fn the_core_is_told_between_start_and_end() {
        use BackendState::{Down, Up};
        let (health, core, state) = health();
        health.set(true);
        health.set(false);
        let starting = tokio::spawn({
            let health = health.clone();
            async move { health.started(LIMIT).await.is_ok() }
        });
        tokio::task::yield_now().await;
        assert!(!starting.is_finished() && !health.is_up());
        health.failed(&Trouble::unavailable("not yet"));
        health.set(true);
        assert!(starting.await.unwrap());
        assert_eq!((core.0.lock().len(), *state.borrow()), (0, Up), "it is taken to be up");
        for is_up in [true, false, false, true, false] {
            health.set(is_up);
        }
        assert_eq!((&core.0.lock()[..], *state.borrow()), (&[Down, Up, Down][..], Down));
        health.end();
        health.set(true);
        assert_eq!((core.0.lock().len(), *state.borrow()), (3, Up), "only others hear of it");
    }

    #[tokio::test(start_paused = true)]
    async fn a_start_ends_where_waiting_does_not_help() {
        let (health, core, _) = health();
        assert!(matches!(health.started(LIMIT).await, Err(None)));
        health.failed(&Trouble::unavailable("is it running?"));
        let since = tokio::time::Instant::now();
        let ended = health.started(LIMIT).await;
        assert!(matches!(ended, Err(Some(trouble)) if !trouble.is_lasting()) && since.elapsed() == LIMIT);
        health.failed(&Trouble::configuration("wrong password"));
        let ended = health.started(LIMIT).await;
        assert!(matches!(ended, Err(Some(trouble)) if trouble.is_lasting()) && since.elapsed() == LIMIT);
        health.set(false);
        assert!(core.0.lock().is_empty());
    }
}
