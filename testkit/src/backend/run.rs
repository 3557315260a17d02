//! Running a case.

use std::{fmt, sync::Arc, time::Duration};

use tokio::time::timeout;

use super::{Case, Cluster, Harness, case};

/// When a case is given up, whatever it waits for.
const HANGS_AFTER: Duration = Duration::from_secs(300);

/// Runs one case by its name, as [`backend_tests!`](crate::backend_tests) stamps it.
///
/// # Panics
///
/// When the backend fails the case, when no case has this name, and when an exception names none.
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
    H::clock().run(async {
        let Some(harness) = H::start().await else { return };
        run_case(case, Cluster::new(Arc::new(harness), H::patience())).await;
    });
}

/// Runs one case with the nodes of a cluster.
///
/// # Panics
///
/// When the backend fails it.
pub async fn run_case(case: &Case, cluster: Cluster) {
    let done = timeout(HANGS_AFTER, (case.run)(cluster)).await;
    assert!(done.is_ok(), "{} hangs", case.name);
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Case").field("name", &self.name).field("needs", &self.needs).finish_non_exhaustive()
    }
}
