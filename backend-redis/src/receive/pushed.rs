//! What a server pushes: told apart, decoded, and given on.

use std::{collections::HashMap, sync::Arc};

use fanfare_core::{
    backend::{
        NodeId,
        blocks::{Copies, Foreign, Inbox},
        envelope::Envelope,
    },
    topic::TopicName,
};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::{Control, Interests};
use crate::{
    names::{Channel, Names, unescape},
    wire::{Confirm, Pushes, Subscribing},
};

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
    foreign: Foreign,
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
            foreign: Foreign::new(),
        }
    }

    /// How many bytes came that were none of ours: messages.
    pub(crate) fn foreign(&self) -> u64 {
        self.foreign.count()
    }

    fn topic(&self, topic: &TopicName, payload: Vec<u8>) {
        let envelope = match Envelope::decode(payload.into()) {
            Ok(envelope) if envelope.is_for(topic) => envelope,
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
            if self.copies.lock().is_first(envelope.origin) {
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
        if let Some(count) = self.foreign.came() {
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
