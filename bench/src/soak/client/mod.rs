//! Clients with a session: they connect, subscribe, publish, answer calls, lose their connection and take their session up elsewhere.

mod books;
mod format;
mod life;
mod line;

pub(super) use format::Lines;
pub(super) use life::run;
