//! What things are called in NATS: subjects and streams.
//!
//! A topic's name is a legal subject as it is: segments are tokens, and none holds a blank or a wildcard. It stands behind a
//! prefix of tokens, by which everything is apart:
//!
//! ```text
//! PREFIX.m.t.TOPIC      messages, as nodes receive them    PREFIX.m.s.TOPIC for topics that begin with `$`, which no
//! PREFIX.l.t.TOPIC      messages for the log               pattern with a leading wildcard matches
//! PREFIX.v.TOPIC.KEY    last values: TOPIC and KEY are one token each
//! PREFIX.n.NODE, PREFIX.n.all    what nodes tell each other
//! ```

use std::fmt::Write as _;

use fanfare_core::{
    backend::NodeId,
    message::{Epoch, IdScope},
    topic::{TopicName, TopicPattern},
};

/// What things are called under one prefix.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    prefix: String,
    messages: String,
}

/// What a subject is for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    Topic(TopicName),
    Control,
    Foreign,
}

impl Names {
    pub(crate) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned(), messages: format!("{prefix}.m.") }
    }

    /// Where the messages of a topic arrive.
    pub(crate) fn topic(&self, topic: &TopicName) -> String {
        format!("{}{}.{topic}", self.messages, branch(topic.is_system()))
    }

    /// Where the messages of all topics arrive that a pattern matches: the rules are NATS's own.
    pub(crate) fn pattern(&self, pattern: &TopicPattern) -> String {
        format!("{}{}.{}", self.messages, branch(pattern.as_str().starts_with('$')), pattern.as_str())
    }

    /// Where the log of a topic takes messages.
    pub(crate) fn log(&self, topic: &TopicName) -> String {
        format!("{}.l.{}.{topic}", self.prefix, branch(topic.is_system()))
    }

    /// All logs.
    pub(crate) fn logs(&self) -> String {
        format!("{}.l.>", self.prefix)
    }

    /// Where what a log has taken is published again: as it arrives.
    pub(crate) fn all_messages(&self) -> String {
        format!("{}.m.>", self.prefix)
    }

    /// The last values of a topic's keys.
    pub(crate) fn values(&self, topic: &TopicName) -> String {
        let mut subject = format!("{}.v.", self.prefix);
        escape(topic.as_str(), &mut subject);
        subject.push_str(".*");
        subject
    }

    /// The last value of one key.
    pub(crate) fn value(&self, topic: &TopicName, key: &str) -> String {
        let mut subject = self.values(topic);
        subject.truncate(subject.len() - 1);
        // A token is not empty, and a key may be.
        subject.push('k');
        escape(key, &mut subject);
        subject
    }

    pub(crate) fn all_values(&self) -> String {
        format!("{}.v.>", self.prefix)
    }

    /// Where one node is told something.
    pub(crate) fn node(&self, node: NodeId) -> String {
        format!("{}.n.{node}", self.prefix)
    }

    /// Where all nodes are told something.
    pub(crate) fn nodes(&self) -> String {
        format!("{}.n.all", self.prefix)
    }

    /// What a subject is on which a message came.
    pub(crate) fn subject(&self, subject: &str) -> Subject {
        let Some(rest) = subject.strip_prefix(&self.prefix).and_then(|rest| rest.strip_prefix('.')) else {
            return Subject::Foreign;
        };
        let topic = match rest.split_once('.') {
            Some(("n", _)) => return Subject::Control,
            Some(("m", topic)) => topic,
            _ => return Subject::Foreign,
        };
        let named = |name: &str| TopicName::new(name).ok();
        let (is_system, topic) = match topic.split_once('.') {
            Some(("t", topic)) => (false, named(topic)),
            Some(("s", topic)) => (true, named(topic)),
            _ => return Subject::Foreign,
        };
        topic.filter(|topic| topic.is_system() == is_system).map_or(Subject::Foreign, Subject::Topic)
    }

    /// The name of a stream of logs that the backend creates: its epoch is a part of it, so that every answer that names the
    /// stream tells the epoch.
    pub(crate) fn stream(&self, epoch: Epoch) -> String {
        format!("{}-log-{:016x}", self.prefix, epoch.value())
    }

    /// The epoch of such a stream.
    pub(crate) fn epoch(&self, stream: &str) -> Option<Epoch> {
        let epoch = stream.strip_prefix(&self.prefix)?.strip_prefix("-log-")?;
        let is_ours = epoch.len() == 16 && epoch.bytes().all(|byte| byte.is_ascii_hexdigit());
        u64::from_str_radix(epoch, 16).ok().filter(|_| is_ours).map(Epoch::new)
    }

    /// The subject of a stream that holds no logs any more: nobody publishes to it.
    pub(crate) fn aside(&self, stream: &str) -> String {
        format!("{}.aside.{stream}", self.prefix)
    }

    /// The stream that keeps last values.
    pub(crate) fn values_stream(&self) -> String {
        format!("{}-values", self.prefix)
    }
}

