//! Fairness: a shard serves its topics in turn, in slices.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use fanfare_core::{
    session::ClientId,
    subscriber::{Batch, Notice, Offer, Subscriber, SubscriptionId},
    subscription::Feed,
};

use crate::support::{Node, idle};

/// Counts what it is offered, on a clock that all share: the number of offers so far.
struct Counting {
    client: ClientId,
    clock: Arc<AtomicUsize>,
    offers: Mutex<Vec<usize>>,
}

impl Counting {
    fn new(clock: &Arc<AtomicUsize>) -> Arc<Self> {
        Arc::new(Self { client: ClientId::random(), clock: clock.clone(), offers: Mutex::default() })
    }
}

impl Subscriber for Counting {
    fn client(&self) -> ClientId {
        self.client
    }

    fn offer(&self, batch: &Batch<'_>) -> Offer {
        let now = self.clock.fetch_add(1, Ordering::Relaxed);
        self.offers.lock().unwrap().push(now);
        let mut offer = Offer::default();
        offer.delivered = batch.messages().len() as u32;
        offer
    }

    fn notice(&self, _: SubscriptionId, _: Notice) {}
}

/// A topic with so many subscribers that one message takes many turns, and the clock of their offers.
async fn crowd() -> (Node, Arc<AtomicUsize>, Vec<Feed>) {
    let node = Node::start(|broker| broker).await;
    let clock = Arc::new(AtomicUsize::new(0));
    let mut feeds = Vec::new();
    for _ in 0..10_000 {
        let subscribe = node.broker.subscribe("busy");
        feeds.push(subscribe.feed(Counting::new(&clock), SubscriptionId(0)).await.unwrap());
    }
    (node, clock, feeds)
}

#[tokio::test(start_paused = true)]
async fn rule_8_a_saturated_topic_does_not_starve_another() {
    let (node, clock, mut feeds) = crowd().await;
    let calm = Counting::new(&clock);
    feeds.push(node.broker.subscribe("calm").feed(calm.clone(), SubscriptionId(0)).await.unwrap());
    idle().await;
    // `busy` always has something to fan out: its publisher never waits longer than for a permit.
    let saturating = tokio::spawn({
        let broker = node.broker.clone();
        async move {
            for _ in 0..200 {
                broker.publish("busy", "x").await.unwrap();
                tokio::task::yield_now().await;
            }
        }
    });
    for _ in 0..20 {
        tokio::task::yield_now().await;
        let published_at = clock.load(Ordering::Relaxed);
        let report = node.broker.publish("calm", "y").report().await.unwrap();
        assert_eq!(report.delivered, 1);
        let offered_at = *calm.offers.lock().unwrap().last().unwrap();
        let waited = offered_at - published_at;
        assert!(waited <= 2 * 256, "{waited} offers of the busy topic went first");
    }
    assert!(!saturating.is_finished(), "the busy topic was busy all the time");
    saturating.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn rule_8_subscribing_does_not_wait_for_a_topics_turn_to_end() {
    let (node, clock, mut feeds) = crowd().await;
    idle().await;
    node.broker.try_publish("busy", "1").unwrap();
    while clock.load(Ordering::Relaxed) == 0 {
        tokio::task::yield_now().await;
    }
    // In the middle of the turn one comes and one goes.
    let before = node.broker.stats().subscriptions;
    let mut late = node.broker.subscribe("busy").await.unwrap();
    for _ in 0..3 {
        tokio::task::yield_now().await;
    }
    assert_eq!(node.broker.stats().subscriptions, before + 1);
    drop(feeds.pop());
    for _ in 0..3 {
        tokio::task::yield_now().await;
    }
    assert_eq!(node.broker.stats().subscriptions, before);
    assert!(clock.load(Ordering::Relaxed) < 9_000, "the turn is still on");
    idle().await;
    assert_eq!(clock.load(Ordering::Relaxed), 9_999, "all but the one that went were offered it once");
    assert!(late.try_recv().is_none(), "what comes to the late one begins after the turn");
    node.broker.publish("busy", "2").await.unwrap();
    idle().await;
    assert!(late.try_recv().is_some());
}

#[tokio::test(start_paused = true)]
async fn rule_8_an_offer_that_blocks_is_counted() {
    struct Slow(ClientId);
    impl Subscriber for Slow {
        fn client(&self) -> ClientId {
            self.0
        }
        fn offer(&self, _: &Batch<'_>) -> Offer {
            let begun = std::time::Instant::now();
            while begun.elapsed() < std::time::Duration::from_millis(6) {
                std::hint::spin_loop();
            }
            Offer::default()
        }
        fn notice(&self, _: SubscriptionId, _: Notice) {}
    }
    let node = Node::start(|broker| broker).await;
    let slow = Arc::new(Slow(ClientId::random()));
    let _feed = node.broker.subscribe("t").feed(slow, SubscriptionId(0)).await.unwrap();
    node.broker.publish("t", "1").await.unwrap();
    idle().await;
    assert_eq!(node.broker.stats().slow_offers, 1);
}
