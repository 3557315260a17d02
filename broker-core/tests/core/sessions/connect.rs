//! The `connect` command, and what comes before it.

use std::time::Duration;

use async_trait::async_trait;
use fanfare_core::{
    policy::{Action, Admission, Identity, Policy, Verdict},
    session::{
        CloseKind, Command, ConnectCommand, Handshake, HistoryCommand, PublishCommand, Refusal, Start,
        SubscribeCommand,
    },
    topic::TopicConfig,
};

use tokio::sync::watch;

use crate::support::{Handle, Node, Remote, idle};

/// Wants to see a token, in the handshake or in the `connect` command.
pub(super) struct Tokens;

#[async_trait]
impl Policy for Tokens {
    async fn connect(&self, handshake: &Handshake) -> Result<Admission, Refusal> {
        Ok(match handshake.credential() {
            None => Admission::AwaitConnect,
            Some(user) => Admission::Accept(Identity::user(user)),
        })
    }

    fn authorize<'a>(&'a self, _: &'a Identity, action: Action<'a>) -> Verdict<'a> {
        match action {
            Action::Subscribe(topic) if topic.as_str() == "secret" => {
                Verdict::deny(Refusal::forbidden("not this one"))
            }
            _ => Verdict::allow(),
        }
    }
}

async fn tokens() -> Node {
    Node::start(|broker| broker.policy(Tokens).topic("log", TopicConfig::new().history(10))).await
}

fn connect(token: Option<&str>, subscribe: Vec<SubscribeCommand>) -> Command {
    let mut connect = ConnectCommand::default();
    connect.token = token.map(str::to_owned);
    connect.subscribe = subscribe;
    Command::Connect(connect)
}

#[tokio::test(start_paused = true)]
async fn before_connect_nothing_is_served_but_a_ping() {
    let node = tokens().await;
    let mut client = node.client().await;
    assert!(!client.session().is_admitted());
    let commands = [
        Command::Subscribe(SubscribeCommand::live("t")),
        Command::Unsubscribe { topic: "t".to_owned() },
        Command::Publish(PublishCommand::new("t", "x")),
        Command::History(HistoryCommand::newest("log")),
    ];
    for (number, command) in commands.into_iter().enumerate() {
        assert_eq!(client.call(command).await, [format!("{}: error unauthenticated", number + 1)]);
    }
    assert_eq!(client.call(Command::Ping).await, ["5: pong"]);
    let (at, kind) = client.session().deadline().unwrap();
    assert_eq!(kind, CloseKind::ConnectTimeout);
    assert!(at - tokio::time::Instant::now() <= Duration::from_secs(10));
    assert_eq!(client.call(connect(Some("ann"), Vec::new())).await, ["6: connected ann"]);
    assert!(client.session().is_admitted() && client.session().deadline().is_none());
    assert_eq!(client.subscribe("t").await, ["7: subscribed"]);
}

#[tokio::test(start_paused = true)]
async fn a_connect_without_a_token_is_closed_as_unauthenticated() {
    let node = tokens().await;
    let mut client = node.client().await;
    let closed = client.send(connect(None, Vec::new())).await.unwrap_err();
    assert_eq!(closed.code(), 4001);
}

#[tokio::test(start_paused = true)]
async fn connect_subscribes_to_a_list_and_answers_for_each() {
    let node = tokens().await;
    let at_2 = node.at("log", 2).await;
    node.publish_numbers("log", 1..=4).await;
    let mut client = node.client().await;
    let list = vec![
        SubscribeCommand::starting("log", Start::After(at_2)),
        SubscribeCommand::live("secret"),
        SubscribeCommand::live("t"),
        SubscribeCommand::live("p.*"),
        SubscribeCommand::live("not..valid"),
        SubscribeCommand::starting("t2", Start::Earliest),
    ];
    let expected = [
        "1: connected ann [log: subscribed recovered #2] [secret: error forbidden topic] [t: subscribed] \
         [p.*: subscribed] [not..valid: error invalid_topic topic] [t2: error bad_request topic]",
        "log#3 3",
        "log#4 4",
        "log live #4",
    ];
    assert_eq!(client.call(connect(Some("ann"), list)).await, expected, "the reply comes first");
    assert_eq!(node.broker.stats().subscriptions, 3);
}

#[tokio::test(start_paused = true)]
async fn connect_may_be_left_out_and_comes_once() {
    let node = tokens().await;
    let mut client = node.connect(Handshake::new("test").with_token("ann")).await.unwrap();
    assert_eq!(client.subscribe("t").await, ["1: subscribed"]);
    // Who was admitted at the handshake stays who it is.
    assert_eq!(client.call(connect(Some("bob"), Vec::new())).await, ["2: connected ann"]);
    let again = client.call(connect(Some("bob"), vec![SubscribeCommand::live("u")])).await;
    assert_eq!(again, ["3: error bad_request connect"]);
    assert_eq!(node.broker.stats().subscriptions, 1);
}

