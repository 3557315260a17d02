//! Gaps: what is missing is read again, and what cannot be is told at the place of the loss.

use std::sync::Arc;

use fanfare_core::{
    Broker,
    backend::{
        Incoming, NodeId, Origin,
        memory::{HubNode, MemoryHub},
    },
    message::MessageParts,
    policy::Open,
    subscription::Subscription,
    topic::{OverflowPolicy, TopicConfig},
};

use crate::support::{Handle, Node, Remote, idle, name, received};

async fn remote_log() -> (Arc<Remote>, Node) {
    let remote = Remote::new();
    let backend = Handle(remote.clone());
    let config = TopicConfig::new().history(100);
    (remote, Node::start(|broker| broker.backend(backend).topic("log", config)).await)
}

/// The same with somebody who reads it.
async fn remote_log_and_reader() -> (Arc<Remote>, Node, Subscription<str>) {
    let (remote, node) = remote_log().await;
    let log = node.broker.subscribe("log").await.unwrap();
    (remote, node, log)
}

#[tokio::test(start_paused = true)]
async fn rule_7_a_hole_is_read_from_the_backend_and_fills_in_order() {
    let (remote, node, mut log) = remote_log_and_reader().await;
    node.publish_numbers("log", 1..=1).await;
    idle().await;
    for number in 2..=4 {
        remote.store("log", &number.to_string());
    }
    let fifth = remote.store("log", "5");
    remote.ingress().deliver(fifth).await;
    assert_eq!(received(&mut log).await, ["log#1 1", "log#2 2", "log#3 3", "log#4 4", "log#5 5"]);
    assert_eq!(node.broker.stats().backfills, 1);
    assert_eq!(node.broker.stats().gaps, 0);
}

#[tokio::test(start_paused = true)]
async fn rule_7_repeats_are_dropped() {
    let (remote, _node, mut log) = remote_log_and_reader().await;
    let (first, second) = (remote.store("log", "1"), remote.store("log", "2"));
    let ingress = remote.ingress();
    for incoming in [&first, &second, &first, &second, &second] {
        ingress.deliver(incoming.clone()).await;
    }
    assert_eq!(received(&mut log).await, ["log#1 1", "log#2 2"]);
}

#[tokio::test(start_paused = true)]
async fn rule_7_a_hole_that_the_backend_cannot_fill_is_told_before_what_follows() {
    let (remote, node, mut log) = remote_log_and_reader().await;
    node.publish_numbers("log", 1..=1).await;
    idle().await;
    remote.store("log", "2");
    remote.store("log", "3");
    let fourth = remote.store("log", "4");
    remote.evict("log", 3);
    remote.ingress().deliver(fourth).await;
    assert_eq!(received(&mut log).await, ["log#1 1", "gap missed=2 1..4 backend", "log#4 4"]);
}

#[tokio::test(start_paused = true)]
async fn rule_7_what_went_while_the_backend_was_away_is_told_though_nothing_follows() {
    let (remote, node, mut log) = remote_log_and_reader().await;
    let mut pattern = node.broker.subscribe_pattern("*").await.unwrap();
    node.publish_numbers("log", 1..=1).await;
    assert_eq!(received(&mut log).await, ["log#1 1"]);
    assert_eq!(received(&mut pattern).await, ["log#1 1"]);
    remote.go_down();
    for number in 2..=4 {
        remote.store("log", &number.to_string());
    }
    remote.evict("log", 4);
    remote.come_up();
    assert_eq!(received(&mut log).await, ["gap missed=3 1..? backend"]);
    let told = received(&mut pattern).await;
    assert!(!told.is_empty() && told.iter().all(|told| told.starts_with("gap")), "{told:?}");
    // Who comes now, and who comes back, hears of it where it has missed something.
    let mut late = node.broker.subscribe("log").await.unwrap();
    let fifth = remote.store("log", "5");
    remote.ingress().deliver(fifth).await;
    assert_eq!(received(&mut log).await, ["log#5 5"], "the gap is told once");
    assert_eq!(received(&mut pattern).await, ["log#5 5"]);
    assert_eq!(received(&mut late).await, ["log#5 5"]);
}

