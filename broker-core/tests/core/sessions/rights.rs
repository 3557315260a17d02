//! What the server does to subscriptions, at whatever moment.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use fanfare_core::{
    policy::{Action, Admission, Grant, Identity, Policy, Verdict},
    session::{
        ClientId, CloseKind, Command, ConnectCommand, ErrorCode, Handshake, Refusal, SubscribeCommand,
    },
};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::support::{Node, TestClient, idle};

/// Decides on `slow` topics when it is told to, and on grants as a test says.
#[derive(Clone, Default)]
struct Rights {
    decide: Arc<Notify>,
    /// What is refused now, and with which code.
    refused: Arc<Mutex<Vec<(String, ErrorCode)>>>,
    /// How long what is granted holds.
    holds: Arc<Mutex<Option<Duration>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

#[async_trait]
impl Policy for Rights {
    async fn connect(&self, _: &Handshake) -> Result<Admission, Refusal> {
        Ok(Admission::Accept(Identity::user("ann")))
    }

    fn authorize<'a>(&'a self, _: &'a Identity, action: Action<'a>) -> Verdict<'a> {
        let (verb, name) = match action {
            Action::Subscribe(topic) => ("subscribe", topic.as_str()),
            Action::SubscribePattern(pattern) => ("subscribe", pattern.as_str()),
            Action::Keep(topic) => ("keep", topic.as_str()),
            Action::KeepPattern(pattern) => ("keep", pattern.as_str()),
            _ => return Verdict::allow(),
        };
        self.asked.lock().push(format!("{verb} {name}"));
        let refused = self.refused.lock().iter().find(|(refused, _)| refused == name).map(|(_, code)| *code);
        if let Some(code) = refused {
            return Verdict::deny(Refusal::new(code, "not any more"));
        }
        let holds = *self.holds.lock();
        let grant = holds.map_or_else(Grant::new, |holds| Grant::new().expires_in(holds));
        if name.starts_with("slow") {
            // Decided here and now, and told later.
            let decide = self.decide.clone();
            return Verdict::later(async move {
                decide.notified().await;
                Ok(grant)
            });
        }
        Verdict::grant(grant)
    }
}

async fn start() -> (Node, Rights, TestClient) {
    let rights = Rights::default();
    let node = Node::start(|broker| broker.policy(rights.clone())).await;
    let client = node.client().await;
    (node, rights, client)
}

fn id(client: &mut TestClient) -> ClientId {
    client.session().client().unwrap()
}

/// Subscribes, and does something while the policy is being asked.
async fn meanwhile(
    client: &mut TestClient,
    command: Command,
    rights: &Rights,
    act: impl Future<Output = ()>,
) -> Vec<String> {
    let number = client.next_id();
    let act = async {
        idle().await;
        act.await;
        rights.decide.notify_waiters();
    };
    let (served, ()) = tokio::join!(client.session().handle(number, command), act);
    served.unwrap();
    client.read().await
}

fn subscribe(topic: &str) -> Command {
    Command::Subscribe(SubscribeCommand::live(topic))
}

#[tokio::test(start_paused = true)]
async fn the_server_subscribes_and_unsubscribes() {
    let (node, rights, mut client) = start().await;
    let one = || node.broker.clients().client(client_id(&node));
    assert_eq!(one().subscribe("a").await.unwrap().changed, 1);
    assert_eq!(one().subscribe("b.*").await.unwrap().changed, 1);
    assert_eq!(one().subscribe("a").await.unwrap().changed, 0, "it is subscribed");
    node.broker.publish("a", "1").await.unwrap();
    assert_eq!(client.read().await, ["a subscribed by the server", "b.* subscribed by the server", "a 1"]);
    assert!(rights.asked.lock().is_empty(), "the server need not ask");
    assert_eq!(one().unsubscribe("a").await.unwrap().changed, 1);
    node.broker.publish("a", "2").await.unwrap();
    node.broker.publish("b.x", "3").await.unwrap();
    assert_eq!(client.read().await, ["a unsubscribed kicked", "b.x 3"]);
    assert_eq!(client.unsubscribe("a").await, ["1: error not_subscribed topic"]);
    assert_eq!(
        client.unsubscribe("b.*").await,
        ["2: unsubscribed"],
        "a client may leave what the server made"
    );
    node.broker.publish("b.x", "4").await.unwrap();
    assert!(client.read().await.is_empty());
    assert_eq!(node.broker.stats().subscriptions, 0);
}