#[tokio::test(start_paused = true)]
async fn without_an_id_only_an_error_is_answered() {
    let node = Node::start(|broker| broker.topic("log", TopicConfig::new().history(10))).await;
    let mut client = node.client().await;
    let quiet = [
        Command::Ping,
        Command::Subscribe(SubscribeCommand::live("t")),
        Command::Publish(PublishCommand::new("other", "x")),
        Command::History(HistoryCommand::newest("log")),
        Command::Unsubscribe { topic: "t".to_owned() },
    ];
    for command in quiet {
        client.session().handle(None, command).await.unwrap();
    }
    assert!(client.read().await.is_empty());
    client.session().handle(None, Command::Unsubscribe { topic: "t".to_owned() }).await.unwrap();
    assert_eq!(client.read().await, ["-: error not_subscribed topic"]);
}

#[tokio::test(start_paused = true)]
async fn a_socket_that_breaks_ends_the_connection() {
    let node = Node::start(|broker| broker).await;
    let mut client = node.client().await;
    client.subscribe("t").await;
    client.wire.break_off();
    node.broker.publish("t", "x").await.unwrap();
    idle().await;
    assert_eq!(client.over().await.map(|reason| reason.kind), Some(CloseKind::Lost));
    assert_eq!(node.broker.stats().queued, 0);
}

#[tokio::test(start_paused = true)]
async fn the_app_can_disconnect_a_client_by_its_name() {
    let node = Node::start(|broker| broker).await;
    let mut client = node.client().await;
    let name = client.outbox.client();
    assert!(node.broker.disconnect(name, CloseKind::Kicked.into()));
    assert_eq!(client.over().await.map(|reason| reason.code()), Some(4005));
    assert_eq!(client.lines(), ["close 4005 kicked"]);
    drop(client);
    idle().await;
    assert!(!node.broker.disconnect(name, CloseKind::Kicked.into()));
}

/// Decides on `slow`, and on who connects as `slow`, when it is told to.
struct Slow(watch::Sender<bool>);

impl Slow {
    fn new() -> (Self, watch::Sender<bool>) {
        let decide = watch::Sender::new(false);
        (Self(decide.clone()), decide)
    }

    async fn decided(&self) {
        let _ = self.0.subscribe().wait_for(|decided| *decided).await;
    }
}

#[async_trait]
impl Policy for Slow {
    async fn connect(&self, handshake: &Handshake) -> Result<Admission, Refusal> {
        if handshake.credential() == Some("slow") {
            self.decided().await;
        }
        Ok(Admission::Accept(Identity::anonymous()))
    }

    fn authorize<'a>(&'a self, _: &'a Identity, action: Action<'a>) -> Verdict<'a> {
        match action {
            Action::Subscribe(topic) if topic.as_str() == "slow" => Verdict::later(async {
                self.decided().await;
                Ok(fanfare_core::policy::Grant::new())
            }),
            _ => Verdict::allow(),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_comes_while_another_subscription_of_the_same_command_is_decided_on_is_not_missed() {
    let (policy, decide) = Slow::new();
    let log = TopicConfig::new().history(10);
    let node = Node::start(|broker| broker.policy(policy).topic("log", log)).await;
    let mut client = node.client().await;
    let publisher = node.clone();
    tokio::spawn(async move {
        // The first subscription has begun by now, and no shard knows of it.
        idle().await;
        publisher.publish_numbers("log", 1..=3).await;
        idle().await;
        decide.send_replace(true);
    });
    let wanted = vec![SubscribeCommand::live("log"), SubscribeCommand::live("slow")];
    let lines = client.call(connect(None, wanted)).await;
    assert_eq!(lines[1..], ["log#1 1", "log#2 2", "log#3 3", "log live #3"], "{lines:?}");
}

#[tokio::test(start_paused = true)]
async fn a_log_that_is_replaced_before_the_shard_knows_the_subscription_is_told() {
    let (policy, decide) = Slow::new();
    let remote = Remote::new();
    let node = Node::start(|broker| {
        let log = TopicConfig::new().history(10);
        broker.policy(policy).topic("log", log).backend(Handle(remote.clone()))
    })
    .await;
    node.publish_numbers("log", 1..=2).await;
    let mut client = node.client().await;
    let (other, publisher) = (remote.clone(), node.clone());
    tokio::spawn(async move {
        idle().await;
        other.lose("log");
        publisher.publish_numbers("log", 3..=3).await;
        idle().await;
        decide.send_replace(true);
    });
    let wanted = vec![SubscribeCommand::live("log"), SubscribeCommand::live("slow")];
    let lines = client.call(connect(None, wanted)).await;
    assert!(lines[1].contains("epoch"), "{lines:?}");
    assert_eq!(lines[2..], ["log#1 3", "log live #1"], "{lines:?}");
    node.publish_numbers("log", 4..=4).await;
    assert_eq!(client.read().await, ["log#2 4"]);
}

#[tokio::test(start_paused = true)]
async fn who_is_being_admitted_when_draining_begins_is_refused() {
    let (policy, decide) = Slow::new();
    let node = Node::start(|broker| broker.policy(policy)).await;
    let arriving = node.clone();
    let arriving =
        tokio::spawn(async move { arriving.connect(Handshake::new("test").with_token("slow")).await.err() });
    idle().await;
    let broker = node.broker.clone();
    let draining = tokio::spawn(async move { broker.drain(Duration::from_secs(10)).await });
    idle().await;
    decide.send_replace(true);
    assert!(matches!(arriving.await.unwrap(), Some(fanfare_core::ConnectError::Draining)));
    assert!(draining.await.unwrap(), "nobody is left to wait for");
}
