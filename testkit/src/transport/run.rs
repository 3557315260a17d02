//! Running a case.

use std::{fmt, sync::Arc, time::Duration};

use fanfare_core::Broker;
use futures_util::{FutureExt, future::BoxFuture};
use tokio::time::timeout;

use super::{Case, Harness, case};

/// When a case is given up, whatever it waits for.
const HANGS_AFTER: Duration = Duration::from_secs(300);

/// How a case serves its broker.
#[derive(Clone)]
pub struct Setup {
    pub(super) serve: Arc<Serve>,
    pub(super) patience: Duration,
}

type Serve = dyn Fn(Broker) -> BoxFuture<'static, Arc<dyn Harness>> + Send + Sync;

impl Setup {
    /// Serves by a harness. The patience is how long something may take to happen until a case fails.
    #[must_use]
    pub fn of<H: Harness>(patience: Duration) -> Self {
        Self::new(patience, |broker| async move { H::serve(&broker).await })
    }

    /// The same with a harness that is made otherwise.
    pub fn new<H: Harness, F>(patience: Duration, serve: impl Fn(Broker) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = H> + Send + 'static,
    {
        let serve = move |broker| serve(broker).map(|harness| Arc::new(harness) as Arc<dyn Harness>).boxed();
        Self { serve: Arc::new(serve), patience }
    }
}

impl fmt::Debug for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setup").field("patience", &self.patience).finish_non_exhaustive()
    }
}

/// Runs one case by its name, as [`transport_tests!`](crate::transport_tests) stamps it.
///
/// # Panics
///
/// When the transport fails the case, when no case has this name, and when an exception names none.
pub fn run<H: Harness>(name: &str) {
    let case = case(name).unwrap_or_else(|| panic!("no case is called {name}"));
    let exceptions = H::exceptions();
    for exception in &exceptions {
        let known = self::case(exception.case).is_some();
        assert!(known, "no case is called {}, which is an exception", exception.case);
    }
    if let Some(exception) = exceptions.iter().find(|exception| exception.case == name) {
        println!("{name} is SKIPPED: {}", exception.reason);
        return;
    }
    println!("{name}: {}", case.about);
    H::clock().run(run_case(case, Setup::of::<H>(H::patience())));
}

/// Runs one case.
///
/// # Panics
///
/// When the transport fails it.
pub async fn run_case(case: &Case, setup: Setup) {
    let done = timeout(HANGS_AFTER, (case.run)(setup)).await;
    assert!(done.is_ok(), "{} hangs", case.name);
}
