//! What many clients do at once costs the backend a few calls.

use fanfare_core::{message::Position, session::Start};

use super::{Two, soon};
use crate::support::{idle, received};

#[tokio::test(start_paused = true)]
async fn a_thousand_clients_that_come_back_at_once_cost_a_few_reads() {
    let two = Two::start().await;
    two.there.publish_numbers("log.a", 1..=20).await;
    let epoch = two.there.epoch("log.a").await;
    let from = Start::After(Position::new(epoch, 10));
    let subscribe = |_| {
        let subscribe = two.here.broker.subscribe("log.a").start(from);
        tokio::spawn(std::future::IntoFuture::into_future(subscribe))
    };
    for subscribed in futures_util::future::join_all((0..1000).map(subscribe)).await {
        assert_eq!(subscribed.unwrap().unwrap().outcome().recovered, Some(true));
    }
    let (subscribes, reads) = (two.faulty.calls("subscribe"), two.faulty.calls("history"));
    assert_eq!((subscribes, reads), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn on_return_each_log_is_read_once_for_all_its_subscribers() {
    let two = Two::start().await;
    let mut all = Vec::new();
    for _ in 0..200 {
        all.push(two.here.broker.subscribe("log.a").await.unwrap());
    }
    two.there.publish_numbers("log.a", 1..=1).await;
    idle().await;
    two.faulty.hub.set_connected(false);
    two.there.publish_numbers("log.a", 2..=5).await;
    two.faulty.calls("history");
    two.faulty.calls("subscribe");
    two.faulty.hub.set_connected(true);
    soon().await;
    assert_eq!((two.faulty.calls("subscribe"), two.faulty.calls("history")), (1, 1));
    for log in &mut all {
        assert_eq!(received(log).await, ["log.a#1 1", "log.a#2 2", "log.a#3 3", "log.a#4 4", "log.a#5 5"]);
    }
}

#[tokio::test(start_paused = true)]
async fn what_missed_nothing_is_not_read() {
    let two = Two::start().await;
    let _log = two.here.broker.subscribe("log.a").await.unwrap();
    two.faulty.calls("history");
    two.faulty.hub.set_connected(false);
    two.faulty.hub.set_connected(true);
    soon().await;
    assert_eq!(two.faulty.calls("history"), 0, "the answer to the renewed interest says how far the log is");
}

#[tokio::test(start_paused = true)]
async fn on_return_a_few_topics_are_settled_at_once() {
    let two = Two::start().await;
    let mut all = Vec::new();
    for number in 0..200 {
        all.push(two.here.broker.subscribe(&*format!("log.{number}")).await.unwrap());
    }
    two.faulty.hub.set_connected(false);
    two.faulty.slow("subscribe");
    two.faulty.hub.set_connected(true);
    soon().await;
    assert_eq!(two.faulty.calls("subscribe"), 400, "each once to begin with, and once more");
    let most = two.faulty.most_at_once();
    assert!((2..=16).contains(&most), "{most}");
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_comes_and_goes_is_not_asked_for_more_than_is_wanted() {
    let two = Two::start().await;
    let mut all = Vec::new();
    for number in 0..50 {
        all.push(two.here.broker.subscribe(&*format!("t.{number}")).await.unwrap());
    }
    two.faulty.calls("subscribe");
    for _ in 0..100 {
        two.faulty.hub.set_connected(false);
        two.faulty.hub.set_connected(true);
    }
    soon().await;
    let calls = two.faulty.calls("subscribe");
    assert!((50..=100).contains(&calls), "{calls}");
}

#[tokio::test(start_paused = true)]
async fn messages_of_a_log_that_is_no_more_cost_one_read_in_a_while() {
    let two = Two::start().await;
    let mut log = two.here.broker.subscribe("log.a").await.unwrap();
    two.there.publish_numbers("log.a", 1..=1).await;
    let old = two.there.epoch("log.a").await;
    idle().await;
    two.forget("log.a");
    two.there.publish_numbers("log.a", 1..=1).await;
    let got = received(&mut log).await;
    assert_eq!(got, ["log.a#1 1", "gap missed=? 1..1 epoch", "log.a#1 1"]);
    two.faulty.calls("history");
    for offset in 2..=500 {
        let place =
            fanfare_core::message::LogPlace { position: Position::new(old, offset), prev: offset - 1 };
        let parts = fanfare_core::message::MessageParts::new(crate::support::name("log.a"), "late");
        two.faulty.ingress().deliver(fanfare_core::backend::Incoming::logged(parts, place)).await;
    }
    assert_eq!(two.faulty.calls("history"), 1);
    assert!(received(&mut log).await.is_empty());
    two.there.publish_numbers("log.a", 2..=2).await;
    assert_eq!(received(&mut log).await, ["log.a#2 2"]);
}

#[tokio::test(start_paused = true)]
async fn losses_that_are_told_one_after_the_other_are_one() {
    let two = Two::start().await;
    let mut topic = two.here.broker.subscribe("t").await.unwrap();
    let mut pattern = two.here.broker.subscribe_pattern("*").await.unwrap();
    let gaps = two.here.broker.stats().gaps;
    for _ in 0..10_000 {
        two.faulty.ingress().lost(Some(&crate::support::name("t")));
    }
    assert_eq!(received(&mut topic).await, ["gap missed=? ?..? backend"]);
    assert_eq!(received(&mut pattern).await, ["gap missed=? ?..? backend"]);
    assert!(two.here.broker.stats().gaps <= gaps + 4, "{:?}", two.here.broker.stats());
}
