//! Every limit that the core keeps: the code, the field, the limit and the value.

use std::{net::IpAddr, num::NonZeroU32, time::Duration};

use fanfare_core::{
    ConnectError, Limits,
    session::{
        Command, CommandError, ErrorCode, Handshake, HistoryCommand, PublishCommand, Start, SubscribeCommand,
    },
    topic::TopicConfig,
};

use crate::support::{Node, idle};

async fn limited(set: impl FnOnce(&mut Limits)) -> Node {
    Node::start(|broker| broker.limits(set).topic("log", TopicConfig::new().history(100))).await
}

fn one() -> NonZeroU32 {
    NonZeroU32::MIN
}

fn history(topic: &str) -> Command {
    Command::History(HistoryCommand::newest(topic))
}

#[tokio::test(start_paused = true)]
async fn a_message_may_be_as_long_as_the_limit_of_the_broker_and_of_its_topic() {
    let node = Node::start(|broker| {
        broker
            .limits(|limits| limits.max_message = 100)
            .topic("short", TopicConfig::new().max_message(10))
            .topic("long", TopicConfig::new().max_message(1000))
    })
    .await;
    let mut client = node.client().await;
    for (topic, limit) in [("any", 100), ("short", 10), ("long", 100)] {
        let fits = client.publish(topic, &"x".repeat(limit)).await;
        assert!(fits[0].ends_with(": published"), "{topic}: {fits:?}");
        let over = client.publish(topic, &"x".repeat(limit + 1)).await;
        assert!(
            over[0].ends_with(&format!(": error too_large data {}>{limit}", limit + 1)),
            "{topic}: {over:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn labels_have_a_limit_and_no_control_characters() {
    let node = limited(|limits| limits.max_label = 8).await;
    let mut client = node.client().await;
    let with = |field: &str, label: &str| {
        let mut publish = PublishCommand::new("log", "x");
        let label = Some(label.to_owned());
        match field {
            "event" => publish.event = label,
            "key" => publish.key = label,
            _ => publish.message_id = label,
        }
        Command::Publish(publish)
    };
    for (number, field) in ["event", "key", "message_id"].into_iter().enumerate() {
        let first = 3 * number + 1;
        assert!(client.call(with(field, "12345678")).await[0].contains("published"));
        let long = client.call(with(field, "123456789")).await;
        assert_eq!(long, [format!("{}: error too_large {field} 9>8", first + 1)]);
        let control = client.call(with(field, "a\nb")).await;
        assert_eq!(control, [format!("{}: error bad_request {field}", first + 2)]);
    }
    assert_eq!(client.call(with("event", "$gap")).await, ["10: error bad_request event"]);
}

#[tokio::test(start_paused = true)]
async fn a_connection_has_so_many_subscriptions() {
    let node = limited(|limits| limits.subscriptions_per_connection = 2).await;
    let mut client = node.client().await;
    client.subscribe("a").await;
    client.subscribe("b.*").await;
    assert_eq!(client.subscribe("c").await, ["3: error limit_exceeded topic 3>2"]);
    assert_eq!(client.subscribe("a").await, ["4: subscribed"], "it is one of the two");
    client.unsubscribe("a").await;
    assert_eq!(client.subscribe("c").await, ["6: subscribed"]);
    assert_eq!(node.broker.stats().subscriptions, 2);
}

#[tokio::test(start_paused = true)]
async fn a_connect_command_cannot_pass_the_limit_of_subscriptions() {
    let node = limited(|limits| limits.subscriptions_per_connection = 3).await;
    let connect = |topics: &[&str]| {
        let mut connect = fanfare_core::session::ConnectCommand::default();
        connect.subscribe = topics.iter().map(|topic| SubscribeCommand::live(*topic)).collect();
        Command::Connect(connect)
    };
    let mut client = node.client().await;
    let over = client.call(connect(&["a", "b", "c", "d"])).await;
    assert_eq!(over, ["1: error limit_exceeded subscribe 4>3"]);

    let mut client = node.client().await;
    client.subscribe("x").await;
    client.subscribe("y").await;
    let lines = client.call(connect(&["a", "b"])).await;
    let expected = "3: connected anonymous [a: subscribed] [b: error limit_exceeded topic 4>3]";
    assert_eq!(lines, [expected]);
    assert_eq!(node.broker.stats().subscriptions, 3);
}

#[tokio::test(start_paused = true)]
async fn a_publish_names_so_many_topics() {
    let node = limited(|limits| limits.topics_per_publish = 2).await;
    let mut client = node.client().await;
    let to = |topics: &[&str]| {
        let topics = topics.iter().map(|topic| (*topic).to_owned()).collect();
        Command::Publish(PublishCommand::to_topics(topics, "x"))
    };
    assert_eq!(client.call(to(&["a", "b"])).await, ["1: published"]);
    assert_eq!(client.call(to(&["a", "b", "c"])).await, ["2: error limit_exceeded topics 3>2"]);
    assert_eq!(client.call(to(&[])).await, ["3: error bad_request topic"]);
    let in_process = node.broker.publish("a", "x").also("b").also("c").await;
    assert!(matches!(
        in_process,
        Err(fanfare_core::publish::PublishError::TooManyTopics { limit: 2, value: 3 })
    ));
}

#[tokio::test(start_paused = true)]
async fn names_have_a_limit_too() {
    let node = limited(|_| {}).await;
    let mut client = node.client().await;
    let long = "x".repeat(256);
    assert_eq!(client.subscribe(&long).await, ["1: error invalid_topic topic 256>255"]);
    assert_eq!(client.publish(&long, "x").await, ["2: error invalid_topic topic 256>255"]);
    assert_eq!(client.call(history(&long)).await, ["3: error invalid_topic topic 256>255"]);
    for (number, wrong) in ["", "a..b", "a b", "a\n", ".a", "a.>.b"].into_iter().enumerate() {
        let line = client.subscribe(wrong).await;
        assert!(
            line[0].starts_with(&format!("{}: error invalid_topic topic", number + 4)),
            "{wrong:?}: {line:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_commands_is_told_and_then_closed() {
    let node = limited(|limits| {
        limits.commands_per_second = one();
        limits.commands_burst = NonZeroU32::new(3).unwrap();
    })
    .await;
    let mut client = node.client().await;
    let mut other = node.client().await;
    for id in 1..=3 {
        assert_eq!(client.call(Command::Ping).await, [format!("{id}: pong")]);
    }
    // As many are told as may come at once.
    assert_eq!(client.call(Command::Ping).await, ["4: error rate_limited 4>3 retry"]);
    // What is no command counts as one.
    client.reject(CommandError::new(ErrorCode::BadRequest, "not a command")).await.unwrap();
    assert_eq!(client.lines(), ["-: error rate_limited 4>3 retry"]);
    assert!(client.send(Command::Ping).await.is_ok());
    let closed = client.send(Command::Ping).await.unwrap_err();
    assert_eq!(closed.code(), 4101);
    assert_eq!(other.call(Command::Ping).await, ["1: pong"], "nobody else notices");
}

#[tokio::test(start_paused = true)]
async fn subscribing_and_history_have_budgets_of_their_own() {
    let node = limited(|limits| {
        limits.subscribes_per_second = one();
        limits.subscriptions_per_connection = 2;
        limits.histories_per_second = NonZeroU32::new(2).unwrap();
    })
    .await;
    let mut client = node.client().await;
    // What it may hold at once, and one more.
    for _ in 0..3 {
        assert!(client.subscribe("a").await[0].ends_with(": subscribed"));
    }
    assert_eq!(client.subscribe("a").await, ["4: error rate_limited 4>3 retry"]);
    for _ in 0..2 {
        assert!(client.call(history("log")).await[0].ends_with("history []"));
    }
    assert_eq!(client.call(history("log")).await, ["7: error rate_limited 3>2 retry"]);
    assert_eq!(client.call(Command::Ping).await, ["8: pong"], "other commands go on");
}

#[tokio::test(start_paused = true)]
async fn a_topic_may_have_a_rate() {
    let config = TopicConfig::new().publish_rate(one(), NonZeroU32::new(2).unwrap());
    let node = Node::start(|broker| broker.topic("slow", config)).await;
    let (mut first, mut second) = (node.client().await, node.client().await);
    assert_eq!(first.publish("slow", "1").await, ["1: published"]);
    assert_eq!(second.publish("slow", "2").await, ["1: published"]);
    assert_eq!(first.publish("slow", "3").await, ["2: error rate_limited retry"], "all publishers share it");
    assert_eq!(first.publish("other", "3").await, ["3: published"]);
}

#[tokio::test(start_paused = true)]
async fn a_page_of_history_is_bounded_in_messages_and_bytes() {
    let node = limited(|limits| {
        limits.history_page_messages = 3;
        limits.history_page_bytes = 1000;
    })
    .await;
    node.publish_numbers("log", 1..=5).await;
    let mut client = node.client().await;
    let newest = client.call(history("log")).await;
    assert_eq!(newest, ["1: history [log#3 3, log#4 4, log#5 5] more"]);
    let mut asked = HistoryCommand::newest("log");
    asked.from = fanfare_core::session::HistoryFrom::Before(node.at("log", 3).await);
    asked.limit = Some(1_000_000);
    assert_eq!(client.call(Command::History(asked.clone())).await, ["2: history [log#1 1, log#2 2]"]);
    asked.from = fanfare_core::session::HistoryFrom::After(node.at("log", 1).await);
    asked.limit = Some(2);
    assert_eq!(client.call(Command::History(asked)).await, ["3: history [log#2 2, log#3 3] more"]);
    for _ in 0..3 {
        node.broker.publish("log", "x".repeat(400)).await.unwrap();
    }
    let page = client.call(history("log")).await;
    assert!(page[0].contains("[log#7 ") && page[0].ends_with("more"), "two of three fit: {}", &page[0][..30]);
    assert_eq!(client.call(history("t")).await, ["5: error bad_request topic"]);
}

#[tokio::test(start_paused = true)]
async fn connections_are_bounded_in_all_by_user_and_by_address() {
    let here: IpAddr = "127.0.0.1".parse().unwrap();
    let there: IpAddr = "127.0.0.2".parse().unwrap();
    let from = |address| Handshake::new("test").with_address(address);
    let node = limited(|limits| {
        limits.connections = 3;
        limits.connections_per_address = Some(1);
    })
    .await;
    let first = node.connect(from(here)).await.unwrap();
    let refused = node.connect(from(here)).await.err().unwrap();
    assert!(matches!(refused, ConnectError::TooMany { limit: 1, .. }), "{refused}");
    assert_eq!(refused.reason().code(), 4102);
    let _second = node.connect(from(there)).await.unwrap();
    let third = node.client().await;
    let full = node.connect(Handshake::new("test")).await.err().unwrap();
    assert!(matches!(full, ConnectError::Full { limit: 3 }), "{full}");
    assert_eq!((full.reason().code(), node.broker.stats().connections), (4102, 3));
    drop((first, third));
    idle().await;
    assert!(node.connect(from(here)).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_node_holds_so_many_topics() {
    let node = limited(|limits| limits.topics = 2).await;
    let mut client = node.client().await;
    client.subscribe("a").await;
    client.subscribe("b").await;
    assert_eq!(node.broker.stats().topics, 2);
    assert_eq!(client.subscribe("c").await, ["3: error limit_exceeded topic retry"]);
    assert_eq!(client.publish("log", "x").await, ["4: error backend_unavailable retry"]);
    client.unsubscribe("a").await;
    assert_eq!(client.subscribe("c").await, ["6: subscribed"]);
}

#[tokio::test(start_paused = true)]
async fn limits_with_which_nothing_would_work_are_lifted_to_the_least_that_works() {
    let node = limited(|limits| {
        limits.queue_messages = 0;
        limits.topics_per_publish = 0;
        limits.publishes_in_flight = 0;
        limits.history_page_messages = 0;
        limits.authenticate_within = Duration::MAX;
    })
    .await;
    let mut client = node.client().await;
    assert_eq!(client.publish("log", "1").await, ["1: published #1"]);
    assert_eq!(client.publish("log", "2").await, ["2: published #2"]);
    let lines = client.subscribe_from("log", Start::Earliest).await;
    assert_eq!(lines[1..], ["log#1 1", "log#2 2", "log live #2"]);
}

#[tokio::test(start_paused = true)]
async fn for_ever_is_a_time_that_can_be_set() {
    let log = TopicConfig::new().history_ttl(Duration::MAX).idempotency_window(Duration::MAX);
    let node = Node::start(|broker| broker.topic("log", log)).await;
    node.broker.publish("log", "1").message_id("one").await.unwrap();
    assert!(node.broker.publish("log", "1").message_id("one").await.unwrap().duplicate);
    assert!(node.broker.drain(Duration::MAX).await);
}
