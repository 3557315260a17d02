//! Logged topics: one stream holds them all, one subject for each.

mod api;
mod append;
mod history;
mod latest;
mod mark;
mod read;
mod record;
mod same;
mod stream;
mod time;
mod trim;

pub(crate) use record::{Keep, Mark, Record};
pub(crate) use same::Whose;
pub(crate) use stream::Logs;
