//! Policies: deny by default, decide now or later, and a policy that panics refuses.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use fanfare_core::{
    Broker, ConnectError, StartError,
    policy::{Action, Admission, Grant, Identity, Policy, Rules, Verdict},
    session::{
        CloseKind, Command, ConnectCommand, ErrorCode, Handshake, HistoryCommand, PublishCommand, Refusal,
    },
    topic::TopicConfig,
};

use crate::support::{Node, idle};

/// Does as the token, and the topic's name, say.
struct Scripted;

#[async_trait]
impl Policy for Scripted {
    async fn connect(&self, handshake: &Handshake) -> Result<Admission, Refusal> {
        match handshake.credential() {
            None => Ok(Admission::AwaitConnect),
            Some("wrong") => Err(Refusal::unauthenticated("who is this?")),
            Some("banned") => Err(Refusal::forbidden("not you")),
            Some("old") => Err(Refusal::new(ErrorCode::TokenExpired, "too old")),
            Some("panic") => panic!("a policy that fails"),
            Some("brief") => {
                Ok(Admission::Accept(Identity::user("brief").expires_in(Duration::from_secs(60))))
            }
            Some(user) => Ok(Admission::Accept(Identity::user(user))),
        }
    }

    fn authorize<'a>(&'a self, who: &'a Identity, action: Action<'a>) -> Verdict<'a> {
        let name = match action {
            Action::Subscribe(topic) | Action::Publish(topic) | Action::History(topic) => topic.as_str(),
            Action::SubscribePattern(pattern) => pattern.as_str(),
            _ => "forbidden",
        };
        match name.split('.').next() {
            Some("forbidden") => Verdict::deny(Refusal::forbidden("no")),
            Some("panic") => panic!("a policy that fails"),
            Some("panic-later") => Verdict::later(async { panic!("a policy that fails") }),
            Some("late") => Verdict::later(async move {
                tokio::time::sleep(Duration::from_secs(3)).await;
                if who.user.as_deref() == Some("ann") {
                    Ok(Grant::new())
                } else {
                    Err(Refusal::forbidden("not you"))
                }
            }),
            _ => Verdict::allow(),
        }
    }
}

async fn scripted() -> Node {
    Node::start(|broker| broker.policy(Scripted).topic("forbidden", TopicConfig::new().history(1))).await
}

fn with(token: &str) -> Handshake {
    Handshake::new("test").with_token(token)
}

fn connect(token: &str) -> Command {
    let mut connect = ConnectCommand::default();
    connect.token = Some(token.to_owned());
    Command::Connect(connect)
}

#[tokio::test]
async fn a_broker_without_a_policy_does_not_start() {
    assert!(matches!(Broker::builder().start().await, Err(StartError::NoPolicy)));
    assert!(matches!(Broker::builder().start_degraded(), Err(StartError::NoPolicy)));
    let invalid = Broker::builder().policy(Scripted).topic("a..b", TopicConfig::new()).start().await;
    assert!(matches!(invalid, Err(StartError::InvalidPattern(_))));
}

