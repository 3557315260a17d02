//! What takes long is not taken for news: answers of a backend, and deliveries, that are overtaken by what came meanwhile.

use std::sync::Arc;

use fanfare_core::{session::Start, topic::TopicConfig};

use crate::support::{Handle, Node, Remote, idle, name, received};

async fn remote_log() -> (Arc<Remote>, Node) {
    let remote = Remote::new();
    let backend = Handle(remote.clone());
    let config = TopicConfig::new().history(100);
    (remote, Node::start(|broker| broker.backend(backend).topic("log.*", config)).await)
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_took_long_does_not_bring_back_a_log_that_was_replaced() {
    let (remote, node) = remote_log().await;
    let mut log = node.broker.subscribe("log.a").await.unwrap();
    node.publish_numbers("log.a", 1..=1).await;
    idle().await;
    remote.go_down();
    remote.subscribes.shut();
    remote.come_up();
    idle().await;
    // The interest is renewed, in the old log; before the answer comes, that one has gone.
    remote.lose("log.a");
    let first = remote.store("log.a", "new");
    remote.ingress().deliver(first).await;
    idle().await;
    remote.subscribes.open();
    idle().await;
    let second = remote.store("log.a", "newer");
    remote.ingress().deliver(second).await;
    let expected = ["log.a#1 1", "gap missed=? 1..1 epoch", "log.a#1 new", "log.a#2 newer"];
    assert_eq!(received(&mut log).await, expected);
}

#[tokio::test(start_paused = true)]
async fn a_page_that_took_long_does_not_bring_back_a_log_that_was_replaced() {
    let (remote, node) = remote_log().await;
    let mut log = node.broker.subscribe("log.a").await.unwrap();
    node.publish_numbers("log.a", 1..=1).await;
    idle().await;
    // The log is replaced twice; of the first time only a page tells, and late.
    remote.lose("log.a");
    remote.store("log.a", "never seen");
    remote.reads.shut();
    remote.ingress().lost(Some(&name("log.a")));
    idle().await;
    remote.lose("log.a");
    remote.reads.open();
    remote.reads.shut();
    let last = remote.store("log.a", "last");
    let ingress = remote.ingress();
    let delivering = tokio::spawn(async move { ingress.deliver(last).await });
    idle().await;
    remote.reads.open();
    delivering.await.unwrap();
    let expected = ["log.a#1 1", "gap missed=? 1..1 epoch", "log.a#1 last"];
    assert_eq!(received(&mut log).await, expected);
}

#[tokio::test(start_paused = true)]
async fn who_begins_in_a_log_has_nothing_to_do_with_those_before_it() {
    let (remote, node) = remote_log().await;
    let mut first = node.broker.subscribe("log.a").await.unwrap();
    // The shard comes to none of this before the second subscription is there.
    for payload in ["one", "two"] {
        remote.lose("log.a");
        let message = remote.store("log.a", payload);
        remote.ingress().deliver(message).await;
    }
    let mut second = node.broker.subscribe("log.a").await.unwrap();
    assert_eq!(second.outcome().position.unwrap().offset, 1);
    idle().await;
    let next = remote.store("log.a", "three");
    remote.ingress().deliver(next).await;
    assert_eq!(received(&mut second).await, ["log.a#2 three"], "it begins after the first message");
    let seen = received(&mut first).await;
    assert_eq!(seen[seen.len() - 2..], ["log.a#1 two", "log.a#2 three"]);
}

#[tokio::test(start_paused = true)]
async fn a_loss_that_is_told_while_a_tail_is_filled_is_read() {
    let (remote, node) = remote_log().await;
    remote.store("log.a", "1");
    remote.reads.shut();
    let subscribing = tokio::spawn(node.broker.subscribe("log.a").start(Start::Earliest).into_future());
    idle().await;
    remote.ingress().lost(Some(&name("log.a")));
    remote.reads.let_through();
    idle().await;
    // An empty page is on its way; what is lost now is not in it.
    remote.store("log.a", "2");
    remote.ingress().lost(Some(&name("log.a")));
    remote.reads.open();
    let mut log = subscribing.await.unwrap().unwrap();
    assert_eq!(received(&mut log).await, ["log.a#1 1", "log.a#2 2", "live #2"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_read_for_somebody_who_has_gone_does_not_come_after_the_word_of_a_later_loss() {
    let (remote, node) = remote_log().await;
    let by_name = node.broker.subscribe("log.a").await.unwrap();
    let mut pattern = node.broker.subscribe_pattern("log.*").await.unwrap();
    node.publish_numbers("log.a", 1..=1).await;
    idle().await;
    remote.store("log.a", "2");
    remote.reads.shut();
    remote.ingress().lost(Some(&name("log.a")));
    idle().await;
    drop(by_name);
    idle().await;
    remote.go_down();
    remote.store("log.a", "3");
    remote.come_up();
    idle().await;
    remote.reads.open();
    idle().await;
    assert_eq!(received(&mut pattern).await, ["log.a#1 1", "gap missed=? ?..? backend"]);
}

#[tokio::test(start_paused = true)]
async fn what_a_pattern_has_got_does_not_come_again_when_nobody_is_subscribed_by_name_any_more() {
    let (remote, node) = remote_log().await;
    let by_name = node.broker.subscribe("log.a").await.unwrap();
    let mut pattern = node.broker.subscribe_pattern("log.*").await.unwrap();
    node.publish_numbers("log.a", 1..=1).await;
    idle().await;
    let (_second, third, _fourth) =
        (remote.store("log.a", "2"), remote.store("log.a", "3"), remote.store("log.a", "4"));
    remote.evict("log.a", 3);
    remote.reads.shut();
    // One reads what follows, the other one waits for that, and then reads itself.
    remote.ingress().lost(Some(&name("log.a")));
    idle().await;
    let ingress = remote.ingress();
    let delivering = tokio::spawn(async move { ingress.deliver(third).await });
    idle().await;
    remote.reads.let_through();
    idle().await;
    drop(by_name);
    idle().await;
    remote.reads.open();
    delivering.await.unwrap();
    let seen = received(&mut pattern).await;
    assert_eq!(seen[..3], ["log.a#1 1", "gap missed=2 1..4 backend", "log.a#4 4"]);
    assert!(seen[3..].iter().all(|delivery| delivery.starts_with("gap")), "{seen:?}");
}
