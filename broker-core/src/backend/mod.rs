//! What carries messages between the nodes of a cluster, and keeps the logs.
//!
//! One process alone uses [`memory`]; the crates `fanfare-redis` and
//! `fanfare-nats` carry messages between processes. A backend knows nothing of
//! subscribers, transports or wire formats.

pub mod blocks;
pub mod envelope;
mod error;
mod ingress;
pub mod memory;
mod types;

use std::fmt::Debug;

use async_trait::async_trait;
use bytes::Bytes;
pub use error::{BackendError, BackendErrorKind};
use futures_util::future::BoxFuture;
pub use ingress::{Arrivals, Ingress};
use tokio::time::Instant;
pub use types::{
    Accepted, BackendState, Capabilities, HistoryQuery, Incoming, Interest, NodeId, Origin, Outgoing, Page,
    Retention,
};

use crate::{message::Position, topic::TopicName};

/// Carries messages between the nodes of a cluster, and keeps the logs of logged topics.
///
#[doc = include_str!("CONTRACT.md")]
#[async_trait]
pub trait Backend: Send + Sync + Debug + 'static {
    /// What this backend can do. Constant.
    fn capabilities(&self) -> Capabilities;

    /// Connects, and begins to give what arrives to `ingress`. Clauses *start* and *degraded*.
    ///
    /// # Errors
    ///
    /// What keeps the backend from working, in words that say what to do.
    async fn start(&self, ingress: Ingress) -> Result<(), BackendError>;

    /// Is told what logs there will be, each time when it is [`Up`](BackendState::Up): whatever logged topics retain by this node's
    /// configuration. So that what keeps logs from working is known before somebody needs one, and a server can be readied
    /// for all of them at once. Other calls do not wait for it, and nothing hangs on it.
    ///
    /// # Errors
    ///
    /// What keeps logs from working, in words that say what to do: they are logged. Where a retry can help the core tries again.
    async fn prepare(&self, logs: &[Retention]) -> Result<(), BackendError> {
        let _ = logs;
        Ok(())
    }

    /// Hands over a message. Clauses *hand-over* to *idempotency*.
    fn publish(&self, message: Outgoing) -> BoxFuture<'static, Result<Accepted, BackendError>>;

    /// Wants the messages of a topic or a pattern. `Ok` holds a logged topic's last
    /// position; an empty log has offset 0. Clauses *interest* to *patterns*.
    ///
    /// # Errors
    ///
    /// When the interest could not be registered. Where a retry can help the core tries again, with
    /// growing pauses, for as long as somebody is subscribed.
    async fn subscribe(&self, interest: &Interest) -> Result<Option<Position>, BackendError>;

    /// No longer wants them.
    ///
    /// # Errors
    ///
    /// As for `subscribe`.
    async fn unsubscribe(&self, interest: &Interest) -> Result<(), BackendError>;

    /// Reads what is retained of a logged topic. Clauses *history* to *epoch*.
    ///
    /// # Errors
    ///
    /// When the log could not be read.
    async fn history(&self, topic: &TopicName, query: HistoryQuery) -> Result<Page, BackendError>;

    /// Sends a control frame to one node, or to all others. Clause *control*.
    fn control(&self, to: Option<NodeId>, frame: Bytes) -> BoxFuture<'static, Result<(), BackendError>>;

    /// Ends everything, at the latest at `by`. Clause *shutdown*.
    async fn shutdown(&self, by: Instant);
}