#[tokio::test(start_paused = true)]
async fn rule_7_a_message_that_the_log_has_lost_already_comes_all_the_same() {
    let (remote, node, mut log) = remote_log_and_reader().await;
    node.publish_numbers("log", 1..=1).await;
    idle().await;
    remote.store("log", "2");
    let third = remote.store("log", "3");
    remote.evict("log", 3);
    remote.ingress().deliver(third).await;
    assert_eq!(received(&mut log).await, ["log#1 1", "gap missed=1 1..3 backend", "log#3 3"]);
}

#[tokio::test(start_paused = true)]
async fn rule_7_a_message_that_comes_while_a_hole_is_filled_keeps_its_place() {
    let (remote, _node, mut log) = remote_log_and_reader().await;
    remote.store("log", "1");
    let second = remote.store("log", "2");
    remote.reads.shut();
    let ingress = remote.ingress();
    let filling = tokio::spawn(async move { ingress.deliver(second).await });
    idle().await;
    remote.store("log", "3");
    remote.reads.open();
    filling.await.unwrap();
    let fourth = remote.store("log", "4");
    remote.ingress().deliver(fourth).await;
    assert_eq!(received(&mut log).await, ["log#1 1", "log#2 2", "log#3 3", "log#4 4"]);
}

#[tokio::test(start_paused = true)]
async fn rule_7_what_a_logged_topic_missed_while_the_backend_was_away_is_read_on_return() {
    let (remote, node, mut log) = remote_log_and_reader().await;
    node.publish_numbers("log", 1..=1).await;
    idle().await;
    remote.go_down();
    for number in 2..=4 {
        remote.store("log", &number.to_string());
    }
    remote.come_up();
    assert_eq!(received(&mut log).await, ["log#1 1", "log#2 2", "log#3 3", "log#4 4"], "no gap");
}

#[tokio::test(start_paused = true)]
async fn rule_7_what_a_backend_reports_as_lost_is_read_again_or_told() {
    let (remote, node, mut log) = remote_log_and_reader().await;
    let mut ephemeral = node.broker.subscribe("t").await.unwrap();
    let mut other = node.broker.subscribe("u").await.unwrap();
    node.publish_numbers("log", 1..=1).await;
    idle().await;
    remote.store("log", "2");
    remote.ingress().lost(Some(&name("log")));
    assert_eq!(received(&mut log).await, ["log#1 1", "log#2 2"]);
    remote.ingress().lost(Some(&name("t")));
    assert_eq!(received(&mut ephemeral).await, ["gap missed=? ?..? backend"]);
    assert!(received(&mut other).await.is_empty());
    remote.store("log", "3");
    remote.ingress().lost(None);
    assert_eq!(received(&mut log).await, ["log#3 3"]);
    assert_eq!(received(&mut ephemeral).await, ["gap missed=? ?..? backend"]);
    assert_eq!(received(&mut other).await, ["gap missed=? ?..? backend"]);
}

#[tokio::test(start_paused = true)]
async fn rule_7_a_pattern_is_told_of_what_a_backend_reports_as_lost_on_one_topic() {
    let (remote, node) = remote_log().await;
    let mut pattern = node.broker.subscribe_pattern("*").await.unwrap();
    for topic in ["t", "log"] {
        remote.ingress().lost(Some(&name(topic)));
        assert_eq!(received(&mut pattern).await, ["gap missed=? ?..? backend"], "{topic}");
    }
}

fn from(node: u64, stream: u64, seq: u64) -> Incoming {
    let origin = Origin { node: NodeId::new(node), stream, seq };
    Incoming::ephemeral(MessageParts::new(name("t"), format!("{node}-{seq}")), origin)
}

#[tokio::test(start_paused = true)]
async fn rule_7_holes_in_another_nodes_numbers_are_counted() {
    let (remote, node) = remote_log().await;
    let mut topic = node.broker.subscribe("t").await.unwrap();
    let ingress = remote.ingress();
    // The first that is heard of a node may be any.
    for incoming in
        [from(1, 1, 7), from(2, 1, 3), from(1, 1, 8), from(1, 1, 12), from(2, 1, 4), from(2, 1, 6)]
    {
        ingress.deliver(incoming).await;
    }
    let expected = [
        "t 1-7",
        "t 2-3",
        "t 1-8",
        "gap missed=3 ?..? backend",
        "t 1-12",
        "t 2-4",
        "gap missed=1 ?..? backend",
        "t 2-6",
    ];
    assert_eq!(received(&mut topic).await, expected);
    // Repeats are dropped; a new stream begins anew.
    ingress.deliver(from(1, 1, 12)).await;
    ingress.deliver(from(1, 2, 1)).await;
    ingress.deliver(from(1, 2, 2)).await;
    assert_eq!(received(&mut topic).await, ["t 1-1", "t 1-2"]);
}

