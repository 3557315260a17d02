//! Nodes of one cluster that configure a topic differently notice, and say so.

use std::collections::{BTreeMap, VecDeque};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use parking_lot::Mutex;

use super::{
    Inner,
    control::{GREETING, TOPICS, frame},
    settle::{Debt, Settled},
};
use crate::{
    backend::NodeId,
    topic::{TopicConfig, TopicPattern},
};

/// How many other nodes are remembered that this one has compared itself with.
const MAX_NODES: usize = 256;

/// How long a frame with configurations gets.
const MAX_FRAME: usize = 48 << 10;

/// Under which name the configuration goes of topics that no pattern matches.
const DEFAULT: &str = "(default)";

/// How this node is configured, as others are told, and with whom it has compared itself.
pub(crate) struct Agreement {
    configs: BTreeMap<String, String>,
    digest: u64,
    met: Mutex<VecDeque<NodeId>>,
}

/// One pattern that two nodes configure differently.
#[derive(Debug, PartialEq, Eq)]
struct Difference {
    pattern: String,
    here: String,
    there: String,
}

impl Agreement {
    pub(super) fn new<'a>(
        configs: impl Iterator<Item = (&'a TopicPattern, &'a TopicConfig)>,
        default: &TopicConfig,
    ) -> Self {
        let configs = configs.map(|(pattern, config)| (pattern.as_str().to_owned(), config.to_string()));
        let configs: BTreeMap<_, _> = configs.chain([(DEFAULT.to_owned(), default.to_string())]).collect();
        let mut digest = Fnv::new();
        for (pattern, config) in &configs {
            digest.add(pattern);
            digest.add(config);
        }
        Self { configs, digest: digest.0, met: Mutex::default() }
    }

    fn has_met(&self, node: NodeId) -> bool {
        self.met.lock().contains(&node)
    }

    /// True the first time.
    fn meets(&self, node: NodeId) -> bool {
        let mut met = self.met.lock();
        if met.contains(&node) {
            return false;
        }
        if met.len() >= MAX_NODES {
            met.pop_front();
        }
        met.push_back(node);
        true
    }

    /// Whether an answer is wanted (u8), whether these are all (u8), and of each configuration its pattern and its
    /// text, each with its length before it (u16, big-endian).
    fn topics(&self, wants_answer: bool) -> Bytes {
        let mut texts = BytesMut::new();
        let mut is_all = true;
        for text in self.configs.iter().flat_map(|(pattern, config)| [pattern, config]) {
            texts.put_u16(u16::try_from(text.len()).unwrap_or(u16::MAX));
            texts.put_slice(text.as_bytes());
        }
        if texts.len() > MAX_FRAME {
            (texts, is_all) = (BytesMut::new(), false);
        }
        let mut body = BytesMut::new();
        body.put_u8(wants_answer.into());
        body.put_u8(is_all.into());
        body.put(texts);
        frame(TOPICS, &body)
    }

    fn differences(&self, theirs: &BTreeMap<String, String>) -> Vec<Difference> {
        let patterns = self.configs.keys().chain(theirs.keys().filter(|p| !self.configs.contains_key(*p)));
        let text = |configs: &BTreeMap<String, String>, pattern: &String| {
            configs.get(pattern).cloned().unwrap_or_else(|| "not configured".to_owned())
        };
        let pairs = patterns.map(|pattern| Difference {
            pattern: pattern.clone(),
            here: text(&self.configs, pattern),
            there: text(theirs, pattern),
        });
        pairs.filter(|difference| difference.here != difference.there).collect()
    }
}

impl Inner {
    /// Tells all others how this node is configured, in short.
    pub(super) async fn greet(&self) -> Settled {
        if self.capabilities.inline {
            return Settled::Done;
        }
        self.send_control(None, frame(GREETING, &self.agreement.digest.to_be_bytes())).await
    }

    /// Tells one other node how this one is configured, in full.
    pub(super) async fn introduce(&self, to: NodeId, wants_answer: bool) -> Settled {
        self.send_control(Some(to), self.agreement.topics(wants_answer)).await
    }

    pub(super) fn hear_greeting(&self, from: NodeId, mut body: Bytes) {
        if body.try_get_u64().is_ok_and(|digest| digest != self.agreement.digest)
            && !self.agreement.has_met(from)
        {
            self.owe(Debt::Introduction(from, true));
        }
    }

