//! Publishing from inside: hooks and subscribers within the process cannot deadlock, however small the inboxes are.

use std::{
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use fanfare_core::{
    Broker, BrokerBuilder,
    publish::PublishError,
    session::ClientId,
    subscriber::{Batch, Notice, Offer, Subscriber, SubscriptionId},
    subscription::Delivery,
    topic::TopicConfig,
};
use tokio::time::timeout;

use crate::support::{Node, idle, received};

const SOON: Duration = Duration::from_secs(5);

/// One message at a time, in all of the broker.
fn tiny(broker: BrokerBuilder) -> BrokerBuilder {
    broker.topic("log", TopicConfig::new().history(10)).limits(|limits| {
        limits.topics_per_publish = 1;
        limits.inbox_messages = 1;
        limits.inbox_bytes = 1;
        limits.queue_messages = 1;
    })
}

#[tokio::test(start_paused = true)]
async fn a_publish_hook_may_publish() {
    let handle: Arc<OnceLock<Broker>> = Arc::default();
    let inside = handle.clone();
    let node = Node::start(|broker| {
        tiny(broker).on_publish("t", move |publish| {
            let broker = inside.get().unwrap().clone();
            async move {
                // To its own topic and to another, logged one, and waits for the fan-out.
                broker.publish("t", "from the hook").report().await.unwrap();
                broker.publish("log", "audit").report().await.unwrap();
                Ok(publish)
            }
        })
    })
    .await;
    handle.set(node.broker.clone()).unwrap();
    let mut log = node.broker.subscribe("log").await.unwrap();
    let mut client = node.client().await;
    client.subscribe("t").await;
    let lines = timeout(SOON, client.publish("t", "mine")).await.expect("no deadlock");
    let mut sorted = lines.clone();
    sorted.sort();
    assert_eq!(sorted, ["2: published", "t from the hook", "t mine"]);
    assert_eq!(received(&mut log).await, ["log#1 audit"]);
}

#[tokio::test(start_paused = true)]
async fn other_hooks_may_publish_and_subscribe() {
    let handle: Arc<OnceLock<Broker>> = Arc::default();
    let (arriving, leaving) = (handle.clone(), handle.clone());
    let node = Node::start(|broker| {
        tiny(broker)
            .on_connected(move |client| {
                let broker = arriving.get().unwrap().clone();
                async move {
                    let mut topic = broker.subscribe("lobby").await.unwrap();
                    broker.publish("lobby", format!("{} came", client.transport)).await.unwrap();
                    assert!(matches!(topic.recv().await, Some(Delivery::Message(_))));
                }
            })
            .on_disconnecting(move |_, topics, _| {
                let broker = leaving.get().unwrap().clone();
                async move {
                    for topic in topics {
                        broker.publish(topic.as_str(), "left").report().await.unwrap();
                    }
                }
            })
    })
    .await;
    handle.set(node.broker.clone()).unwrap();
    let mut lobby = node.broker.subscribe("lobby").await.unwrap();
    let mut client = timeout(SOON, node.client()).await.expect("no deadlock");
    assert_eq!(received(&mut lobby).await, ["lobby test came"]);
    client.subscribe("lobby").await;
    let session = client.into_session();
    timeout(SOON, session.close(fanfare_core::session::CloseKind::Normal.into())).await.expect("no deadlock");
    assert_eq!(received(&mut lobby).await, ["lobby left"]);
}

#[tokio::test(start_paused = true)]
async fn a_reader_may_publish_to_the_topic_that_it_reads() {
    let node = Node::start(tiny).await;
    let mut topic = node.broker.subscribe("t").await.unwrap();
    node.broker.publish("t", "0").await.unwrap();
    let talking = async {
        for number in 1..=50 {
            let Some(Delivery::Message(message)) = topic.recv().await else { panic!("no message") };
            assert_eq!(message.value.as_str(), Some((number - 1).to_string().as_str()));
            node.broker.publish("t", number.to_string()).await.unwrap();
        }
    };
    timeout(SOON, talking).await.expect("no deadlock");
}

/// Publishes, and drops a subscription, from inside of the shard.
struct Echoing {
    client: ClientId,
    broker: Broker,
    held: Mutex<Option<fanfare_core::subscription::Subscription<str>>>,
    results: Mutex<Vec<Result<(), PublishError>>>,
}

impl Subscriber for Echoing {
    fn client(&self) -> ClientId {
        self.client
    }

    fn offer(&self, batch: &Batch<'_>) -> Offer {
        drop(self.held.lock().unwrap().take());
        for topic in [batch.topic().as_str(), "log", "other"] {
            if self.results.lock().unwrap().len() < 30 {
                let result = self.broker.try_publish(topic, "echo");
                self.results.lock().unwrap().push(result);
            }
        }
        Offer::default()
    }

    fn notice(&self, _: SubscriptionId, _: Notice) {
        let _ = self.broker.try_publish("other", "notice");
    }
}

#[tokio::test(start_paused = true)]
async fn a_subscriber_may_publish_and_leave_from_inside_of_its_shard() {
    for set in [tiny, |broker| broker] {
        let node = Node::start(set).await;
        let mut log = node.broker.subscribe("log").await.unwrap();
        let echoing = Arc::new(Echoing {
            client: ClientId::random(),
            broker: node.broker.clone(),
            held: Mutex::new(Some(node.broker.subscribe("t").await.unwrap())),
            results: Mutex::default(),
        });
        let feed = node.broker.subscribe("t").feed(echoing.clone(), SubscriptionId(0)).await.unwrap();
        node.broker.publish("t", "1").await.unwrap();
        timeout(SOON, idle()).await.expect("no deadlock");
        let results = std::mem::take(&mut *echoing.results.lock().unwrap());
        assert!(results.len() >= 3);
        // Where there is no permit it is told so, and nothing waits.
        assert!(
            results.iter().all(|result| matches!(result, Ok(()) | Err(PublishError::Busy))),
            "{results:?}"
        );
        assert!(results.iter().any(Result::is_ok));
        drop(feed);
        let _ = received(&mut log).await;
        drop(log);
        idle().await;
        let stats = node.broker.stats();
        assert_eq!((stats.subscriptions, stats.shard_depths), (0, vec![0]));
        // The broker and its subscriber hold each other no longer.
        node.broker.publish("t", "still alive").await.unwrap();
    }
}
