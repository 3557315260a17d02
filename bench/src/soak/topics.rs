//! The topics of a soak: each retains, conflates and names its messages in another way.

use std::time::Duration;

use fanfare::{
    BrokerBuilder,
    presence::PresenceConfig,
    topic::{OverflowPolicy, TopicConfig, TopicName, TopicPattern},
};

/// One topic.
#[derive(Clone, Copy, Debug)]
pub(super) struct Topic {
    pub(super) name: &'static str,
    pub(super) logged: bool,
    /// Its messages have keys.
    pub(super) keyed: bool,
    /// Its messages have ids, and are published again where it is not known whether they are stored.
    pub(super) ids: bool,
    /// Its messages are given up after seconds: then its log may begin anew.
    pub(super) lapses: bool,
}

/// A topic where nothing is special.
const PLAIN: Topic = Topic { name: "", logged: false, keyed: false, ids: false, lapses: false };
/// The same with a log.
const LOGGED: Topic = Topic { logged: true, ..PLAIN };

/// How many topics there are that a client can subscribe to; those that follow are addresses.
pub(super) const OPEN: usize = 16;

/// All topics.
pub(super) const TOPICS: &[Topic] = &[
    Topic { name: "log.plain.a", ..LOGGED },
    Topic { name: "log.plain.b", ..LOGGED },
    Topic { name: "log.plain.c", ..LOGGED },
    Topic { name: "log.tight.a", ..LOGGED },
    Topic { name: "log.tight.b", ids: true, ..LOGGED },
    Topic { name: "log.bytes.a", ..LOGGED },
    Topic { name: "log.short.a", lapses: true, ..LOGGED },
    Topic { name: "log.keys.a", keyed: true, ..LOGGED },
    Topic { name: "log.ids.a", ids: true, ..LOGGED },
    Topic { name: "log.ids.b", ids: true, ..LOGGED },
    Topic { name: "eph.plain.a", ..PLAIN },
    Topic { name: "eph.plain.b", ..PLAIN },
    Topic { name: "eph.plain.c", ..PLAIN },
    Topic { name: "eph.keys.a", keyed: true, ..PLAIN },
    Topic { name: "room.a", ..PLAIN },
    Topic { name: "room.b", ..PLAIN },
    Topic { name: "$all", ..PLAIN },
    Topic { name: "$user.0", ..PLAIN },
    Topic { name: "$user.1", ..PLAIN },
    Topic { name: "$user.2", ..PLAIN },
    Topic { name: "$user.3", ..PLAIN },
    Topic { name: "$user.4", ..PLAIN },
    Topic { name: "$user.5", ..PLAIN },
];

/// The users whose addresses are among the topics.
pub(super) const USERS: usize = 6;

/// The topics that say who is there.
pub(super) const ROOMS: [&str; 2] = ["room.a", "room.b"];

/// Patterns over them.
pub(super) const PATTERNS: &[&str] = &["log.>", "eph.*.a", "*.plain.*", "log.tight.*", ">"];

/// How many keys there are.
pub(super) const KEYS: u8 = 12;

/// Which topic this is.
pub(super) fn index(name: &str) -> Option<usize> {
    TOPICS.iter().position(|topic| topic.name == name)
}

/// The topics that a pattern matches.
pub(super) fn matched(pattern: &str) -> Vec<usize> {
    let Ok(pattern) = TopicPattern::new(pattern) else { return Vec::new() };
    let is_matched =
        |index: &usize| TopicName::new(TOPICS[*index].name).is_ok_and(|name| pattern.matches(&name));
    (0..OPEN).filter(is_matched).collect()
}

/// What a broker has to know of them.
pub(super) fn configure(builder: BrokerBuilder) -> BrokerBuilder {
    let ids = Duration::from_secs(120);
    builder
        .topic("log.plain.*", TopicConfig::new().history(2_000).history_bytes(8 << 20))
        .topic("log.tight.*", TopicConfig::new().history(20).idempotency_window(ids))
        .topic("log.bytes.*", TopicConfig::new().history(10_000).history_bytes(200_000))
        .topic("log.short.*", TopicConfig::new().history(10_000).history_ttl(Duration::from_secs(4)))
        .topic("log.keys.*", TopicConfig::new().history(300).latest(usize::from(KEYS)))
        .topic("log.ids.*", TopicConfig::new().history(1_000).idempotency_window(ids))
        .topic("room.*", TopicConfig::new().presence(PresenceConfig::new().grace(Duration::from_secs(2))))
        .topic("eph.keys.*", TopicConfig::new().overflow(OverflowPolicy::ConflateByKey))
}