#[tokio::test(start_paused = true)]
async fn rules_deny_what_they_do_not_name() {
    let rules = Rules::new().subscribe("news.*").unwrap();
    let node = Node::start(|broker| broker.policy(rules)).await;
    let mut client = node.client().await;
    assert_eq!(client.subscribe("news.today").await, ["1: subscribed"]);
    assert_eq!(client.subscribe("news.>").await, ["2: error forbidden topic"]);
    assert_eq!(client.subscribe("chat").await, ["3: error forbidden topic"]);
    assert_eq!(client.publish("news.today", "x").await, ["4: error forbidden topic"]);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_at_the_handshake_has_its_close_code() {
    let node = scripted().await;
    let codes = [("wrong", 4001), ("banned", 4003), ("old", 4004), ("panic", 4201)];
    for (token, code) in codes {
        let refused = node.connect(with(token)).await.err().unwrap();
        assert!(matches!(refused, ConnectError::Refused(_)));
        assert_eq!(refused.reason().code(), code, "{token}");
        // The same in a `connect` command.
        let mut client = node.connect(Handshake::new("test")).await.unwrap();
        assert_eq!(client.send(connect(token)).await.unwrap_err().code(), code, "{token}");
    }
    idle().await;
    assert_eq!(node.broker.stats().connections, 0);
}

#[tokio::test(start_paused = true)]
async fn each_action_is_asked_for_and_a_refusal_names_the_topic() {
    let node = scripted().await;
    let mut client = node.connect(with("ann")).await.unwrap();
    assert_eq!(client.subscribe("forbidden").await, ["1: error forbidden topic"]);
    assert_eq!(client.subscribe("forbidden.>").await, ["2: error forbidden topic"]);
    assert_eq!(client.publish("forbidden", "x").await, ["3: error forbidden topic"]);
    let history = Command::History(HistoryCommand::newest("forbidden"));
    assert_eq!(client.call(history).await, ["4: error forbidden topic"]);
    // One of several is enough.
    let several = PublishCommand::to_topics(vec!["fine".to_owned(), "forbidden".to_owned()], "x");
    let mut fine = node.broker.subscribe("fine").await.unwrap();
    assert_eq!(client.call(Command::Publish(several)).await, ["5: error forbidden topic"]);
    idle().await;
    assert!(fine.try_recv().is_none());
    assert_eq!(node.broker.stats().subscriptions, 1);
}

#[tokio::test(start_paused = true)]
async fn a_policy_may_take_its_time_and_only_its_client_waits() {
    let node = scripted().await;
    let mut ann = node.connect(with("ann")).await.unwrap();
    let mut bob = node.connect(with("bob")).await.unwrap();
    let begun = tokio::time::Instant::now();
    let (for_ann, other) = tokio::join!(ann.subscribe("late"), async {
        let lines = bob.subscribe("now").await;
        (lines, begun.elapsed())
    });
    assert_eq!(for_ann, ["1: subscribed"]);
    assert!(begun.elapsed() >= Duration::from_secs(3));
    assert_eq!(other.0, ["1: subscribed"]);
    assert!(other.1 < Duration::from_secs(1));
    assert_eq!(bob.subscribe("late").await, ["2: error forbidden topic"]);
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_panics_refuses() {
    let node = scripted().await;
    let mut client = node.connect(with("ann")).await.unwrap();
    assert_eq!(client.subscribe("panic").await, ["1: error internal retry"]);
    assert_eq!(client.subscribe("panic-later").await, ["2: error internal retry"]);
    assert_eq!(client.call(Command::Ping).await, ["3: pong"]);
}

#[tokio::test(start_paused = true)]
async fn topics_of_the_system_are_not_the_clients() {
    let node = Node::start(|broker| broker).await;
    let mut client = node.client().await;
    assert_eq!(client.subscribe("$all").await, ["1: error forbidden topic"]);
    assert_eq!(client.subscribe("$client.*").await, ["2: error forbidden topic"]);
    assert_eq!(client.publish("$all", "x").await, ["3: error forbidden topic"]);
    let history = Command::History(HistoryCommand::newest("$all"));
    assert_eq!(client.call(history).await, ["4: error forbidden topic"]);
    // A pattern that begins with a wildcard does not reach them.
    assert_eq!(client.subscribe(">").await, ["5: subscribed"]);
    node.broker.publish("$system", "x").await.unwrap();
    assert!(client.read().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_admission_that_ends_is_a_deadline() {
    let node = scripted().await;
    let mut brief = node.connect(with("brief")).await.unwrap();
    let (at, kind) = brief.session().deadline().unwrap();
    assert_eq!(kind, CloseKind::TokenExpired);
    let left = at - tokio::time::Instant::now();
    assert!(left <= Duration::from_secs(60) && left > Duration::from_secs(59), "{left:?}");
    let mut ann = node.connect(with("ann")).await.unwrap();
    assert_eq!(ann.session().deadline(), None);
}

#[tokio::test(start_paused = true)]
async fn a_users_connections_are_bounded_however_they_come() {
    let node =
        Node::start(|broker| broker.policy(Scripted).limits(|limits| limits.connections_per_user = 1)).await;
    let first = node.connect(with("ann")).await.unwrap();
    assert!(matches!(node.connect(with("ann")).await.err(), Some(ConnectError::TooMany { limit: 1, .. })));
    let mut later = node.connect(Handshake::new("test")).await.unwrap();
    assert_eq!(later.send(connect("ann")).await.unwrap_err().code(), 4102);
    assert!(node.connect(with("bob")).await.is_ok());
    drop(first);
    idle().await;
    assert!(node.connect(with("ann")).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn secrets_are_never_shown() {
    let identity = Identity::user("ann").with_data(Arc::new("secret".to_owned()));
    let shown = format!("{:?} {:?} {:?}", with("secret"), connect("secret"), identity);
    assert!(!shown.contains("secret"), "{shown}");
}
