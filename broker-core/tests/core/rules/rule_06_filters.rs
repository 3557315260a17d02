//! Filters: a hidden message stays hidden, and a connection gets one copy whatever it is subscribed to.

use fanfare_core::{
    backend::memory::MemoryHub,
    publish::PublishError,
    session::{Command, PublishCommand, Start},
    topic::{OverflowPolicy, TopicConfig},
};

use crate::support::{Node, deliveries, idle, received};

fn quiet(topic: &str, payload: &str) -> Command {
    let mut publish = PublishCommand::new(topic, payload);
    publish.echo = false;
    Command::Publish(publish)
}

#[tokio::test(start_paused = true)]
async fn rule_6_except_hides_a_message_and_the_rest_of_the_batch_arrives() {
    let node = Node::start(|broker| broker).await;
    let (mut left_out, mut other) = (node.client().await, node.client().await);
    left_out.subscribe("t").await;
    other.subscribe("t").await;
    // One batch: before, hidden, after.
    node.broker.try_publish("t", "1").unwrap();
    node.broker.publish("t", "2").except(left_out.outbox.client()).try_send().unwrap();
    node.broker.try_publish("t", "3").unwrap();
    assert_eq!(left_out.read().await, ["t 1", "t 3"]);
    assert_eq!(other.read().await, ["t 1", "t 2", "t 3"]);
    assert_eq!(node.broker.stats().hidden, 1);
}

#[tokio::test(start_paused = true)]
async fn rule_6_several_may_be_left_out_in_process_subscriptions_among_them() {
    let node = Node::start(|broker| broker).await;
    let mut left_out = node.broker.subscribe("t").await.unwrap();
    let mut client = node.client().await;
    client.subscribe("t").await;
    let publish = node.broker.publish("t", "1").except(left_out.client()).except(client.outbox.client());
    publish.await.unwrap();
    node.broker.publish("t", "2").await.unwrap();
    assert_eq!(received(&mut left_out).await, ["t 2"]);
    assert_eq!(client.read().await, ["t 2"]);
}

#[tokio::test(start_paused = true)]
async fn rule_6_echo_off_hides_a_message_from_its_publisher_and_tells_the_position() {
    let node = Node::start(|broker| broker.topic("log", TopicConfig::new().history(10))).await;
    let (mut author, mut reader) = (node.client().await, node.client().await);
    author.subscribe("log").await;
    reader.subscribe("log").await;
    assert_eq!(author.call(quiet("log", "mine")).await, ["2: published #1", "log#1 hidden"]);
    assert_eq!(reader.read().await, ["log#1 mine"]);
    // Ephemeral topics have no positions to tell.
    author.subscribe("t").await;
    assert_eq!(author.call(quiet("t", "mine")).await, ["4: published"]);
}

#[tokio::test(start_paused = true)]
async fn rule_6_replay_hides_the_same() {
    let node = Node::start(|broker| broker.topic("log", TopicConfig::new().history(10))).await;
    let mut author = node.client().await;
    author.subscribe("log").await;
    author.send(quiet("log", "mine")).await.unwrap();
    author.publish("log", "ours").await;
    author.lines();
    let again = author.subscribe_from("log", Start::Earliest).await;
    assert_eq!(again, ["4: subscribed #0", "log#1 hidden", "log#2 ours", "log live #2"]);
    // Somebody else gets both.
    let mut reader = node.client().await;
    let all = reader.subscribe_from("log", Start::Earliest).await;
    assert_eq!(all, ["1: subscribed #0", "log#1 mine", "log#2 ours", "log live #2"]);
}

#[tokio::test(start_paused = true)]
async fn rule_6_a_resync_hides_the_same() {
    let config = TopicConfig::new().history(100).queue_messages(2);
    let node = Node::start(|broker| broker.topic("log", config)).await;
    let mut author = node.client().await;
    author.subscribe("log").await;
    author.wire.shut();
    for number in 1..=9 {
        let number = number.to_string();
        match number.as_str() {
            "3" | "4" | "9" => author.send(quiet("log", &number)).await.unwrap(),
            _ => drop(node.broker.publish("log", number).await.unwrap()),
        }
    }
    author.settle().await;
    author.wire.open();
    let lines = deliveries(author.read().await);
    let shown: Vec<_> = lines.iter().filter(|line| !line.contains("hidden")).cloned().collect();
    assert_eq!(shown, ["log#1 1", "log#2 2", "log#5 5", "log#6 6", "log#7 7", "log#8 8", "log live #9"]);
    assert!(lines.contains(&"log#9 hidden".to_owned()), "{lines:?}");
}

