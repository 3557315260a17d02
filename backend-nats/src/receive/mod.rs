//! What arrives: from a message to the core.

mod control;
mod doubts;
mod interests;
mod order;
mod pushed;

pub(crate) use control::Teller;
pub(crate) use interests::{Interests, Source};
pub(crate) use pushed::Pushed;
