//! What is dropped leaves nothing behind.

use fanfare_core::{session::Start, topic::TopicConfig};

use crate::support::{Handle, Node, Remote, idle, received, waits};

fn logged() -> TopicConfig {
    TopicConfig::new().history(10)
}

async fn remote() -> (std::sync::Arc<Remote>, Node) {
    let remote = Remote::new();
    let backend = Handle(remote.clone());
    (remote, Node::start(|broker| broker.backend(backend).topic("log", logged())).await)
}

fn nothing_is_left(node: &Node) {
    let stats = node.broker.stats();
    assert_eq!((stats.subscriptions, stats.topics, stats.queued), (0, 0, 0), "{stats:?}");
}

#[tokio::test(start_paused = true)]
async fn a_subscription_that_was_never_polled_does_nothing() {
    let (remote, node) = remote().await;
    drop(node.broker.subscribe("t").into_future());
    drop(node.broker.subscribe_pattern("t.*"));
    idle().await;
    nothing_is_left(&node);
    assert!(remote.calls().is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_picture_counts_the_subscriptions_of_each_topic() {
    let (_remote, node) = remote().await;
    let topics = || {
        let mut topics: Vec<_> =
            node.broker.topics().into_iter().map(|t| (t.topic.to_string(), t.subscribers)).collect();
        topics.sort();
        topics
    };
    let first = node.broker.subscribe("a").await.unwrap();
    let second = node.broker.subscribe("a").await.unwrap();
    let _third = node.broker.subscribe("log").await.unwrap();
    let _pattern = node.broker.subscribe_pattern("a").await.unwrap();
    assert_eq!(topics(), [("a".to_owned(), 2), ("log".to_owned(), 1)]);
    drop(first);
    idle().await;
    assert_eq!(topics(), [("a".to_owned(), 1), ("log".to_owned(), 1)]);
    drop(second);
    idle().await;
    assert_eq!(topics(), [("log".to_owned(), 1)]);
}

#[tokio::test(start_paused = true)]
async fn a_subscribe_that_is_dropped_while_the_backend_answers_leaves_nothing() {
    for topic in ["t", "log"] {
        let (remote, node) = remote().await;
        remote.subscribes.shut();
        let mut subscribe = node.broker.subscribe(topic).into_future();
        assert!(waits(&mut subscribe));
        drop(subscribe);
        remote.subscribes.open();
        idle().await;
        nothing_is_left(&node);
        assert_eq!(remote.calls(), [format!("subscribe {topic}"), format!("unsubscribe {topic}")]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_subscribe_that_is_dropped_while_the_log_is_read_leaves_nothing() {
    let (remote, node) = remote().await;
    remote.reads.shut();
    let mut subscribe = node.broker.subscribe("log").start(Start::Earliest).into_future();
    assert!(waits(&mut subscribe));
    drop(subscribe);
    remote.reads.open();
    idle().await;
    nothing_is_left(&node);
    // The next one begins anew.
    node.broker.publish("log", "1").await.unwrap();
    let mut log = node.broker.subscribe("log").start(Start::Earliest).await.unwrap();
    assert_eq!(received(&mut log).await, ["log#1 1", "live #1"]);
}

#[tokio::test(start_paused = true)]
async fn a_pattern_whose_subscribe_is_dropped_leaves_nothing() {
    let (remote, node) = remote().await;
    remote.subscribes.shut();
    let mut subscribe = node.broker.subscribe_pattern("p.*").into_future();
    assert!(waits(&mut subscribe));
    drop(subscribe);
    remote.subscribes.open();
    idle().await;
    nothing_is_left(&node);
    assert_eq!(remote.calls(), ["subscribe p.*", "unsubscribe p.*"]);
}

#[tokio::test(start_paused = true)]
async fn who_waits_beside_a_subscribe_that_is_dropped_is_subscribed_all_the_same() {
    for topic in ["t", "log", "p.*"] {
        let (remote, node) = remote().await;
        remote.subscribes.shut();
        let subscribe = || match topic.contains('*') {
            true => node.broker.subscribe_pattern(topic).into_future(),
            false => node.broker.subscribe(topic).into_future(),
        };
        let (mut first, mut second) = (subscribe(), subscribe());
        assert!(waits(&mut first));
        assert!(waits(&mut second), "{topic}");
        drop(first);
        remote.subscribes.open();
        let _second = second.await.unwrap();
        idle().await;
        let calls = remote.calls();
        let last = calls.iter().rfind(|call| call.ends_with(&format!("subscribe {topic}"))).unwrap();
        assert_eq!(last, &format!("subscribe {topic}"), "{calls:?}");
        assert!(
            calls.iter().filter(|call| *call == last).count() == 2,
            "the first call told nobody: {calls:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_subscribe_that_fails_leaves_nothing() {
    let (remote, node) = remote().await;
    remote.go_down();
    assert!(node.broker.subscribe("log").await.is_err());
    assert!(node.broker.subscribe("t").start(Start::Earliest).await.is_err());
    idle().await;
    nothing_is_left(&node);
}

#[tokio::test(start_paused = true)]
async fn a_subscription_that_is_dropped_leaves_its_topic() {
    let node = Node::start(|broker| broker.topic("log", logged())).await;
    for topic in ["t", "log"] {
        let mut subscription = node.broker.subscribe(topic).await.unwrap();
        node.broker.publish(topic, "1").await.unwrap();
        node.broker.publish(topic, "2").await.unwrap();
        idle().await;
        assert_eq!(node.broker.stats().queued, 2);
        assert!(subscription.try_recv().is_some());
        drop(subscription);
        idle().await;
        nothing_is_left(&node);
    }
    assert_eq!(node.broker.stats().discarded, 2);
}

#[tokio::test(start_paused = true)]
async fn a_subscription_that_is_dropped_before_its_shard_has_seen_it_leaves_nothing() {
    let node = Node::start(|broker| broker).await;
    let subscription = node.broker.subscribe("t").await.unwrap();
    drop(subscription);
    idle().await;
    nothing_is_left(&node);
    assert_eq!(node.broker.publish("t", "1").report().await.unwrap().matched, 0);
}

#[tokio::test(start_paused = true)]
async fn recv_that_is_dropped_loses_nothing() {
    let node = Node::start(|broker| broker).await;
    let mut subscription = node.broker.subscribe("t").await.unwrap();
    {
        let mut recv = std::pin::pin!(subscription.recv());
        assert!(waits(&mut recv));
    }
    node.publish_numbers("t", 1..=2).await;
    idle().await;
    {
        let _never_polled = subscription.recv();
    }
    assert_eq!(received(&mut subscription).await, ["t 1", "t 2"]);
}

#[tokio::test(start_paused = true)]
async fn a_connect_that_is_dropped_leaves_no_connection() {
    struct Slow;
    #[async_trait::async_trait]
    impl fanfare_core::policy::Policy for Slow {
        async fn connect(
            &self,
            _: &fanfare_core::session::Handshake,
        ) -> Result<fanfare_core::policy::Admission, fanfare_core::session::Refusal> {
            std::future::pending().await
        }
        fn authorize<'a>(
            &'a self,
            _: &'a fanfare_core::policy::Identity,
            _: fanfare_core::policy::Action<'a>,
        ) -> fanfare_core::policy::Verdict<'a> {
            fanfare_core::policy::Verdict::allow()
        }
    }
    let node = Node::start(|broker| broker.policy(Slow)).await;
    {
        let mut connect = Box::pin(node.connect(fanfare_core::session::Handshake::new("test")));
        assert!(waits(&mut connect));
        assert_eq!(node.broker.stats().connections, 1);
    }
    assert_eq!(node.broker.stats().connections, 0);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_dropped_leaves_nothing() {
    let node = Node::start(|broker| broker.topic("log", logged())).await;
    let mut client = node.client().await;
    for topic in ["t", "log", "p.*"] {
        client.subscribe(topic).await;
    }
    client.wire.shut();
    node.publish_numbers("t", 1..=3).await;
    idle().await;
    drop(client);
    idle().await;
    nothing_is_left(&node);
    assert_eq!(node.broker.stats().connections, 0);
}
