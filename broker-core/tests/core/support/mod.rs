//! A node, a client that reads text, a socket that takes what it is allowed to, a backend that does as it is told.

mod backend;
mod client;
mod faulty;
mod lines;
mod wire;

use std::{sync::Arc, time::Duration};

pub(crate) use backend::{Handle, Remote};
pub(crate) use client::TestClient;
use fanfare_core::{
    Broker, BrokerBuilder, ConnectError,
    message::{Epoch, Format, Position},
    policy::Open,
    session::Handshake,
    subscription::{Delivery, Subscription},
    topic::TopicName,
};
pub(crate) use faulty::Faulty;
pub(crate) use lines::{Lines, deliveries};
pub(crate) use wire::TestWire;

/// Lets every task run until all of them wait: under paused time the clock moves only then.
pub(crate) async fn idle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

/// Polls a future once: true when it has to wait.
pub(crate) fn waits(future: &mut (impl Future + Unpin)) -> bool {
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    std::pin::Pin::new(future).poll(&mut cx).is_pending()
}

/// A broker with the wire format of these tests.
#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) broker: Broker,
    pub(crate) format: Format,
}

impl Node {
    /// A broker with one shard that lets everybody do everything, unless `set` says otherwise.
    pub(crate) async fn start(set: impl FnOnce(BrokerBuilder) -> BrokerBuilder) -> Self {
        Self::of(set(Broker::builder().policy(Open).shards(1)).start().await.unwrap())
    }

    pub(crate) fn of(broker: Broker) -> Self {
        let format = broker.register(Arc::new(Lines)).unwrap();
        Self { broker, format }
    }

    pub(crate) async fn client(&self) -> TestClient {
        self.connect(Handshake::new("test")).await.unwrap()
    }

    pub(crate) async fn connect(&self, handshake: Handshake) -> Result<TestClient, ConnectError> {
        TestClient::connect(&self.broker, handshake, &self.format).await
    }

    /// Publishes one message after the other, named by their numbers.
    pub(crate) async fn publish_numbers(&self, topic: &str, numbers: std::ops::RangeInclusive<u64>) {
        for number in numbers {
            self.broker.publish(topic, number.to_string()).await.unwrap();
        }
    }

    /// The epoch of a logged topic.
    pub(crate) async fn epoch(&self, topic: &str) -> Epoch {
        self.broker.subscribe(topic).await.unwrap().outcome().position.unwrap().epoch
    }

    /// A place in a logged topic.
    pub(crate) async fn at(&self, topic: &str, offset: u64) -> Position {
        Position::new(self.epoch(topic).await, offset)
    }
}

pub(crate) fn name(topic: &str) -> TopicName {
    TopicName::new(topic).unwrap()
}

/// What an in-process subscription has got, in the words in which a client would read it.
pub(crate) async fn received(subscription: &mut Subscription<str>) -> Vec<String> {
    let mut all = Vec::new();
    loop {
        idle().await;
        let before = all.len();
        while let Some(delivery) = subscription.try_recv() {
            all.push(said(&delivery));
        }
        if all.len() == before {
            return all;
        }
    }
}

fn said(delivery: &Delivery<fanfare_core::message::Payload>) -> String {
    match delivery {
        Delivery::Message(message) => lines::message(message.message()),
        Delivery::Gap(gap) => lines::gap(gap),
        Delivery::Live(position) => format!("live #{}", position.offset),
        other => format!("{other:?}"),
    }
}
