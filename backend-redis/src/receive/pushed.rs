//! What a server pushes: told apart, decoded, and given on.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use fanfare_core::{
    backend::{NodeId, blocks::Inbox, envelope::Envelope},
    topic::TopicName,
};
use parking_lot::Mutex;
use tokio::{sync::watch, time::Instant};

use super::{Control, Interests};
use crate::{
    names::{Channel, Names, unescape},
    wire::{Confirm, Pushes, Subscribing},
};

/// How many messages to several topics are remembered, so that their copies are known.
const COPIES: usize = 4096;

/// How often it is said that somebody else uses our channels.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// Takes what servers push.
pub(crate) struct Pushed {
    node: NodeId,
    is_cluster: bool,
    names: Arc<Names>,
    interests: Arc<Interests>,
    inbox: Arc<Inbox>,
    copies: Mutex<Copies>,
    /// The highest number that came back of those this node sent itself, by server.
    pub(crate) probed: watch::Sender<HashMap<u32, u64>>,
    /// Channels that servers have given up without having been asked, and word that there are some.
    pub(crate) given_up: Mutex<Vec<Arc<str>>>,
    pub(crate) moved: watch::Sender<()>,
    foreign: AtomicU64,
    warned: Mutex<Option<Instant>>,
}

#[derive(Default)]
struct Copies {
    seen: HashSet<(u64, u64, u64)>,
    by_age: VecDeque<(u64, u64, u64)>,
}

impl Pushed {
    pub(crate) fn new(
        is_cluster: bool,
        names: Arc<Names>,
        interests: Arc<Interests>,
        inbox: Arc<Inbox>,
    ) -> Self {
        Self {
            node: inbox.node(),
            is_cluster,
            names,
            interests,
            inbox,
            copies: Mutex::default(),
            probed: watch::Sender::default(),
            given_up: Mutex::default(),
            moved: watch::Sender::default(),
            foreign: AtomicU64::new(0),
            warned: Mutex::default(),
        }
    }

    /// How many bytes came that were none of ours: messages.
    pub(crate) fn foreign(&self) -> u64 {
        self.foreign.load(Ordering::Relaxed)
    }

    fn topic(&self, topic: &TopicName, payload: Vec<u8>) {
        let envelope = match Envelope::decode(payload.into()) {
            Ok(envelope) if names(&envelope).any(|name| name == topic) => envelope,
            Ok(_) => return self.warn_of(topic, "a message of another topic"),
            Err(error) => return self.warn_of(topic, &error.to_string()),
        };
        if envelope.place.is_none() && envelope.origin.node == self.node {
            return;
        }
        if envelope.also.is_empty() {
            return self.inbox.deliver_now(envelope.into_incoming());
        }
        if !self.is_cluster {
            if self.copies.lock().is_first(&envelope) {
                self.inbox.deliver_now(envelope.into_incoming());
            }
            return;
        }
        // The copies come from several servers, between which there is no order: each counts for the topic it came by.
        let mut incoming = envelope.into_incoming();
        let also = std::mem::take(&mut incoming.also);
        if let Some((name, origin)) = also.into_iter().find(|(name, _)| name == topic) {
            (incoming.message.topic, incoming.origin) = (name, Some(origin));
        }
        self.inbox.deliver_now(incoming);
    }

    /// Somebody else writes to our channels, or a newer node. It may have been a message: that is said, too.
    fn warn_of(&self, topic: &TopicName, what: &str) {
        self.warn(topic.as_str(), what);
        self.inbox.lost(Some(topic));
    }

    fn warn(&self, channel: &str, what: &str) {
        let count = self.foreign.fetch_add(1, Ordering::Relaxed) + 1;
        let mut warned = self.warned.lock();
        if warned.is_none_or(|at| at.elapsed() >= WARN_EVERY) {
            *warned = Some(Instant::now());
            tracing::warn!(
                target: "fanfare::redis", channel, count, what,
                "bytes that are none of ours came on our channels: does another program use the prefix?"
            );
        }
    }

    fn control(&self, channel: &str, payload: Vec<u8>) {
        match Control::parse(payload.into()) {
            Some(Control::Frame(from, frame)) if from != self.node => self.inbox.control(from, frame),
            Some(Control::Probe(from, server, number)) if from == self.node => {
                self.probed.send_modify(|probed| {
                    let highest = probed.entry(server).or_default();
                    *highest = number.max(*highest);
                });
            }
            Some(_) => {}
            None => self.warn(channel, "neither a control frame nor a probe"),
        }
    }
}

impl Pushes for Pushed {
    fn message(&self, pattern: Option<&str>, channel: &str, payload: Vec<u8>) {
        match self.names.channel(channel) {
            Channel::Topic(escaped) => {
                let Some(topic) = unescape(escaped) else { return self.warn(channel, "no topic") };
                if self.interests.takes(channel, pattern, &topic) {
                    self.topic(&topic, payload);
                }
            }
            Channel::Control => self.control(channel, payload),
            Channel::Foreign => self.warn(channel, "no channel of ours"),
        }
    }

    fn confirmed(&self, confirm: &Confirm, asked: bool) {
        match confirm.what {
            Subscribing::Channel(on) | Subscribing::Shard(on) => self.interests.channel(&confirm.channel, on),
            Subscribing::Pattern(on) => self.interests.glob(&confirm.channel, on),
        }
        if !asked && confirm.what == Subscribing::Shard(false) {
            self.given_up.lock().push(confirm.channel.clone());
            self.moved.send_replace(());
        }
    }
}

fn names(envelope: &Envelope) -> impl Iterator<Item = &TopicName> {
    std::iter::once(&envelope.message.topic).chain(envelope.also.iter().map(|(name, _)| name))
}

impl Copies {
    fn is_first(&mut self, envelope: &Envelope) -> bool {
        let origin = envelope.origin;
        let copy = (origin.node.value(), origin.stream, origin.seq);
        if !self.seen.insert(copy) {
            return false;
        }
        self.by_age.push_back(copy);
        if self.by_age.len() > COPIES
            && let Some(oldest) = self.by_age.pop_front()
        {
            self.seen.remove(&oldest);
        }
        true
    }
}