/// What a `message_id` is called where those of all topics of a stream are remembered together.
pub(crate) fn message_id(topic: &TopicName, scope: &IdScope, id: &str) -> String {
    let mut name = String::with_capacity(topic.as_str().len() + id.len() + 16);
    escape(topic.as_str(), &mut name);
    name.push(' ');
    match scope {
        IdScope::App => name.push('a'),
        IdScope::Anonymous => name.push('-'),
        IdScope::User(user) => {
            name.push('u');
            escape(user, &mut name);
        }
    }
    name.push(' ');
    escape(id, &mut name);
    name
}

fn branch(is_system: bool) -> char {
    if is_system { 's' } else { 't' }
}

/// One token: letters, digits, `-` and `_` as they are, every other byte as `%` and two digits.
fn escape(text: &str, out: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> TopicName {
        TopicName::new(text).unwrap()
    }

    #[test]
    fn a_name_survives_its_subject() {
        let names = Names::new("fanfare");
        for text in ["a", "chat.{lobby}", "a%2Eb", "$sys.a", "ü.[x]?\\^", "t.a", "s.$a", "a.$b"] {
            assert_eq!(names.subject(&names.topic(&name(text))), Subject::Topic(name(text)));
        }
        for foreign in
            ["", "fanfare", "other.m.t.a", "fanfare.m.a", "fanfare.m.t.", "fanfare.m.t.$a", "fanfare.m.s.a"]
        {
            assert_eq!(names.subject(foreign), Subject::Foreign, "{foreign}");
        }
        assert_eq!(names.subject(&names.nodes()), Subject::Control);
    }

    #[test]
    fn patterns_do_not_reach_the_topics_of_the_system() {
        let names = Names::new("p");
        let pattern = |text: &str| names.pattern(&TopicPattern::new(text).unwrap());
        assert_eq!(pattern(">"), "p.m.t.>");
        assert_eq!(pattern("*.a"), "p.m.t.*.a");
        assert_eq!(pattern("$client.>"), "p.m.s.$client.>");
    }

    #[test]
    fn an_epoch_is_in_its_streams_name() {
        let names = Names::new("p");
        let epoch = Epoch::new(0x00ab_cdef);
        assert_eq!(names.epoch(&names.stream(epoch)), Some(epoch));
        assert_eq!(names.epoch("p-log-ab"), None);
        assert_eq!(names.epoch("q-log-0000000000abcdef"), None);
    }

    #[test]
    fn keys_and_ids_are_apart() {
        let names = Names::new("p");
        let subjects = [("a.b", "c"), ("a", "b.c"), ("a", ""), ("a", "k"), ("a", "%6B"), ("a%", "")]
            .map(|(topic, key)| names.value(&name(topic), key));
        let user = |user: &str| IdScope::User(user.into());
        let ids = [
            message_id(&name("a"), &user("a"), "bc"),
            message_id(&name("a"), &user("ab"), "c"),
            message_id(&name("a"), &IdScope::App, "abc"),
            message_id(&name("a"), &IdScope::Anonymous, "abc"),
            message_id(&name("a"), &user(""), "abc"),
            message_id(&name("a"), &user("-"), "abc"),
            message_id(&name("a.b"), &IdScope::App, "abc"),
        ];
        for all in [&subjects[..], &ids] {
            for (index, one) in all.iter().enumerate() {
                assert!(!all[..index].contains(one), "{one}");
            }
        }
    }
}
