//! Fan-out: each shard owns its subscribers and serves the topics in turn.
//!
//! A subscriber belongs to one shard; a shard owns its table of topics outright, so that no lock is
//! taken to find the subscribers of a message. It awaits nothing but its inbox.

mod catch_up;
mod coming;
mod direct;
mod inbox;
mod lane;
mod present;
mod serve;
mod shard;
mod subs;
mod topic;

pub(crate) use direct::Find;
pub(crate) use inbox::{Cost, Event, Inbox, Item, Reservation, Special, Whom, bits};
pub use lane::PullHandle;
pub(crate) use lane::{Farewell, Insert, Op, Target};
pub(crate) use shard::{Left, Shard, ShardContext};