    pub(super) fn hear_topics(&self, from: NodeId, body: Bytes) {
        let Some((wants_answer, theirs)) = read_topics(body) else { return };
        if wants_answer {
            self.owe(Debt::Introduction(from, false));
        }
        if !self.agreement.meets(from) {
            return;
        }
        let Some(theirs) = theirs else {
            tracing::warn!(target: "fanfare::config", node = %from, "another node configures its topics differently");
            return;
        };
        for Difference { pattern, here, there } in self.agreement.differences(&theirs) {
            tracing::warn!(
                target: "fanfare::config", node = %from, pattern, here, there,
                "another node configures these topics differently"
            );
        }
    }
}

/// Whether an answer is wanted, and the configurations, if these are all. `None` where the bytes say neither.
fn read_topics(mut body: Bytes) -> Option<(bool, Option<BTreeMap<String, String>>)> {
    let (wants_answer, is_all) = (body.try_get_u8().ok()? == 1, body.try_get_u8().ok()? == 1);
    if !is_all {
        return Some((wants_answer, None));
    }
    let mut configs = BTreeMap::new();
    while !body.is_empty() {
        let pattern = read_text(&mut body)?;
        configs.insert(pattern, read_text(&mut body)?);
    }
    Some((wants_answer, Some(configs)))
}

/// A text that may go into a log.
fn read_text(body: &mut Bytes) -> Option<String> {
    let length = usize::from(body.try_get_u16().ok()?);
    if body.len() < length {
        return None;
    }
    let text = body.split_to(length);
    let text = std::str::from_utf8(&text).ok()?;
    (!text.contains(char::is_control)).then(|| text.to_owned())
}

/// FNV-1a with 64 bits: the same on every node, and no secret.
struct Fnv(u64);

impl Fnv {
    fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn add(&mut self, text: &str) {
        for byte in text.bytes().chain([0]) {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agreement(topics: &[(&str, TopicConfig)]) -> Agreement {
        let patterns: Vec<_> =
            topics.iter().map(|(pattern, config)| (TopicPattern::new(pattern).unwrap(), config)).collect();
        Agreement::new(patterns.iter().map(|(pattern, config)| (pattern, *config)), &TopicConfig::new())
    }

    #[test]
    fn nodes_agree_whatever_the_order_and_name_what_differs() {
        let (a, b) = (TopicConfig::new().history(5), TopicConfig::new().queue_messages(9));
        let here = agreement(&[("a", a.clone()), ("b", b.clone())]);
        assert_eq!(here.digest, agreement(&[("b", b.clone()), ("a", a.clone())]).digest);
        let there = agreement(&[("a", a.clone().history(6)), ("c", b.clone())]);
        assert_ne!(here.digest, there.digest);
        let mut body = there.topics(true);
        body.advance(2);
        let (wants_answer, theirs) = read_topics(body).unwrap();
        assert!(wants_answer);
        let differences = here.differences(&theirs.unwrap());
        let named: Vec<_> = differences.iter().map(|d| (&*d.pattern, &*d.here, &*d.there)).collect();
        let (five, six, nine) = (a.to_string(), a.history(6).to_string(), b.to_string());
        let none = "not configured";
        assert_eq!(named, [("a", &*five, &*six), ("b", &nine, none), ("c", none, &nine)]);
        assert!(here.differences(&here.configs).is_empty());
    }

    #[test]
    fn a_frame_that_is_cut_short_says_nothing() {
        let body = agreement(&[("a", TopicConfig::new())]).topics(false).slice(2..);
        assert!(read_topics(body.clone()).is_some());
        for end in 3..body.len() {
            // At the end of a pair there is no telling.
            if let Some((_, Some(configs))) = read_topics(body.slice(..end)) {
                assert!(configs.len() < 2, "{end}");
            }
        }
    }

    #[test]
    fn what_is_too_long_for_a_frame_is_not_said_in_full() {
        let config = TopicConfig::new();
        let names: Vec<_> = (0..2000).map(|n| format!("topic.{n}")).collect();
        let topics: Vec<_> = names.iter().map(|name| (name.as_str(), config.clone())).collect();
        let frame = agreement(&topics).topics(true);
        assert!(frame.len() < 100);
        assert_eq!(read_topics(frame.slice(2..)), Some((true, None)));
    }
}
