//! Namespaces: a policy, hooks and a configuration by pattern, and none of them for anybody else's topics.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use fanfare_core::{
    Namespace,
    hooks::{Client, Unsubscribed},
    policy::{Action, Admission, Grant, Identity, Open, Policy, Rules, Verdict},
    session::{CloseKind, ErrorCode, Handshake, Refusal},
    topic::TopicConfig,
};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::support::{Node, idle};

type Journal = Arc<Mutex<Vec<String>>>;

fn note(journal: &Journal, line: String) {
    journal.lock().push(line);
}

fn told(journal: &Journal) -> Vec<String> {
    std::mem::take(&mut journal.lock())
}

fn journaling(journal: &Journal) -> Namespace {
    let (began, ended) = (journal.clone(), journal.clone());
    Namespace::new()
        .on_subscribed(move |_: Client, topic| {
            note(&began, format!("+{topic}"));
            async {}
        })
        .on_unsubscribed(move |_, topic, how| {
            note(&ended, format!("-{topic} {how:?}"));
            async {}
        })
}

#[tokio::test(start_paused = true)]
async fn two_namespaces_on_one_connection_do_not_leak() {
    let (red, blue) = (Journal::default(), Journal::default());
    let rules = |name: &str| {
        Rules::new().subscribe(&format!("{name}.*")).unwrap().publish(&format!("{name}.in")).unwrap()
    };
    let node = Node::start(|broker| {
        broker
            .policy(Rules::new().subscribe("lobby").unwrap())
            .namespace("red.>", journaling(&red).policy(rules("red")).topic(TopicConfig::new().history(5)))
            .namespace(
                "blue.>",
                journaling(&blue).policy(rules("blue")).on_publish(|mut publish| async move {
                    publish.payload = "blue".into();
                    Ok(publish)
                }),
            )
    })
    .await;
    let mut client = node.client().await;
    assert_eq!(client.subscribe("red.a").await, ["1: subscribed #0"]);
    assert_eq!(client.subscribe("blue.a").await, ["2: subscribed"]);
    assert_eq!(client.subscribe("blue.a.b").await, ["3: error forbidden topic"]);
    assert_eq!(client.subscribe("green.a").await, ["4: error forbidden topic"], "the broker's own says no");
    assert_eq!(client.subscribe("lobby").await, ["5: subscribed"]);
    assert_eq!(client.subscribe("red.in").await, ["6: subscribed #0"]);
    assert_eq!(client.subscribe("blue.in").await, ["7: subscribed"]);
    assert_eq!((told(&red), told(&blue)), (lines(["+red.a", "+red.in"]), lines(["+blue.a", "+blue.in"])));
    assert_eq!(client.publish("red.in", "x").await, ["8: published #1", "red.in#1 x"]);
    assert_eq!(client.publish("blue.in", "x").await, ["9: published", "blue.in blue"]);
    assert_eq!(client.publish("blue.a", "x").await, ["10: error forbidden topic"]);
    assert_eq!(client.publish("lobby", "x").await, ["11: error forbidden topic"]);
}

fn lines<const N: usize>(lines: [&str; N]) -> Vec<String> {
    lines.map(str::to_owned).to_vec()
}

#[tokio::test(start_paused = true)]
async fn a_pattern_needs_the_yes_of_all_whose_topics_it_could_match() {
    let allows = |pattern: &str| Rules::new().subscribe(pattern).unwrap();
    let node = Node::start(|broker| {
        broker
            .policy(Open)
            .namespace("tenant.>", Namespace::new().policy(allows("tenant.>")))
            .namespace("tenant.secret.>", Namespace::new().policy(Rules::new()))
    })
    .await;
    let mut client = node.client().await;
    assert_eq!(client.subscribe("tenant.a.*").await, ["1: subscribed"]);
    assert_eq!(client.subscribe("tenant.*.a").await, ["2: error forbidden topic"], "one of them is secret");
    assert_eq!(client.subscribe("tenant.>").await, ["3: error forbidden topic"]);
    assert_eq!(client.subscribe("tenant.secret.a").await, ["4: error forbidden topic"]);
    assert_eq!(client.subscribe(">").await, ["5: error forbidden topic"]);
    assert_eq!(client.subscribe("*").await, ["6: subscribed"], "it matches no topic of theirs");
    assert_eq!(
        client.subscribe("*.*").await,
        ["7: error forbidden topic"],
        "`tenant.>` says no to what it does not know"
    );
    assert_eq!(client.subscribe("tenant.*").await, ["8: subscribed"]);
}

