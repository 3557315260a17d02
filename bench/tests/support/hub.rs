//! Topics and their subscribers, and what goes wrong with a message.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

/// What happens to the fifth message of each topic, for the topic's first subscriber.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fault {
    None,
    Lose,
    LoseAndTell,
    Double,
    /// It is sent after the sixth.
    Swap,
    /// Another topic's first subscriber gets it too.
    Misroute,
    Disconnect,
    /// The publish is answered with an error.
    Refuse,
}

/// What a subscriber's connection is to send.
#[derive(Clone, Debug)]
pub(super) enum Item {
    Message(String),
    Close,
}

#[derive(Clone)]
pub(super) struct Hub {
    fault: Fault,
    /// How a subscriber is told that it lost a message.
    gap: &'static str,
    topics: Arc<Mutex<HashMap<String, Topic>>>,
}

#[derive(Default)]
struct Topic {
    published: u32,
    held: Option<Item>,
    subscribers: Vec<mpsc::Sender<Item>>,
}

impl Hub {
    pub(super) fn new(fault: Fault, gap: &'static str) -> Self {
        Self { fault, gap, topics: Arc::default() }
    }

    pub(super) fn subscribe(&self, topic: &str, subscriber: &mpsc::Sender<Item>) {
        self.topics.lock().unwrap().entry(topic.to_owned()).or_default().subscribers.push(subscriber.clone());
    }

    /// Hands out a message as it is to be sent; whether it was taken.
    pub(super) fn publish(&self, name: &str, message: String) -> bool {
        let mut topics = self.topics.lock().unwrap();
        let others: Vec<_> = topics
            .iter()
            .filter(|(other, _)| *other != name)
            .map(|(_, topic)| topic.subscribers[0].clone())
            .collect();
        let topic = topics.entry(name.to_owned()).or_default();
        topic.published += 1;
        let fault = if topic.published == 5 { self.fault } else { Fault::None };
        if fault == Fault::Refuse {
            return false;
        }
        let message = Item::Message(message);
        for (at, subscriber) in topic.subscribers.iter().enumerate() {
            let send = |item: Item| {
                let sent = subscriber.try_send(item);
                assert!(!matches!(sent, Err(TrySendError::Full(_))), "the test publishes too much");
            };
            match if at == 0 { fault } else { Fault::None } {
                Fault::Lose => {}
                Fault::LoseAndTell => send(Item::Message(self.gap.into())),
                Fault::Double => {
                    send(message.clone());
                    send(message.clone());
                }
                Fault::Swap => topic.held = Some(message.clone()),
                Fault::Misroute => {
                    send(message.clone());
                    others[0].try_send(message.clone()).unwrap();
                }
                Fault::Disconnect => send(Item::Close),
                Fault::None | Fault::Refuse => {
                    send(message.clone());
                    if at == 0
                        && let Some(held) = topic.held.take()
                    {
                        send(held);
                    }
                }
            }
        }
        true
    }
}
