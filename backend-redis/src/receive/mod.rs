//! What arrives: from a push to the core.

mod control;
mod interests;
mod pushed;

pub(crate) use control::{Control, frame, probe};
pub(crate) use interests::Interests;
pub(crate) use pushed::Pushed;
