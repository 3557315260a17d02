//! Who is there: presence.

mod config;
mod event;
mod handle;
mod member;
#[cfg(all(test, not(loom)))]
mod model;
mod replica;
mod room;
mod service;
mod update;
mod watchers;
mod wire;

pub use config::PresenceConfig;
pub(crate) use event::{event_of, is_event_topic};
pub use handle::{PresenceError, TopicPresence, WatchPresence};
pub use member::{Member, PresenceChanges, PresenceCounts, PresenceEvent, PresencePage};
pub(crate) use service::{Behind, Presence};