#[tokio::test(start_paused = true)]
async fn rule_7_a_pattern_learns_of_holes_between_nodes_too() {
    let (remote, node) = remote_log().await;
    let mut pattern = node.broker.subscribe_pattern("*").await.unwrap();
    let ingress = remote.ingress();
    for incoming in [from(1, 1, 1), from(1, 1, 4)] {
        ingress.deliver(incoming).await;
    }
    assert_eq!(received(&mut pattern).await, ["t 1-1", "gap missed=2 ?..? backend", "t 1-4"]);
}

#[tokio::test(start_paused = true)]
async fn rule_7_what_an_outage_took_is_told_before_what_comes_at_its_very_end() {
    let (remote, node) = remote_log().await;
    let ingress = remote.ingress();
    let mut topic = node.broker.subscribe("t").await.unwrap();
    let mut pattern = node.broker.subscribe_pattern("*").await.unwrap();
    ingress.deliver(from(1, 1, 1)).await;
    remote.go_down();
    idle().await;
    // Interests are renewed already, and the backend is about to say that it is up.
    ingress.deliver(remote.store("log", "2")).await;
    assert_eq!(received(&mut pattern).await, ["t 1-1", "gap missed=? ?..? backend", "log#1 2"]);
    for incoming in [from(1, 1, 2), from(2, 1, 15), from(2, 1, 16)] {
        ingress.deliver(incoming).await;
    }
    let told = ["t 1-2", "gap missed=? ?..? backend", "t 2-15", "t 2-16"];
    assert_eq!(received(&mut pattern).await, told);
    assert_eq!(received(&mut topic).await, [&["t 1-1"][..], &told].concat());
    remote.come_up();
    idle().await;
    assert_eq!(received(&mut topic).await, ["gap missed=? ?..? backend"]);
}

#[tokio::test(start_paused = true)]
async fn rule_7_a_node_that_was_cut_off_finds_out_on_return() {
    let hub = MemoryHub::new();
    let cut: Arc<HubNode> = Arc::new(hub.node());
    let logged = TopicConfig::new().history(100);
    let here = Node::start(|b| b.backend(Handle(cut.clone())).topic("log", logged.clone())).await;
    let there = Node::start(|b| b.backend(hub.node()).topic("log", logged)).await;
    let mut log = here.broker.subscribe("log").await.unwrap();
    let mut ephemeral = here.broker.subscribe("t").await.unwrap();
    there.publish_numbers("log", 1..=1).await;
    there.publish_numbers("t", 1..=1).await;
    idle().await;
    cut.set_connected(false);
    there.publish_numbers("log", 2..=4).await;
    there.publish_numbers("t", 2..=4).await;
    idle().await;
    cut.set_connected(true);
    idle().await;
    there.publish_numbers("log", 5..=5).await;
    there.publish_numbers("t", 5..=5).await;
    assert_eq!(received(&mut log).await, ["log#1 1", "log#2 2", "log#3 3", "log#4 4", "log#5 5"]);
    assert_eq!(received(&mut ephemeral).await, ["t 1", "gap missed=? ?..? backend", "t 5"]);
}

#[tokio::test(start_paused = true)]
async fn rule_7_what_a_node_could_not_carry_others_learn_by_the_next_message() {
    let hub = MemoryHub::new();
    let cut: Arc<HubNode> = Arc::new(hub.node());
    let here = Node::start(|broker| broker.backend(Handle(cut.clone()))).await;
    let there = Node::start(|broker| broker.backend(hub.node())).await;
    let mut topic = there.broker.subscribe("t").await.unwrap();
    here.publish_numbers("t", 1..=1).await;
    cut.set_connected(false);
    for number in 2..=4 {
        assert!(here.broker.publish("t", number.to_string()).await.is_err());
    }
    cut.set_connected(true);
    here.publish_numbers("t", 5..=5).await;
    assert_eq!(received(&mut topic).await, ["t 1", "gap missed=3 ?..? backend", "t 5"]);
}

