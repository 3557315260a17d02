//! Idempotency: a `message_id` counts once within its topic, its user and its time.

use std::time::Duration;

use async_trait::async_trait;
use fanfare_core::{
    policy::{Action, Admission, Identity, Policy, Verdict},
    publish::PublishError,
    session::{Command, Handshake, PublishCommand, Refusal},
    topic::TopicConfig,
};
use tokio::time::advance;

use crate::support::{Node, received};

/// The token is the user's name.
struct ByToken;

#[async_trait]
impl Policy for ByToken {
    async fn connect(&self, handshake: &Handshake) -> Result<Admission, Refusal> {
        Ok(Admission::Accept(Identity::user(handshake.credential().unwrap_or("nobody"))))
    }

    fn authorize<'a>(&'a self, _: &'a Identity, _: Action<'a>) -> Verdict<'a> {
        Verdict::allow()
    }
}

fn named(topic: &str, id: &str) -> Command {
    let mut publish = PublishCommand::new(topic, "x");
    publish.message_id = Some(id.to_owned());
    publish.echo = false;
    Command::Publish(publish)
}

#[tokio::test(start_paused = true)]
async fn rule_11_a_repeat_returns_the_first_position_and_is_not_delivered() {
    let node = Node::start(|broker| broker.topic("log", TopicConfig::new().history(10))).await;
    let mut log = node.broker.subscribe("log").await.unwrap();
    let first = node.broker.publish("log", "1").message_id("m").await.unwrap();
    node.broker.publish("log", "2").await.unwrap();
    let again = node.broker.publish("log", "1").message_id("m").await.unwrap();
    assert!(again.duplicate && !first.duplicate);
    assert_eq!(again.position, first.position);
    let report = node.broker.publish("log", "1").message_id("m").report().await.unwrap();
    assert!(report.duplicate && report.matched == 0);
    assert_eq!(received(&mut log).await, ["log#1 1 message_id=m", "log#2 2"]);
}

#[tokio::test(start_paused = true)]
async fn rule_11_the_scope_is_topic_and_user() {
    let node =
        Node::start(|broker| broker.policy(ByToken).topic("log.*", TopicConfig::new().history(10))).await;
    let mut ann = node.connect(Handshake::new("test").with_token("ann")).await.unwrap();
    let mut ann_again = node.connect(Handshake::new("test").with_token("ann")).await.unwrap();
    let mut bob = node.connect(Handshake::new("test").with_token("bob")).await.unwrap();
    assert_eq!(ann.call(named("log.a", "m")).await, ["1: published #1"]);
    assert_eq!(ann.call(named("log.b", "m")).await, ["2: published #1"], "another topic");
    assert_eq!(bob.call(named("log.a", "m")).await, ["1: published #2"], "another user");
    assert_eq!(ann_again.call(named("log.a", "m")).await, ["1: published #1 duplicate"], "the same user");
}

#[tokio::test(start_paused = true)]
async fn rule_11_it_expires() {
    let config = TopicConfig::new().history(10).idempotency_window(Duration::from_secs(60));
    let node = Node::start(|broker| broker.topic("log", config)).await;
    let publish = || async { node.broker.publish("log", "1").message_id("m").await.unwrap() };
    assert!(!publish().await.duplicate);
    advance(Duration::from_secs(59)).await;
    assert!(publish().await.duplicate);
    advance(Duration::from_secs(2)).await;
    let anew = publish().await;
    assert_eq!((anew.duplicate, anew.position.unwrap().offset), (false, 2));
}

#[tokio::test(start_paused = true)]
async fn rule_11_it_is_bounded_by_count() {
    let node = Node::start(|broker| broker.topic("log", TopicConfig::new().history(10))).await;
    for number in 0..=10_000 {
        node.broker.publish("log", "x").message_id(number.to_string()).await.unwrap();
    }
    assert!(node.broker.publish("log", "x").message_id("1").await.unwrap().duplicate);
    assert!(!node.broker.publish("log", "x").message_id("0").await.unwrap().duplicate, "the oldest went");
}

#[tokio::test(start_paused = true)]
async fn rule_11_ephemeral_topics_refuse_it() {
    let node = Node::start(|broker| broker).await;
    let refused = node.broker.publish("t", "1").message_id("m").await;
    assert!(matches!(refused, Err(PublishError::Unsupported { field: "message_id", .. })), "{refused:?}");
    let mut client = node.client().await;
    assert_eq!(client.call(named("t", "m")).await, ["1: error bad_request message_id"]);
    assert_eq!(node.broker.stats().refused, 2);
}
