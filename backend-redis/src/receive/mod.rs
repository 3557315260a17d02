//! What arrives: from a push to the core.

mod control;
mod interests;
mod lanes;
mod pushed;

pub(crate) use control::{Control, frame, probe};
pub(crate) use interests::Interests;
pub(crate) use lanes::Lanes;
pub(crate) use pushed::Pushed;
