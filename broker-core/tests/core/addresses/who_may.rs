//! What clients may publish to: what the policy allows by name, and nothing by a catch-all of topics.

use async_trait::async_trait;
use fanfare_core::{
    policy::{Action, Admission, Identity, Policy, Rules, Verdict},
    session::{Command, Handshake, PublishCommand, Refusal},
    topic::{Address, Topic},
};

use super::{Named, rules, user};
use crate::support::{Node, TestClient};

async fn node(rules: Rules) -> Node {
    Node::start(|broker| broker.policy(Named(rules))).await
}

fn name(client: &TestClient) -> String {
    Address::client(client.outbox.client()).name().unwrap().to_string()
}

#[tokio::test(start_paused = true)]
async fn rules_allow_addresses_only_where_they_name_them() {
    let node = node(rules()).await;
    let (mut ann, mut bob) = (user(&node, "ann").await, user(&node, "bob").await);
    let id = name(&bob);
    for to in ["$all", "$user.bob", &id] {
        let answer = ann.publish(to, "hello").await;
        assert!(answer[0].ends_with("error forbidden topic"), "{to}: {answer:?}");
    }
    assert!(bob.read().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn users_write_to_each_other_where_a_rule_says_so() {
    let node = node(rules().publish("$user.*").unwrap()).await;
    let (mut ann, mut bob, mut bobs) =
        (user(&node, "ann").await, user(&node, "bob").await, user(&node, "bob").await);
    assert_eq!(ann.publish("$user.bob", "hello").await, ["1: published"]);
    for tab in [&mut bob, &mut bobs] {
        assert_eq!(tab.read().await, ["$user.bob hello"]);
    }
    let id = name(&bob);
    for to in ["$all", &id, "$user", "$nodes", "$direct"] {
        let answer = ann.publish(to, "hello").await;
        assert!(answer[0].ends_with("error forbidden topic"), "{to}: {answer:?}");
    }
    // To oneself: all other tabs, or this one as well.
    assert_eq!(bob.publish("$user.bob", "to myself").await, ["1: published", "$user.bob to myself"]);
    assert_eq!(bobs.read().await, ["$user.bob to myself"]);
    let mut quiet = PublishCommand::new("$user.bob", "to my others");
    quiet.echo = false;
    assert_eq!(bob.call(Command::Publish(quiet)).await, ["2: published"]);
    assert_eq!(bobs.read().await, ["$user.bob to my others"]);
}

/// Whoever has a name may publish what it likes, says the app, and thinks of its topics.
struct Wholesale;

#[async_trait]
impl Policy for Wholesale {
    async fn connect(&self, _: &Handshake) -> Result<Admission, Refusal> {
        Ok(Admission::Accept(Identity::anonymous()))
    }

    fn authorize<'a>(&'a self, _: &'a Identity, action: Action<'a>) -> Verdict<'a> {
        match action {
            Action::Publish(_) => Verdict::allow(),
            _ => Verdict::deny(Refusal::forbidden("no")),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_may_publish_to_all_topics_may_not_write_to_clients() {
    let node = Node::start(|broker| broker.policy(Wholesale)).await;
    let (mut one, other) = (node.client().await, node.client().await);
    assert_eq!(one.publish("any.topic", "hello").await, ["1: published"]);
    let id = name(&other);
    for to in ["$all", "$user.bob", &id] {
        let answer = one.publish(to, "hello").await;
        assert!(answer[0].ends_with("error forbidden topic"), "{to}: {answer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_subscribes_to_an_address() {
    let node = node(rules().subscribe("$user.*").unwrap().subscribe("$all").unwrap()).await;
    let mut ann = user(&node, "ann").await;
    for topic in ["$user.ann", "$user.*", "$all", "$nodes", "$direct", "$all.>"] {
        let answer = ann.subscribe(topic).await;
        assert!(answer[0].ends_with("error forbidden topic"), "{topic}: {answer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_open_policy_keeps_everybody_for_the_app() {
    let node = Node::start(|broker| broker).await;
    let (mut one, mut other) = (node.client().await, node.client().await);
    let id = name(&other);
    assert_eq!(one.publish(&id, "hello").await, ["1: published"]);
    assert_eq!(other.read().await, [format!("{id} hello")]);
    assert_eq!(one.publish("$user.ann", "hello").await, ["2: published"]);
    assert_eq!(one.publish("$all", "hello").await, ["3: error forbidden topic"]);
}

#[tokio::test(start_paused = true)]
async fn hooks_see_what_is_published_to_addresses() {
    let policy = Named(rules().publish("$user.*").unwrap());
    let node = Node::start(|broker| {
        broker.policy(policy).on_publish("$user.*", |mut publish| async move {
            publish.payload = format!("to {}: {}", publish.topic, publish.payload.as_str().unwrap()).into();
            Ok(publish)
        })
    });
    let node = node.await;
    let (mut ann, mut bob) = (user(&node, "ann").await, user(&node, "bob").await);
    bob.publish("$user.ann", "hello").await;
    assert_eq!(ann.read().await, ["$user.ann to $user.ann: hello"]);
}
