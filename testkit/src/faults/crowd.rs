//! A thousand clients that come back at once.

use std::fmt;

use fanfare_core::{
    Broker,
    backend::BackendState,
    message::Position,
    session::Start,
    subscription::{Delivery, Subscription},
};
use futures_util::future::join_all;
use tokio::time::timeout;

use super::{LOGGED, PATIENCE, Site, World};

/// How many clients there are.
const CLIENTS: usize = 1000;

/// How many messages they may have missed.
const MISSED: usize = 100;

/// A thousand clients of one topic on one node.
pub struct Crowd {
    clients: Vec<Subscription<str>>,
}

impl Crowd {
    /// They all were on a node that is gone, where each had got to a place of its own, and come to one that has never heard of their topic.
    /// What is between is published by another broker first; `before_they_come` is awaited then.
    ///
    /// # Panics
    ///
    /// When one of them does not go on exactly where it stopped.
    pub async fn comes<T>(
        here: &Broker,
        there: &Broker,
        before_they_come: impl Future<Output = T>,
    ) -> (Self, T) {
        let mut positions = Vec::new();
        for n in 0..MISSED {
            let published = here.publish(LOGGED, n.to_string()).await.expect("it is stored");
            positions.push(published.position.expect("a position"));
        }
        let noted = before_they_come.await;
        let clients = (0..CLIENTS).map(|n| {
            let (after, next) = (positions[n % (MISSED - 10)], positions[n % (MISSED - 10) + 1]);
            let subscribe = there.subscribe(LOGGED).start(Start::After(after)).into_future();
            async move {
                let (subscription, first) = first_of(subscribe.await.expect("a subscription")).await;
                assert_eq!(first, Some(next), "it goes on where it stopped");
                subscription
            }
        });
        (Self { clients: join_all(clients).await }, noted)
    }

    /// The server is away for a moment, and what is published then comes to each of them.
    ///
    /// # Panics
    ///
    /// When one of them misses something.
    pub async fn outlives_an_outage(self, site: &Site, there: &Broker) {
        site.proxy.reset();
        World::until_state(there, BackendState::Down).await;
        World::until_state(there, BackendState::Up).await;
        let _ = there.publish(LOGGED, "the last one").await.expect("it is stored");
        for mut subscription in self.clients {
            loop {
                let delivery = timeout(PATIENCE, subscription.recv()).await.expect("a message");
                match delivery.expect("a subscription") {
                    Delivery::Message(message)
                        if message.message().payload().as_str() == Some("the last one") =>
                    {
                        break;
                    }
                    Delivery::Gap(gap) => panic!("{gap:?}"),
                    _ => {}
                }
            }
        }
    }
}

impl fmt::Debug for Crowd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Crowd").field("clients", &self.clients.len()).finish()
    }
}

async fn first_of(mut subscription: Subscription<str>) -> (Subscription<str>, Option<Position>) {
    loop {
        match timeout(PATIENCE, subscription.recv()).await.expect("a message").expect("a subscription") {
            Delivery::Message(message) => {
                let position = message.message().position();
                return (subscription, position);
            }
            Delivery::Gap(gap) => panic!("{gap:?}"),
            _ => {}
        }
    }
}
