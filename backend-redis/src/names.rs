//! What things are called in Redis: channels, and the keys of a topic's log.
//!
//! A topic's name stands in braces in every key and channel of the topic, so that a Cluster keeps them all in one
//! slot (the *hash tag* of the Cluster specification). Braces and `%` of the name itself are escaped.

use std::fmt::Write as _;

use fanfare_core::{
    backend::NodeId,
    message::IdScope,
    topic::{TopicName, TopicPattern},
};

/// What things are called under one prefix.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    /// Before each key.
    keys: String,
    /// Before each channel: channels know nothing of databases, so the number of the database is part of the name,
    /// apart from what a prefix may end with.
    channels: String,
}

/// The keys of one topic.
pub(crate) struct Keys {
    /// Hash: the log's epoch, last offset, and what else is known of it.
    pub(crate) meta: String,
    /// Stream: the retained messages.
    pub(crate) log: String,
    /// Hash: the last value of each key.
    pub(crate) values: String,
    /// Sorted set: the keys, by the offset of their last value.
    pub(crate) order: String,
}

/// What a channel is for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Channel<'a> {
    Topic(&'a str),
    Control,
    Foreign,
}

impl Names {
    pub(crate) fn new(prefix: &str, db: u32) -> Self {
        Self { keys: prefix.to_owned(), channels: format!("{prefix}db{db}:") }
    }

    pub(crate) fn keys(&self, topic: &TopicName) -> Keys {
        self.tagged(&tag(topic.as_str()))
    }

    /// Keys, and a channel, that are no topic's: no name is escaped to this.
    pub(crate) fn of_no_topic(&self) -> (Keys, String) {
        const TAG: &str = "{%}";
        (self.tagged(TAG), format!("{}probe:{TAG}", self.channels))
    }

    fn tagged(&self, tag: &str) -> Keys {
        let key = |kind: &str| format!("{}{kind}:{tag}", self.keys);
        Keys { meta: key("meta"), log: key("log"), values: key("values"), order: key("order") }
    }

    /// The key under which a `message_id` is remembered.
    pub(crate) fn id(&self, topic: &TopicName, scope: &IdScope, id: &str) -> String {
        let tag = tag(topic.as_str());
        match scope {
            IdScope::App => format!("{}id:{tag}:app:{id}", self.keys),
            IdScope::Anonymous => format!("{}id:{tag}:-:{id}", self.keys),
            // The length keeps `a` + `bc` apart from `ab` + `c`.
            IdScope::User(user) => format!("{}id:{tag}:{}:{user}{id}", self.keys, user.len()),
        }
    }

    /// The key of the mark of the server's life, where all keys are on one server.
    pub(crate) fn life(&self) -> String {
        format!("{}life", self.keys)
    }

    pub(crate) fn topic(&self, topic: &TopicName) -> String {
        format!("{}topic:{}", self.channels, tag(topic.as_str()))
    }

    /// A glob that selects the channels of all topics that a pattern matches, and of others: Redis has no segments.
    pub(crate) fn glob(&self, pattern: &TopicPattern) -> String {
        let mut glob = String::new();
        escape_glob(&self.channels, &mut glob);
        glob.push_str("topic:{");
        for (index, segment) in pattern.segments().enumerate() {
            if index > 0 {
                glob.push('.');
            }
            match segment {
                "*" | ">" => glob.push('*'),
                literal => escape_glob(&escape(literal), &mut glob),
            }
        }
        glob.push('}');
        glob
    }

    /// Where one node is told something.
    pub(crate) fn node(&self, node: NodeId) -> String {
        format!("{}node:{{{node}}}", self.channels)
    }

    /// Where all nodes are told something.
    pub(crate) fn all(&self) -> String {
        format!("{}nodes", self.channels)
    }

    /// What a node sends itself through one of several servers, to see that the way is open.
    pub(crate) fn probe(&self, node: NodeId, tag: u32) -> String {
        format!("{}probe:{node}:{{{tag}}}", self.channels)
    }

    pub(crate) fn channel<'a>(&self, channel: &'a str) -> Channel<'a> {
        match channel.strip_prefix(&self.channels) {
            Some(rest) => match rest.strip_prefix("topic:{").and_then(|rest| rest.strip_suffix('}')) {
                Some(topic) => Channel::Topic(topic),
                None if rest.starts_with("node") || rest.starts_with("probe:") => Channel::Control,
                None => Channel::Foreign,
            },
            None => Channel::Foreign,
        }
    }
}