#[tokio::test(start_paused = true)]
async fn rule_7_what_a_node_could_not_carry_it_says_when_it_is_back() {
    let hub = MemoryHub::new();
    let cut: Arc<HubNode> = Arc::new(hub.node());
    let here = Node::start(|broker| broker.backend(Handle(cut.clone()))).await;
    let there = Node::start(|broker| broker.backend(hub.node())).await;
    let mut topic = there.broker.subscribe("t").await.unwrap();
    here.publish_numbers("t", 1..=1).await;
    cut.set_connected(false);
    assert!(here.broker.publish("t", "2").await.is_err());
    cut.set_connected(true);
    // Nobody publishes again: the loss must not stay unknown.
    assert_eq!(received(&mut topic).await, ["t 1", "gap missed=1 ?..? backend"]);
}

#[tokio::test(start_paused = true)]
async fn rule_7_losses_merge_into_one_gap_at_their_place() {
    let config = TopicConfig::new().overflow(OverflowPolicy::DropNewest).queue_messages(2);
    let node = Node::start(|broker| broker.topic("t", config)).await;
    let mut topic = node.broker.subscribe("t").await.unwrap();
    node.publish_numbers("t", 1..=10).await;
    idle().await;
    assert_eq!(received(&mut topic).await, ["t 1", "t 2", "gap missed=8 ?..? slow"]);
    node.publish_numbers("t", 11..=11).await;
    assert_eq!(received(&mut topic).await, ["t 11"]);
    // Dropping the oldest puts the loss in front.
    let mut oldest = node.broker.subscribe("t").overflow(OverflowPolicy::DropOldest).await.unwrap();
    node.publish_numbers("t", 12..=20).await;
    idle().await;
    assert_eq!(received(&mut oldest).await, ["gap missed=7 ?..? slow", "t 19", "t 20"]);
}

#[tokio::test(start_paused = true)]
async fn rule_7_a_gap_on_a_log_names_the_positions_around_it() {
    let config = TopicConfig::new().history(100).overflow(OverflowPolicy::DropOldest).queue_messages(2);
    let node = Node::start(|broker| broker.topic("log", config)).await;
    let mut client = node.client().await;
    client.subscribe("log").await;
    node.publish_numbers("log", 1..=3).await;
    client.read().await;
    client.wire.shut();
    node.publish_numbers("log", 4..=9).await;
    client.settle().await;
    client.wire.open();
    assert_eq!(client.read().await, ["log gap missed=4 3..8 slow", "log#8 8", "log#9 9"]);
}

#[tokio::test(start_paused = true)]
async fn rule_7_who_subscribed_before_the_backend_had_started_is_told_and_gets_what_comes_after() {
    let remote = Remote::new();
    remote.starts.shut();
    let broker = Broker::builder().policy(Open).shards(1).backend(Handle(remote.clone()));
    let node = Node::of(broker.start_degraded().unwrap());
    idle().await;
    let mut topic = node.broker.subscribe("t").await.unwrap();
    let mut pattern = node.broker.subscribe_pattern("p.*").await.unwrap();
    remote.calls();
    remote.starts.open();
    idle().await;
    assert_eq!(remote.calls(), ["subscribe p.*", "subscribe t"], "what failed before is asked for again");
    assert_eq!(received(&mut topic).await, ["gap missed=? ?..? backend"]);
    assert_eq!(received(&mut pattern).await, ["gap missed=? ?..? backend"]);
}

#[tokio::test(start_paused = true)]
async fn a_broker_whose_backend_never_starts_ends_with_its_last_handle() {
    let remote = Remote::new();
    remote.starts.shut();
    let broker = Broker::builder().policy(Open).backend(Handle(remote.clone())).start_degraded().unwrap();
    idle().await;
    drop(broker);
    idle().await;
    assert_eq!(Arc::strong_count(&remote), 1, "nothing of the broker is left");
}
