//! The nodes of one case.

use std::{fmt, sync::Arc, time::Duration};

use fanfare_core::{Broker, policy::Open, topic::TopicConfig};

use tokio::time::{Instant, timeout};

use super::{Harness, node::Node, subject::Subject};
use crate::shared::SharedBackend;

/// When a message that did not arrive is followed by another one.
const AGAIN_AFTER: Duration = Duration::from_millis(500);

/// What a case works with: the nodes that a [`Harness`] makes.
#[derive(Clone)]
pub struct Cluster {
    pub(crate) harness: Arc<dyn Harness>,
    pub(crate) patience: Duration,
}

impl Cluster {
    /// The nodes of a harness. The patience is how long something may take to happen until a case fails.
    #[must_use]
    pub fn new(harness: Arc<dyn Harness>, patience: Duration) -> Self {
        Self { harness, patience }
    }

    /// A node that is not started.
    pub(crate) fn unstarted(&self) -> Node {
        Node::new(self.harness.node(), self.patience)
    }

    pub(crate) async fn node(&self) -> Node {
        self.started(self.unstarted()).await
    }

    pub(crate) async fn nodes<const N: usize>(&self) -> [Node; N] {
        let mut nodes = Vec::with_capacity(N);
        for _ in 0..N {
            nodes.push(self.node().await);
        }
        nodes.try_into().unwrap_or_else(|_| unreachable!("as many as were made"))
    }

    /// A node of another cluster.
    pub(crate) async fn stranger(&self) -> Node {
        self.started(Node::new(self.harness.stranger(), self.patience)).await
    }

    async fn started(&self, node: Node) -> Node {
        node.start().await.unwrap_or_else(|error| panic!("a node does not start: {error:?}"));
        node
    }

    /// A whole node. Topics `logged.>` are logged, `short.>` retain five messages, `keys.>` two and ten keys'; all others are ephemeral.
    pub(crate) async fn broker(&self) -> Broker {
        let builder = Broker::builder()
            .policy(Open)
            .shards(1)
            .topic("logged.>", TopicConfig::new().history(10_000))
            .topic("short.>", TopicConfig::new().history(5))
            .topic("keys.>", TopicConfig::new().history(2).latest(10))
            .backend(SharedBackend::new(self.harness.node()));
        builder.start().await.unwrap_or_else(|error| panic!("a broker does not start: {error:?}"))
    }

    /// One whole node, or two where the backend can serve several.
    pub(crate) async fn brokers(&self) -> Vec<Broker> {
        let count = if self.harness.node().capabilities().inline { 1 } else { 2 };
        let mut brokers = Vec::new();
        for _ in 0..count {
            brokers.push(self.broker().await);
        }
        brokers
    }

    /// What has been published before has arrived everywhere, as far as it will: a message published after it has.
    pub(crate) async fn settle(&self, publishers: &[&Node], listeners: &[&Node]) {
        for fence in Subject::both(&format!("suite.fence.{}", fastrand::u32(..))) {
            for listener in listeners {
                listener.subscribe(&fence).await;
            }
            for publisher in publishers {
                for listener in listeners.iter().filter(|l| fence.is_logged() || l.id != publisher.id) {
                    self.until_heard(publisher, listener, &fence).await;
                }
            }
            for listener in listeners {
                listener.unsubscribe(&fence).await;
            }
        }
    }

    /// A listener that is far behind may lose a message, and is told: then another one is sent.
    async fn until_heard(&self, publisher: &Node, listener: &Node, fence: &Subject) {
        let id = publisher.id.to_string();
        let deadline = Instant::now() + self.patience;
        while !listener.record.seen(|seen| seen.texts(&fence.name).contains(&id)) {
            assert!(Instant::now() < deadline, "a message that follows has to arrive");
            publisher.say(fence, id.clone()).await;
            let has_come =
                listener.until("a message that follows", |seen| seen.texts(&fence.name).contains(&id));
            let _ = timeout(AGAIN_AFTER, has_come).await;
        }
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("patience", &self.patience).finish_non_exhaustive()
    }
}