#[tokio::test(start_paused = true)]
async fn rule_6_a_connection_with_overlapping_subscriptions_gets_one_copy() {
    let node = Node::start(|broker| broker).await;
    let mut client = node.client().await;
    for topic in ["a.>", "a.b.*", "a.b.c", ">"] {
        client.subscribe(topic).await;
    }
    let report = node.broker.publish("a.b.c", "1").report().await.unwrap();
    assert_eq!((report.matched, report.delivered), (1, 1));
    assert_eq!(client.read().await, ["a.b.c 1"]);
    // By the exact one: it is exempt from what the patterns' queues do.
    client.unsubscribe("a.b.c").await;
    for (topic, left) in [("a.b.*", 3), ("a.>", 2), (">", 1)] {
        node.broker.publish("a.b.c", "2").await.unwrap();
        assert_eq!(client.read().await, ["a.b.c 2"], "{left} are left");
        client.unsubscribe(topic).await;
    }
    node.broker.publish("a.b.c", "3").await.unwrap();
    assert!(client.read().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn rule_6_the_exact_subscription_wins_and_then_the_most_specific() {
    // Which subscription delivered shows in the name under which a loss is told.
    let config = TopicConfig::new().overflow(OverflowPolicy::DropOldest);
    let limits = |broker: fanfare_core::BrokerBuilder| {
        broker.topic("a.>", config).limits(|limits| limits.queue_messages = 1)
    };
    let node = Node::start(limits).await;
    let mut client = node.client().await;
    let orders = [["a.>", "a.b", "a.*"], ["a.*", "a.>", "a.b"], ["a.b", "a.*", "a.>"]];
    for order in orders {
        for topic in order {
            client.subscribe(topic).await;
        }
        for winner in ["a.b", "a.*", "a.>"] {
            client.wire.shut();
            node.publish_numbers("a.b", 1..=3).await;
            client.settle().await;
            client.wire.open();
            let expected = [format!("{winner} gap missed=2 ?..? slow"), "a.b 3".to_owned()];
            assert_eq!(client.read().await, expected, "{order:?}");
            client.unsubscribe(winner).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn rule_6_a_message_to_several_topics_reaches_a_connection_once() {
    let node = Node::start(|broker| broker).await;
    let (mut both, mut one, mut by_pattern) = (node.client().await, node.client().await, node.client().await);
    both.subscribe("a").await;
    both.subscribe("b").await;
    one.subscribe("b").await;
    by_pattern.subscribe("*").await;
    let report = node.broker.publish("a", "1").also("b").also("c").also("a").report().await.unwrap();
    assert_eq!(report.matched, 3);
    let got = both.read().await;
    assert!(got == ["a 1"] || got == ["b 1"], "{got:?}");
    assert_eq!(one.read().await, ["b 1"]);
    assert_eq!(by_pattern.read().await.len(), 1);
    // The next one is another message.
    node.broker.publish("a", "2").await.unwrap();
    assert_eq!(both.read().await, ["a 2"]);
}

#[tokio::test(start_paused = true)]
async fn rule_6_a_message_to_several_topics_reaches_a_connection_of_another_node_once() {
    let hub = MemoryHub::new();
    let here = Node::start(|broker| broker.backend(hub.node())).await;
    let there = Node::start(|broker| broker.backend(hub.node()).shards(3)).await;
    let mut clients = Vec::new();
    for _ in 0..4 {
        let mut client = there.client().await;
        client.subscribe("a").await;
        client.subscribe("b").await;
        clients.push(client);
    }
    here.broker.publish("a", "1").also("b").await.unwrap();
    here.broker.publish("b", "2").also("a").await.unwrap();
    for client in &mut clients {
        let lines = client.read().await;
        let payloads: Vec<_> = lines.iter().map(|line| &line[2..]).collect();
        assert_eq!(payloads, ["1", "2"], "{lines:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn rule_6_several_topics_are_for_ephemeral_ones() {
    let node = Node::start(|broker| broker.topic("log", TopicConfig::new().history(10))).await;
    let mut log = node.broker.subscribe("log").await.unwrap();
    let mut other = node.broker.subscribe("t").await.unwrap();
    for publish in [node.broker.publish("t", "1").also("log"), node.broker.publish("log", "1").also("t")] {
        let refused = publish.await;
        assert!(matches!(refused, Err(PublishError::Unsupported { field: "topics", .. })), "{refused:?}");
    }
    let mut client = node.client().await;
    let topics = vec!["t".to_owned(), "log".to_owned()];
    let both = client.call(Command::Publish(PublishCommand::to_topics(topics, "1"))).await;
    assert_eq!(both, ["1: error bad_request topics"]);
    idle().await;
    assert!(received(&mut log).await.is_empty() && received(&mut other).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn rule_6_the_exclusions_travel_between_nodes_and_through_the_log() {
    let hub = MemoryHub::new();
    let logged = TopicConfig::new().history(10);
    let here = Node::start(|broker| broker.backend(hub.node()).topic("log", logged.clone())).await;
    let there = Node::start(|broker| broker.backend(hub.node()).topic("log", logged)).await;
    for topic in ["log", "t"] {
        let mut client = there.client().await;
        client.subscribe(topic).await;
        here.broker.publish(topic, "hidden from it").except(client.outbox.client()).await.unwrap();
        here.broker.publish(topic, "shown").await.unwrap();
        let lines = client.read().await;
        assert!(lines.iter().all(|line| !line.contains("from it")), "{lines:?}");
        assert!(lines.last().unwrap().ends_with("shown"));
    }
}

#[tokio::test(start_paused = true)]
async fn rule_6_what_a_subscription_by_name_had_not_sent_its_pattern_is_told() {
    let node = Node::start(|broker| broker).await;
    let mut client = node.client().await;
    client.subscribe("c.*").await;
    client.subscribe("c.a").await;
    client.wire.shut();
    node.publish_numbers("c.a", 1..=3).await;
    client.settle().await;
    assert!(client.unsubscribe("c.a").await.is_empty());
    client.wire.open();
    assert_eq!(client.read().await, ["3: unsubscribed", "c.* gap missed=3 ?..? slow"]);
    node.publish_numbers("c.a", 4..=4).await;
    assert_eq!(client.read().await, ["c.a 4"]);
}
