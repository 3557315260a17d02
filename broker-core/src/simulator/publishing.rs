//! What the app publishes, and what has been accepted.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use futures_util::FutureExt;
use tokio::time::Instant;

use super::{
    direct::{Addressed, USERS},
    frames::Flag,
    reader::Reader,
    truth::Sent,
    world::{TOPICS, World, pick},
};
use crate::{
    backend::HistoryQuery, message::Payload, publish::PublishError, session::ClientId, topic::TopicName,
};

type Publishing = Pin<Box<dyn Future<Output = Result<(), PublishError>>>>;

/// A publish of the app that may have to wait.
pub(super) struct Publisher {
    pub(super) future: Publishing,
    pub(super) sending: Option<Sending>,
    pub(super) flag: Arc<Flag>,
}

/// A message that is on its way to be accepted.
pub(super) struct Sending {
    pub(super) topics: Vec<&'static str>,
    /// Addresses.
    pub(super) to: Vec<String>,
    pub(super) sent: Sent,
}

impl Sending {
    /// All that it is published to.
    pub(super) fn names(&self) -> Vec<String> {
        self.topics.iter().map(|&name| name.to_owned()).chain(self.to.iter().cloned()).collect()
    }
}

impl World {
    pub(super) fn message(&mut self) -> (Payload, Sending) {
        self.next_uid += 1;
        let length = match self.rng.u8(..10) {
            0 if self.large => self.rng.usize(8..40_000),
            0..3 => self.rng.usize(8..300),
            _ => 8,
        };
        let mut bytes = vec![0; length];
        bytes[..8].copy_from_slice(&self.next_uid.to_be_bytes());
        let ids: Vec<ClientId> = self.clients.iter().map(|client| client.view.client).collect();
        let ids: Vec<ClientId> =
            ids.into_iter().chain(self.readers.iter().filter_map(Reader::client)).collect();
        let mut except = Vec::new();
        if !ids.is_empty() && self.rng.u8(..6) == 0 {
            except.push(pick(&mut self.rng, &ids));
            except.push(pick(&mut self.rng, &ids));
        }
        let mut topics = vec![pick(&mut self.rng, &TOPICS)];
        if topics[0].starts_with('e') && self.rng.u8(..6) == 0 {
            let first = topics[0];
            topics.extend(TOPICS[..3].iter().filter(|name| **name != first));
            topics.truncate(self.rng.usize(2..=3));
        }
        let to = self.addresses(&mut topics);
        let key = (self.rng.u8(..3) > 0).then(|| self.rng.u8(..3));
        let sent = Sent {
            uid: self.next_uid,
            key,
            except,
            several: topics.len() + to.len() > 1,
            weight: length + usize::from(key.is_some()),
            at: Instant::now(),
        };
        (Payload::binary(bytes), Sending { topics, to, sent })
    }

    /// Sometimes addresses, beside ephemeral topics or in their place.
    fn addresses(&mut self, topics: &mut Vec<&'static str>) -> Vec<String> {
        if self.rng.u8(..4) > 0 {
            return Vec::new();
        }
        topics.retain(|name| name.starts_with('e'));
        topics.truncate(self.rng.usize(..=1));
        let users = USERS.map(|user| format!("$user.{user}"));
        let clients = self.clients.iter().map(|client| format!("$client.{}", client.view.client));
        let mut all: Vec<_> = clients.chain(users).chain(["$all".to_owned()]).collect();
        self.rng.shuffle(&mut all);
        all.truncate(self.rng.usize(1..=2));
        all
    }

    pub(super) fn publish(&mut self) {
        if self.publishers.len() >= 6 {
            return self.poll_publisher(false);
        }
        let (payload, sending) = self.message();
        let names = sending.names();
        let mut publish = self.broker.publish(names[0].as_str(), payload);
        if let Some(key) = sending.sent.key {
            publish = publish.key(key.to_string());
        }
        publish = sending.sent.except.iter().fold(publish, |publish, client| publish.except(*client));
        publish = names[1..].iter().fold(publish, |publish, topic| publish.also(topic.as_str()));
        let future: Publishing = if self.rng.bool() {
            Box::pin(async move { publish.await.map(drop) })
        } else {
            Box::pin(async move { publish.report().await.map(drop) })
        };
        self.publishers.push(Publisher { future, sending: Some(sending), flag: Flag::raised() });
        self.poll_publisher(false);
    }

    pub(super) fn poll_publisher(&mut self, woken: bool) {
        if self.publishers.is_empty() {
            return;
        }
        let index = self.rng.usize(..self.publishers.len());
        self.poll_publisher_at(index, woken);
    }

    /// False when it was not polled.
    pub(super) fn poll_publisher_at(&mut self, index: usize, woken: bool) -> bool {
        let publisher = &mut self.publishers[index];
        if !publisher.flag.lower() && woken {
            return false;
        }
        let waker = Waker::from(publisher.flag.clone());
        let polled = publisher.future.as_mut().poll(&mut Context::from_waker(&waker));
        let accepted = self.accepted();
        if accepted > 0 {
            let sending = self.publishers[index].sending.take();
            self.accept(sending.unwrap_or_else(|| panic!("a message is accepted twice")));
        }
        if let Poll::Ready(result) = polled {
            result.unwrap_or_else(|error| panic!("{error}"));
            let publisher = self.publishers.swap_remove(index);
            assert!(publisher.sending.is_none(), "published, but not accepted");
        }
        true
    }

    /// How many messages were accepted since the last call.
    pub(super) fn accepted(&mut self) -> u64 {
        let now = self.broker.inner().totals.published.get();
        now - std::mem::replace(&mut self.published, now)
    }

    pub(super) fn accept(&mut self, sending: Sending) {
        note!(self, "accepted on {:?}: {:?}", sending.names(), sending.sent);
        if !sending.to.is_empty() {
            let Sent { uid, ref except, .. } = sending.sent;
            let by_topics = !sending.topics.is_empty();
            let addressed = Addressed { uid, to: sending.to, except: except.clone(), by_topics };
            self.truth.addressed.push(addressed);
        }
        for name in sending.topics {
            let index = self.truth.index(name);
            let sent = Sent { at: Instant::now(), ..sending.sent.clone() };
            self.truth.accept(index, sent);
            self.learn_epoch(index);
        }
    }

    pub(super) fn learn_epoch(&mut self, index: usize) {
        let topic = &mut self.truth.topics[index];
        if topic.retains.is_some() && topic.epoch.is_none() {
            let name = TopicName::new(topic.name).unwrap_or_else(|error| panic!("{error}"));
            let page = self.broker.inner().backend.history(&name, HistoryQuery::Latest).now_or_never();
            topic.epoch = page.and_then(Result::ok).map(|page| page.epoch);
        }
    }
}
