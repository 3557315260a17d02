//! From a publisher to the shards: reserve, then commit.

pub(crate) mod addressed;
mod builder;
mod clients;
mod commit;
mod echo;
mod error;
mod hand_over;
mod report;

pub use builder::Publish;
pub(crate) use echo::Echoes;
pub use error::PublishError;
pub(crate) use hand_over::{Ack, Awaited};
pub use report::Report;
pub(crate) use report::{Outcome, ReportSlot};
