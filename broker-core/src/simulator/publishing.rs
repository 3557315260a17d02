//! What the app publishes, and what has been accepted.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use futures_util::FutureExt;
use tokio::time::Instant;

use super::{
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
    pub(super) sent: Sent,
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
        let key = (self.rng.u8(..3) > 0).then(|| self.rng.u8(..3));
        let sent = Sent {
            uid: self.next_uid,
            key,
            except,
            several: topics.len() > 1,
            weight: length + usize::from(key.is_some()),
            at: Instant::now(),
        };
        (Payload::binary(bytes), Sending { topics, sent })
    }

    pub(super) fn publish(&mut self) {
        if self.publishers.len() >= 6 {
            return self.poll_publisher(false);
        }
        let (payload, sending) = self.message();
        let mut publish = self.broker.publish(sending.topics[0], payload);
        if let Some(key) = sending.sent.key {
            publish = publish.key(key.to_string());
        }
        publish = sending.sent.except.iter().fold(publish, |publish, client| publish.except(*client));
        publish = sending.topics[1..].iter().fold(publish, |publish, topic| publish.also(*topic));
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
        note!(self, "accepted on {:?}: {:?}", sending.topics, sending.sent);
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
