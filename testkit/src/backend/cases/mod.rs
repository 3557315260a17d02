//! What the cases do, in the order of the contract.

mod control;
mod failing;
mod history;
mod idempotency;
mod interest;
mod isolation;
mod law;
mod lifecycle;
mod one_caller;
mod order;
mod outages;
mod patterns;
mod publishing;
mod retention;
mod whole;

pub(super) use self::{
    control::*, failing::*, history::*, idempotency::*, interest::*, isolation::*, law::*, lifecycle::*,
    one_caller::*, order::*, outages::*, patterns::*, publishing::*, retention::*, whole::*,
};
