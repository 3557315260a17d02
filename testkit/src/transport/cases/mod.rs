//! What the cases do.

mod ending;
mod frames;
mod recovery;
mod stalls;

pub(super) use self::{ending::*, frames::*, recovery::*, stalls::*};
