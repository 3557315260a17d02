//! Topics: their names, the patterns that select them, and the trie that matches many patterns at once.
//!
//! [`TopicName`] is what is published to, [`TopicPattern`] a set of names, [`PatternTrie`] a map from patterns
//! to anything.

mod address;
mod config;
mod escape;
mod name;
mod pattern;
mod trie;
mod typed;

pub use address::Address;
pub use config::{HistoryConfig, OverflowPolicy, PublishRate, TopicConfig};
pub use name::{InvalidTopic, TopicName};
pub use pattern::TopicPattern;
pub use trie::{Matches, PatternTrie};
#[cfg(feature = "json")]
pub use typed::Json;
pub use typed::{Codec, Raw, Topic};
