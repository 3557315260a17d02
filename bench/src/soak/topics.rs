//! The topics of a soak: each retains, conflates and names its messages in another way.

use std::time::Duration;

use fanfare::{
    BrokerBuilder,
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
}

/// All topics.
pub(super) const TOPICS: &[Topic] = &[
    Topic { name: "log.plain.a", logged: true, keyed: false, ids: false },
    Topic { name: "log.plain.b", logged: true, keyed: false, ids: false },
    Topic { name: "log.plain.c", logged: true, keyed: false, ids: false },
    Topic { name: "log.tight.a", logged: true, keyed: false, ids: false },
    Topic { name: "log.tight.b", logged: true, keyed: false, ids: true },
    Topic { name: "log.bytes.a", logged: true, keyed: false, ids: false },
    Topic { name: "log.short.a", logged: true, keyed: false, ids: false },
    Topic { name: "log.keys.a", logged: true, keyed: true, ids: false },
    Topic { name: "log.ids.a", logged: true, keyed: false, ids: true },
    Topic { name: "log.ids.b", logged: true, keyed: false, ids: true },
    Topic { name: "eph.plain.a", logged: false, keyed: false, ids: false },
    Topic { name: "eph.plain.b", logged: false, keyed: false, ids: false },
    Topic { name: "eph.plain.c", logged: false, keyed: false, ids: false },
    Topic { name: "eph.keys.a", logged: false, keyed: true, ids: false },
];

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
    (0..TOPICS.len()).filter(is_matched).collect()
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
        .topic("eph.keys.*", TopicConfig::new().overflow(OverflowPolicy::ConflateByKey))
}