#[tokio::test(start_paused = true)]
async fn namespaces_by_pattern_leave_nothing_behind_when_they_are_empty() {
    let journal = Journal::default();
    let node = Node::start(|broker| {
        let tenants = journaling(&journal).policy(Open);
        broker.namespace("tenant.>", tenants).limits(|limits| limits.resume_within = Duration::ZERO)
    })
    .await;
    for tenant in 0..300 {
        let mut client = node.client().await;
        client.subscribe(&format!("tenant.{tenant}")).await;
        assert_eq!(node.broker.topics().len(), 1, "{tenant}");
        let how = if tenant % 2 == 0 { CloseKind::Normal } else { CloseKind::Lost };
        client.into_session().close(how.into()).await;
        idle().await;
        let expected = [format!("+tenant.{tenant}"), format!("-tenant.{tenant} Disconnected")];
        assert_eq!(told(&journal), expected);
    }
    tokio::time::sleep(Duration::from_secs(60)).await;
    let stats = node.broker.stats();
    assert_eq!((stats.topics, stats.subscriptions, stats.connections), (0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn hooks_hear_of_each_subscription_once_and_in_order() {
    let journal = Journal::default();
    let node = Node::start(|broker| broker.namespace(">", journaling(&journal))).await;
    let mut client = node.client().await;
    let id = client.session().client().unwrap();
    client.subscribe("a").await;
    client.subscribe("a").await;
    client.subscribe("b.*").await;
    assert_eq!(told(&journal), ["+a", "+b.*"], "what is begun anew goes on");
    client.unsubscribe("a").await;
    client.unsubscribe("a").await;
    assert_eq!(told(&journal), ["-a ByClient"]);
    node.broker.clients().client(id).subscribe("c").await.unwrap();
    node.broker.clients().client(id).unsubscribe("c").await.unwrap();
    node.broker.clients().client(id).subscribe("c").await.unwrap();
    node.broker.clients().client(id).revoke("b.>").await.unwrap();
    idle().await;
    let expected = [
        "+c",
        &format!("-c {:?}", Unsubscribed::ByServer(ErrorCode::Kicked)),
        "+c",
        "-b.* ByServer(Revoked)",
    ];
    assert_eq!(told(&journal), expected);
    client.into_session().close(CloseKind::Normal.into()).await;
    assert_eq!(told(&journal), ["-c Disconnected"]);
}

#[tokio::test(start_paused = true)]
async fn a_client_is_served_no_faster_than_its_hooks_are_done() {
    let go = Arc::new(Notify::new());
    let (held, order) = (go.clone(), Journal::default());
    let seen = order.clone();
    let (ended, gone) = (order.clone(), order.clone());
    let node = Node::start(|broker| {
        broker
            .on_subscribed("slow", move |_, topic| {
                let (held, seen) = (held.clone(), seen.clone());
                async move {
                    held.notified().await;
                    note(&seen, format!("+{topic}"));
                }
            })
            .on_unsubscribed("slow", move |_, topic, _| {
                note(&ended, format!("-{topic}"));
                async {}
            })
            .on_disconnected(move |_, _| {
                note(&gone, "gone".to_owned());
                async {}
            })
    })
    .await;
    let mut client = node.client().await;
    let id = client.session().client().unwrap();
    node.broker.clients().client(id).subscribe("slow").await.unwrap();
    idle().await;
    // The server goes on; the end of the connection waits for its turn.
    node.broker.clients().client(id).unsubscribe("slow").await.unwrap();
    let closing = tokio::spawn(client.into_session().close(CloseKind::Lost.into()));
    idle().await;
    assert!(!closing.is_finished() && told(&order).is_empty());
    go.notify_one();
    closing.await.unwrap();
    assert_eq!(told(&order), ["+slow", "-slow", "gone"]);
    // A command that is dropped while its hook runs does not keep the end waiting for ever.
    let mut client = node.client().await;
    let number = client.next_id();
    let subscribe =
        fanfare_core::session::Command::Subscribe(fanfare_core::session::SubscribeCommand::live("slow"));
    let serving = client.session().handle(number, subscribe);
    assert!(tokio::time::timeout(Duration::from_secs(1), serving).await.is_err());
    client.into_session().close(CloseKind::Lost.into()).await;
    assert_eq!(told(&order), ["-slow", "gone"]);
}

/// Grants for a time.
struct Brief(Duration);

#[async_trait]
impl Policy for Brief {
    async fn connect(&self, _: &Handshake) -> Result<Admission, Refusal> {
        Ok(Admission::Accept(Identity::anonymous()))
    }

    fn authorize<'a>(&'a self, _: &'a Identity, _: Action<'a>) -> Verdict<'a> {
        Verdict::later(async { Ok(Grant::new().expires_in(self.0)) })
    }
}

#[tokio::test(start_paused = true)]
async fn the_shorter_of_two_grants_counts() {
    struct Once(Mutex<u32>);
    #[async_trait]
    impl Policy for Once {
        async fn connect(&self, _: &Handshake) -> Result<Admission, Refusal> {
            Ok(Admission::Accept(Identity::anonymous()))
        }

        fn authorize<'a>(&'a self, _: &'a Identity, _: Action<'a>) -> Verdict<'a> {
            let mut left = self.0.lock();
            *left = left.saturating_sub(1);
            if *left == 0 {
                Verdict::deny(Refusal::forbidden("enough"))
            } else {
                Verdict::grant(Grant::new().expires_in(Duration::from_secs(50)))
            }
        }
    }
    let node = Node::start(|broker| {
        broker
            .policy(Brief(Duration::from_secs(1000)))
            .namespace("a.>", Namespace::new().policy(Once(Mutex::new(2))))
    })
    .await;
    let mut client = node.client().await;
    assert_eq!(client.subscribe(">").await, ["1: subscribed"]);
    tokio::time::sleep(Duration::from_secs(49)).await;
    assert!(client.read().await.is_empty());
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(client.read().await, ["> unsubscribed revoked"]);
}