/// A topic's name from its escaped form.
pub(crate) fn unescape(escaped: &str) -> Option<TopicName> {
    let name = percent_encoding::percent_decode_str(escaped).decode_utf8().ok()?;
    TopicName::new(name).ok()
}

/// The slot of a key or channel in a Cluster (Cluster specification, "Key distribution model").
pub(crate) fn slot(key: &str) -> u16 {
    let tag = key.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map(|(tag, _)| tag);
    let hashed = tag.filter(|tag| !tag.is_empty()).unwrap_or(key);
    crc16(hashed.as_bytes()) % SLOTS
}

/// How many slots a Cluster has.
pub(crate) const SLOTS: u16 = 16_384;

/// CRC-16/XMODEM.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
        })
    })
}

fn tag(topic: &str) -> String {
    format!("{{{}}}", escape(topic))
}

fn escape(name: &str) -> String {
    let mut escaped = String::with_capacity(name.len());
    for ch in name.chars() {
        match ch {
            '{' | '}' | '%' => {
                let _ = write!(escaped, "%{:02X}", ch as u32);
            }
            _ => escaped.push(ch),
        }
    }
    escaped
}

fn escape_glob(literal: &str, glob: &mut String) {
    for ch in literal.chars() {
        if matches!(ch, '*' | '?' | '[' | ']' | '\\' | '^') {
            glob.push('\\');
        }
        glob.push(ch);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        Names::new("fanfare:", 0)
    }

    #[test]
    fn a_name_survives_its_channel() {
        for name in ["a", "chat.{lobby}", "a%2Eb", "}", "{}", "ü.[x]?\\^", "%7B"] {
            let name = TopicName::new(name).unwrap();
            let channel = names().topic(&name);
            let Channel::Topic(escaped) = names().channel(&channel) else { panic!("{channel}") };
            assert_eq!(unescape(escaped), Some(name));
        }
    }

    #[test]
    fn all_of_a_topic_is_in_one_slot() {
        for name in ["chat.lobby", "{}x", "}{", "a{b}c"] {
            let name = TopicName::new(name).unwrap();
            let keys = names().keys(&name);
            let slots = [
                keys.meta,
                keys.log,
                keys.values,
                keys.order,
                names().topic(&name),
                names().id(&name, &IdScope::User("}{".into()), "{x}"),
                names().id(&name, &IdScope::App, "x"),
            ]
            .map(|key| slot(&key));
            assert!(slots.iter().all(|slot| *slot == slots[0]), "{name}: {slots:?}");
        }
    }

    #[test]
    fn slots_are_those_of_the_specification() {
        assert_eq!(crc16(b"123456789"), 0x31C3);
        assert_eq!(slot("foo"), 12_182);
        assert_eq!(slot("{user1000}.following"), slot("{user1000}.followers"));
        assert_eq!(slot("foo{}{bar}"), crc16(b"foo{}{bar}") % SLOTS);
    }

    #[test]
    fn ids_of_different_users_are_apart() {
        let topic = TopicName::new("t").unwrap();
        let ids = [
            names().id(&topic, &IdScope::User("a".into()), "bc"),
            names().id(&topic, &IdScope::User("ab".into()), "c"),
            names().id(&topic, &IdScope::App, "abc"),
            names().id(&topic, &IdScope::Anonymous, "abc"),
            names().id(&topic, &IdScope::User("".into()), "abc"),
            names().id(&topic, &IdScope::Anonymous, "1:abc"),
        ];
        for (index, id) in ids.iter().enumerate() {
            assert!(!ids[..index].contains(id), "{id}");
        }
    }

    #[test]
    fn globs_escape_what_redis_would_read() {
        let glob = |pattern: &str| names().glob(&TopicPattern::new(pattern).unwrap());
        assert_eq!(glob("chat.*"), "fanfare:db0:topic:{chat.*}");
        assert_eq!(glob("chat.>"), "fanfare:db0:topic:{chat.*}");
        assert_eq!(glob("a?[b].*"), r"fanfare:db0:topic:{a\?\[b\].*}");
        assert_eq!(glob("{x}.>"), "fanfare:db0:topic:{%7Bx%7D.*}");
    }

    #[test]
    fn databases_and_prefixes_are_apart() {
        let topic = TopicName::new("t").unwrap();
        let a = Names::new("a:", 0).topic(&topic);
        assert_ne!(a, Names::new("a:", 1).topic(&topic));
        assert_eq!(Names::new("a:", 1).channel(&a), Channel::Foreign);
        assert_eq!(Names::new("b:", 0).channel(&a), Channel::Foreign);
        assert_ne!(Names::new("app", 11).topic(&topic), Names::new("app1", 1).topic(&topic));
    }
}