fn client_id(node: &Node) -> ClientId {
    use futures_util::FutureExt;
    let listed = node.broker.clients().list().now_or_never().unwrap().unwrap();
    listed.clients[0].client
}

#[tokio::test(start_paused = true)]
async fn a_right_that_is_taken_back_while_it_is_asked_for_is_not_used() {
    let (node, rights, mut client) = start().await;
    let ann = || node.broker.clients().user("ann");
    let lines = meanwhile(&mut client, subscribe("slow.a"), &rights, async {
        assert_eq!(ann().revoke("slow.*").await.unwrap().changed, 1);
    });
    assert_eq!(lines.await, ["1: error revoked topic"]);
    let lines = meanwhile(&mut client, subscribe("slow.>"), &rights, async {
        ann().revoke("slow.>").await.unwrap();
    });
    assert_eq!(lines.await, ["2: error revoked topic"], "patterns are no way around it");
    let lines = meanwhile(&mut client, subscribe("slow.a"), &rights, async {
        ann().unsubscribe("slow.a").await.unwrap();
    });
    assert_eq!(lines.await, ["3: error kicked topic"]);
    // Who has been allowed by rights of before may ask again.
    let lines = meanwhile(&mut client, subscribe("slow.a"), &rights, async {
        ann().reauthorize().await.unwrap();
    });
    assert_eq!(lines.await, ["4: error revoked topic retry"]);
    let lines = meanwhile(&mut client, subscribe("slow.a"), &rights, async {
        ann().revoke("fast.*").await.unwrap();
    });
    assert_eq!(lines.await, ["5: subscribed"], "others are not concerned");
    assert_eq!(node.broker.stats().subscriptions, 1);
}

#[tokio::test(start_paused = true)]
async fn a_connects_reply_says_what_was_ended_on_its_way() {
    let (node, rights, mut client) = start().await;
    let mut connect = ConnectCommand::default();
    connect.subscribe = ["a.1", "b.1", "slow"].map(SubscribeCommand::live).to_vec();
    let lines = meanwhile(&mut client, Command::Connect(connect), &rights, async {
        // Two have been allowed, and wait for the third.
        node.broker.clients().revoke("a.*").await.unwrap();
    });
    let reply = "1: connected ann [a.1: error revoked topic] [b.1: subscribed] [slow: subscribed]";
    assert_eq!(lines.await, [reply]);
    node.broker.publish("a.1", "x").await.unwrap();
    node.broker.publish("b.1", "y").await.unwrap();
    assert_eq!(client.read().await, ["b.1 y"]);
}

#[tokio::test(start_paused = true)]
async fn patterns_that_reach_beyond_what_is_revoked_are_asked_about() {
    let (node, rights, mut client) = start().await;
    for topic in ["room.1", "room.*", "room.>", "hall.*", ">"] {
        client.subscribe(topic).await;
    }
    rights.asked.lock().clear();
    rights.refused.lock().push(("room.>".to_owned(), ErrorCode::Forbidden));
    assert_eq!(node.broker.clients().revoke("room.*").await.unwrap().changed, 1, "one client");
    let lines = client.read().await;
    let expected =
        ["room.1 unsubscribed revoked", "room.* unsubscribed revoked", "room.> unsubscribed revoked"];
    assert_eq!(lines, expected);
    rights.asked.lock().sort();
    assert_eq!(*rights.asked.lock(), ["subscribe >", "subscribe room.>"], "of the others nobody is asked");
    node.broker.publish("room.1", "x").await.unwrap();
    assert_eq!(client.read().await, ["room.1 x"], "this one the policy allows still");
}

