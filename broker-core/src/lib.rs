//! The core of Fanfare: topics, fan-out, bounded outboxes, recovery.
#![forbid(unsafe_code)]

pub mod backend;
mod broker;
pub mod calls;
mod cluster;
mod fanout;
pub mod hooks;
mod limits;
mod log;
pub mod message;
pub mod outbox;
pub mod policy;
pub mod presence;
pub mod publish;
mod random;
pub mod session;
#[cfg(all(test, not(loom)))]
mod simulator;
mod stats;
pub mod subscriber;
pub mod subscription;
mod sync;
mod table;
pub mod topic;

pub use broker::{
    Broker, BrokerBuilder, ConnectError, Namespace, StartError, SubscribeError, TooManyFormats,
};
pub use cluster::clients;
pub use limits::Limits;
pub use stats::{Stats, TopicStats};
