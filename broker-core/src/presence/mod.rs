//! Who is there: presence.

mod config;
mod member;
#[cfg(all(test, not(loom)))]
mod model;
mod replica;
mod room;
mod wire;

pub use config::PresenceConfig;
pub use member::{Member, PresenceChanges, PresenceCounts, PresenceEvent, PresencePage};
