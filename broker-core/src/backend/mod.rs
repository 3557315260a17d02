//! What carries messages between the nodes of a cluster, and keeps the logs.
//!
//! One process alone uses [`memory`]; the crates `fanfare-redis` and
//! `fanfare-nats` carry messages between processes. A backend knows nothing of
//! subscribers, transports or wire formats.

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
pub use ingress::Ingress;
use tokio::time::Instant;
pub use types::{
    Accepted, BackendState, Capabilities, HistoryQuery, Incoming, Interest, NodeId, Origin, Outgoing, Page,
    Retention,
};

use crate::{message::Position, topic::TopicName};

/// Carries messages between the nodes of a cluster, and keeps the logs of logged topics.
///
/// # Contract
///
/// The core calls; the backend answers, and tells what arrives through the
/// [`Ingress`] it got at its start. Each clause has a short name.
///
/// - **start-once**: [`start`](Backend::start) is called once, before anything
///   else, from within a tokio runtime. It returns when the backend is usable, or an
///   error; with an error the core does not use it further.
/// - **hand-over**: *calling* [`publish`](Backend::publish) is the hand-over. Calls for one topic
///   are never concurrent, and the order of the calls is the order of the messages.
///   The returned future only awaits the acknowledgement; dropping it, polled or not, takes nothing back.
/// - **accepted**: `Ok` means that the message will be delivered to every node that
///   is subscribed and reachable; on a logged topic, that it is stored at
///   the position. It does not mean that a subscriber has it.
/// - **ephemeral-order**: messages of one node to one ephemeral topic arrive at every other node in
///   the order of their hand-over, unless they are lost.
/// - **logged-order**: every node is given a logged topic's messages in the order of their offsets.
///   Holes and repeats are allowed: the core finds them by
///   [`LogPlace::prev`](crate::message::LogPlace), drops repeats and reads holes from [`history`](Backend::history).
/// - **own-echo**: a node may be given its own ephemeral messages; the core drops them. Of its own logged
///   messages it must be given each, unless the backend is [inline](Capabilities::inline).
/// - **one-caller**: a backend gives the messages of one topic to
///   [`Ingress::deliver`] one after the other, awaiting each call. It may wait long: that is backpressure. It may
///   call `history` before it returns.
/// - **loss-told**: what a backend failed to carry to this node it reports with [`Ingress::lost`].
/// - **interest**: after [`subscribe`](Backend::subscribe) returned `Ok`, every message accepted later is
///   delivered. Subscribing twice is the same as once. Calls for one interest are never concurrent.
/// - **reconnect**: a backend reconnects by itself, and says so with [`Ingress::state`]. When it
///   is up again, the core subscribes anew to all it wants, and
///   reads what logged topics missed.
/// - **retention**: `history` holds what the [`Outgoing::retention`] of the messages said: messages, bytes, time.
/// - **idempotency**: a `message_id` that was seen within its window on this topic by this user is
///   answered with the first message's position, marked as a duplicate, and neither stored nor delivered.
/// - **epoch**: when a log is lost or replaced, its epoch changes. Positions of one epoch never
///   name two messages.
/// - **errors**: an error says what kind, and whether a retry can help; `OutcomeUnknown` only where the message may have been stored.
/// - **shutdown**: after [`shutdown`](Backend::shutdown) the backend calls nothing, and leaves no task and no connection.
///
/// # Cancel safety
///
/// Dropping the future of `subscribe`, `unsubscribe`, `history` or `start` may leave the effect
/// done or not done, and nothing else; the next call for the same interest settles it.
#[async_trait]
pub trait Backend: Send + Sync + Debug + 'static {
    /// What this backend can do. Constant.
    fn capabilities(&self) -> Capabilities;

    /// Connects, and begins to give what arrives to `ingress`.
    ///
    /// # Errors
    ///
    /// What keeps the backend from working, in words that say what to do.
    async fn start(&self, ingress: Ingress) -> Result<(), BackendError>;

    /// Hands over a message.
    fn publish(&self, message: Outgoing) -> BoxFuture<'static, Result<Accepted, BackendError>>;

    /// Wants the messages of a topic or a pattern. `Ok` holds a logged topic's last
    /// position; an empty log has offset 0.
    ///
    /// # Errors
    ///
    /// When the interest could not be registered; the core tries again when the backend is up.
    async fn subscribe(&self, interest: &Interest) -> Result<Option<Position>, BackendError>;

    /// No longer wants them.
    ///
    /// # Errors
    ///
    /// As for `subscribe`.
    async fn unsubscribe(&self, interest: &Interest) -> Result<(), BackendError>;

    /// Reads what is retained of a logged topic.
    ///
    /// # Errors
    ///
    /// When the log could not be read.
    async fn history(&self, topic: &TopicName, query: HistoryQuery) -> Result<Page, BackendError>;

    /// Sends a control frame to one node, or to all others.
    fn control(&self, to: Option<NodeId>, frame: Bytes) -> BoxFuture<'static, Result<(), BackendError>>;

    /// Ends everything, at the latest at `by`.
    async fn shutdown(&self, by: Instant);
}