#[tokio::test(start_paused = true)]
async fn a_grant_that_ends_is_asked_about_again() {
    let (node, rights, mut client) = start().await;
    *rights.holds.lock() = Some(Duration::from_secs(60));
    client.subscribe("a").await;
    client.subscribe("b").await;
    *rights.holds.lock() = None;
    client.subscribe("ever").await;
    rights.asked.lock().clear();
    *rights.holds.lock() = Some(Duration::from_secs(30));
    rights.refused.lock().push(("b".to_owned(), ErrorCode::TokenExpired));
    tokio::time::sleep(Duration::from_secs(59)).await;
    assert!(client.read().await.is_empty());
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(client.read().await, ["b unsubscribed token_expired"]);
    assert_eq!(*rights.asked.lock(), ["subscribe a", "subscribe b"]);
    // The next answer has a time of its own.
    rights.refused.lock().push(("a".to_owned(), ErrorCode::Forbidden));
    tokio::time::sleep(Duration::from_secs(28)).await;
    assert!(client.read().await.is_empty());
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(client.read().await, ["a unsubscribed revoked"]);
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(node.broker.stats().subscriptions, 1, "what has no end has none");
}

#[tokio::test(start_paused = true)]
async fn a_grant_that_nobody_decides_on_ends() {
    let (node, rights, mut client) = start().await;
    *rights.holds.lock() = Some(Duration::from_secs(60));
    assert_eq!(meanwhile(&mut client, subscribe("slow"), &rights, async {}).await, ["1: subscribed"]);
    tokio::time::sleep(Duration::from_secs(65)).await;
    node.broker.publish("slow", "1").await.unwrap();
    assert_eq!(client.read().await, ["slow 1"], "the policy is being asked");
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(client.read().await, ["slow unsubscribed revoked retry"]);
    assert_eq!(node.broker.stats().subscriptions, 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_begun_anew_is_not_ended_for_what_it_was() {
    let (node, rights, mut client) = start().await;
    *rights.holds.lock() = Some(Duration::from_secs(60));
    assert_eq!(meanwhile(&mut client, subscribe("slow"), &rights, async {}).await, ["1: subscribed"]);
    tokio::time::sleep(Duration::from_secs(65)).await;
    // While the policy is asked about the old one, the client subscribes anew: that one holds.
    let lines = meanwhile(&mut client, subscribe("slow"), &rights, async {}).await;
    assert_eq!(lines, ["2: subscribed"]);
    tokio::time::sleep(Duration::from_secs(15)).await;
    assert!(client.read().await.is_empty());
    assert_eq!(node.broker.stats().subscriptions, 1);
}

#[tokio::test(start_paused = true)]
async fn subscriptions_of_the_server_are_kept_unless_the_policy_says_no() {
    let (node, rights, mut client) = start().await;
    let id = id(&mut client);
    node.broker.clients().client(id).subscribe("a").await.unwrap();
    node.broker.clients().client(id).subscribe("b").await.unwrap();
    client.read().await;
    rights.refused.lock().push(("b".to_owned(), ErrorCode::Forbidden));
    assert_eq!(node.broker.clients().reauthorize().await.unwrap().changed, 1);
    assert_eq!(*rights.asked.lock(), ["keep a", "keep b"]);
    assert_eq!(client.read().await, ["b unsubscribed revoked"]);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_what_is_done_to_it_is_cut_off() {
    let rights = Rights::default();
    let node =
        Node::start(|broker| broker.policy(rights.clone()).limits(|limits| limits.control_bytes = 1000))
            .await;
    let mut client = node.client().await;
    let id = id(&mut client);
    client.wire.shut();
    for _ in 0..100 {
        node.broker.clients().client(id).subscribe("a").await.unwrap();
        node.broker.clients().client(id).unsubscribe("a").await.unwrap();
        idle().await;
    }
    client.wire.open();
    let over = client.over().await.map(|reason| reason.kind);
    assert_eq!(over, Some(CloseKind::SlowConsumer));
    assert!(client.lines().len() < 100, "no more than the lane holds");
}
