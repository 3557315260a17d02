//! What the suite needs of a backend's author.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use fanfare_core::{backend::Backend, topic::TopicName};
use tokio::runtime::Builder;

use super::Exception;

/// The password that backends of [`Harness::misconfigured`] are to use, where they use one: it must not appear in any error.
pub const SECRET: &str = "s3cret-that-nobody-may-see";

/// Makes nodes of one backend, and lets their connections fail.
///
/// Every case has a harness of its own, so that it begins with an empty cluster: where a server is shared, by a new prefix.
#[async_trait]
pub trait Harness: Send + Sync + 'static {
    /// A new cluster without nodes, messages or logs. `None` where a server is missing: the case is skipped (say so: see
    /// [`ServerConfig::find`](crate::server::ServerConfig::find)).
    async fn start() -> Option<Self>
    where
        Self: Sized;

    /// The backend of one more node of the cluster, not started.
    fn node(&self) -> Arc<dyn Backend>;

    /// The backend of a node of another cluster on the same server: with another prefix. Always the same cluster.
    fn stranger(&self) -> Arc<dyn Backend>;

    /// Cuts all nodes off from the server, or from each other, so that they can see it; what they send is refused or lost.
    async fn interrupt(&self) {
        panic!("this harness cannot interrupt: name the cases that need it as exceptions, with a reason");
    }

    /// Ends the interruption.
    async fn restore(&self) {
        panic!("this harness cannot restore: name the cases that need it as exceptions, with a reason");
    }

    /// Makes all nodes lose what they are subscribed to on the server, and nothing else: by a connection that only
    /// receives and is killed, for example. The backend is to notice, and to subscribe anew by itself.
    async fn lose_interests(&self) {
        panic!(
            "this harness cannot lose interests: name the cases that need it as exceptions, with a reason"
        );
    }

    /// Loses the log of a topic, as a server does that is wiped.
    async fn lose_log(&self, topic: &TopicName) {
        panic!("this harness cannot lose {topic}: name the cases that need it as exceptions, with a reason");
    }

    /// Loses the end of a topic's log, as a server does that comes back with an older state: what was retained before stays, and
    /// nobody knows how much was lost.
    async fn lose_end(&self, topic: &TopicName) {
        panic!(
            "this harness cannot lose the end of {topic}: name the cases that need it as exceptions, with a reason"
        );
    }

    /// Sends bytes that are no message of Fanfare's to all who want a topic, as a stranger on the server can.
    async fn garble(&self, topic: &TopicName) {
        panic!(
            "this harness cannot garble {topic}: name the cases that need it as exceptions, with a reason"
        );
    }

    /// Backends whose settings are wrong, each of which is to fail to start for good: a wrong password ([`SECRET`]), a server of
    /// another kind, ... with a word for each.
    fn misconfigured(&self) -> Vec<(&'static str, Arc<dyn Backend>)> {
        panic!(
            "this harness has no wrong settings: name the cases that need them as exceptions, with a reason"
        );
    }

    /// A backend whose server is not there.
    fn unreachable(&self) -> Arc<dyn Backend> {
        panic!(
            "this harness reaches everything: name the cases that need otherwise as exceptions, with a reason"
        );
    }

    /// How many connections the nodes hold now, where that can be counted.
    async fn connections(&self) -> Option<usize> {
        None
    }

    /// Whether time may be skipped: only where everything happens in this process.
    fn clock() -> Clock
    where
        Self: Sized,
    {
        Clock::Real
    }

    /// How long something may take to happen until the case fails.
    fn patience() -> Duration
    where
        Self: Sized,
    {
        Duration::from_secs(30)
    }

    /// The cases that this backend cannot pass, each with a reason.
    fn exceptions() -> Vec<Exception>
    where
        Self: Sized,
    {
        Vec::new()
    }
}

/// The time in which a suite runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Clock {
    /// Real time, two worker threads.
    Real,
    /// tokio's paused time, one thread: whoever waits for nothing but time does not wait. For backends without sockets.
    Paused,
}

impl Clock {
    /// Runs a case in a runtime of its own, which ends with it.
    pub(crate) fn run(self, case: impl Future<Output = ()>) {
        let mut runtime = match self {
            Self::Real => Builder::new_multi_thread(),
            Self::Paused => Builder::new_current_thread(),
        };
        runtime.worker_threads(2).enable_all().start_paused(self == Self::Paused);
        let runtime = runtime.build().unwrap_or_else(|error| panic!("no runtime: {error}"));
        runtime.block_on(case);
        runtime.shutdown_timeout(Duration::from_secs(1));
    }
}
