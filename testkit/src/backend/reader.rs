//! What a subscriber of a whole node gets.

use std::time::Duration;

use fanfare_core::{
    Broker,
    message::{Gap, Payload, Position},
    session::Start,
    subscription::{Delivery, Subscription},
};
use tokio::time::timeout;

/// A subscriber that remembers everything, with a queue that is long enough.
pub(crate) struct Reader {
    subscription: Subscription<str>,
    pub(crate) got: Vec<Got>,
    patience: Duration,
}

/// One thing that a subscriber got.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Got {
    Message(String, Option<Position>),
    Gap(Gap),
    Live,
}

impl Reader {
    pub(crate) async fn subscribe(broker: &Broker, topic: &str, patience: Duration) -> Self {
        Self::starting(broker, topic, Start::Live, patience).await
    }

    pub(crate) async fn starting(broker: &Broker, topic: &str, start: Start, patience: Duration) -> Self {
        let subscribe = broker.subscribe(topic).start(start).queue_messages(1 << 20);
        let subscription = timeout(patience, subscribe.into_future()).await;
        let subscription = subscription.unwrap_or_else(|_| panic!("subscribing to {topic} hangs"));
        let subscription = subscription.unwrap_or_else(|error| panic!("subscribing to {topic}: {error:?}"));
        Self { subscription, got: Vec::new(), patience }
    }

    /// Whether all that was missed will come.
    pub(crate) fn recovered(&self) -> Option<bool> {
        self.subscription.outcome().recovered
    }

    pub(crate) fn position(&self) -> Option<Position> {
        self.subscription.outcome().position
    }

    /// Reads until something has come.
    pub(crate) async fn until(&mut self, what: &str, wanted: impl Fn(&[Got]) -> bool) {
        while !wanted(&self.got) {
            self.read(what).await;
        }
    }

    /// Reads until a message of this text comes.
    pub(crate) async fn until_text(&mut self, text: &str) {
        let what = format!("{text:?} has to be delivered");
        let mut looked_at = 0;
        while !self.got[looked_at..].iter().any(|got| got.text() == Some(text)) {
            looked_at = self.got.len();
            self.read(&what).await;
        }
    }

    async fn read(&mut self, what: &str) {
        match timeout(self.patience, self.subscription.recv()).await {
            Ok(Some(delivery)) => self.got.push(got(delivery)),
            Ok(None) => panic!("{what}: the subscription has ended"),
            Err(_) => {
                let (count, last) = (self.got.len(), &self.got[self.got.len().saturating_sub(10)..]);
                panic!(
                    "{what}: nothing for {:?}; {count} things have come, the last are {last:?}",
                    self.patience
                );
            }
        }
    }

    /// Takes what is here already.
    pub(crate) fn take(&mut self) {
        while let Some(delivery) = self.subscription.try_recv() {
            self.got.push(got(delivery));
        }
    }

    pub(crate) fn texts(&self) -> Vec<&str> {
        self.got.iter().filter_map(Got::text).collect()
    }

    pub(crate) fn gaps(&self) -> Vec<&Gap> {
        let gaps = self.got.iter().filter_map(|got| if let Got::Gap(gap) = got { Some(gap) } else { None });
        gaps.collect()
    }

    /// Positions ascend, and nothing comes twice.
    pub(crate) fn check_order(&self) {
        let mut last: Option<Position> = None;
        for got in &self.got {
            if let Got::Message(text, Some(position)) = got {
                let follows = last.is_none_or(|last| last.epoch != position.epoch || last < *position);
                assert!(follows, "{text:?} at {position} comes after {last:?}");
                last = Some(*position);
            }
        }
        let mut texts = self.texts();
        let count = texts.len();
        texts.sort_unstable();
        texts.dedup();
        assert_eq!(texts.len(), count, "messages are delivered twice");
    }
}

impl Got {
    pub(crate) fn text(&self) -> Option<&str> {
        if let Self::Message(text, _) = self { Some(text) } else { None }
    }
}

fn got(delivery: Delivery<Payload>) -> Got {
    match delivery {
        Delivery::Message(message) => {
            Got::Message(message.value.as_str().unwrap_or("(binary)").to_owned(), message.position())
        }
        Delivery::Gap(gap) => Got::Gap(gap),
        Delivery::Live(_) => Got::Live,
        other => panic!("unexpected: {other:?}"),
    }
}
