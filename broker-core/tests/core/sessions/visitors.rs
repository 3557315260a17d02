//! Clients that publish without a connection: the same policy, hooks and limits, and nothing that stays behind.

use std::{
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use fanfare_core::{
    policy::{Action, Admission, Identity, Policy, Verdict},
    session::{ErrorCode, Handshake, PublishCommand, Refusal, Visitors},
    topic::TopicConfig,
};

use crate::support::{Handle, Node, Remote, idle};

fn message() -> PublishCommand {
    PublishCommand::new("t", "x")
}

/// Decides by the token.
struct ByToken;

#[async_trait]
impl Policy for ByToken {
    async fn connect(&self, handshake: &Handshake) -> Result<Admission, Refusal> {
        match handshake.credential() {
            Some("slow") => std::future::pending().await,
            Some("panic") => panic!("on purpose"),
            Some("short") => Ok(Admission::Accept(Identity::user("ann").expires_in(Duration::from_secs(5)))),
            Some("unknown") => Err(Refusal::unauthenticated("who?")),
            _ => Ok(Admission::AwaitConnect),
        }
    }

    fn authorize<'a>(&'a self, _: &'a Identity, _: Action<'a>) -> Verdict<'a> {
        Verdict::allow()
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_not_admitted_publishes_nothing() {
    let node = Node::start(|broker| broker.policy(ByToken)).await;
    let visitors = Visitors::new(&node.broker);
    for (token, code) in [
        ("slow", ErrorCode::Timeout),
        ("panic", ErrorCode::Internal),
        ("unknown", ErrorCode::Unauthenticated),
        ("later", ErrorCode::Unauthenticated),
    ] {
        let refused = visitors.admit(&Handshake::new("test").with_token(token)).await.unwrap_err();
        assert_eq!(refused.code, code, "{token}");
    }
    let admitted = visitors.admit(&Handshake::new("test").with_token("short")).await.unwrap();
    assert_eq!(admitted.client().user(), Some("ann"));
    tokio::time::advance(Duration::from_secs(5)).await;
    assert_eq!(admitted.publish(message()).await.unwrap_err().code, ErrorCode::TokenExpired);
    assert_eq!(node.broker.stats().published, 0);
}

#[tokio::test(start_paused = true)]
async fn a_visitor_is_no_connection() {
    let connected = Arc::new(AtomicUsize::new(0));
    let counted = connected.clone();
    let node = Node::start(|broker| {
        broker.limits(|limits| limits.connections = 0).on_connected(move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
            async {}
        })
    })
    .await;
    let visitors = Visitors::new(&node.broker);
    let visitor = visitors.admit(&Handshake::new("test")).await.unwrap();
    assert_eq!(node.broker.stats().connections, 0);
    visitor.publish(message()).await.unwrap();
    assert_eq!((node.broker.stats().published, connected.load(Ordering::Relaxed)), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn so_many_are_in_flight_until_the_backend_answers() {
    let remote = Remote::new();
    let node = Node::start(|broker| {
        broker
            .backend(Handle(remote.clone()))
            .limits(|limits| limits.publishes_in_flight = 2)
            .topic("log", TopicConfig::new().history(10))
    })
    .await;
    let visitors = Visitors::new(&node.broker);
    remote.acks.shut();
    let mut waiting = Vec::new();
    for number in 1..=2 {
        let visitor = visitors.admit(&Handshake::new("test")).await.unwrap();
        let publish = visitor.publish(PublishCommand::new("log", number.to_string()));
        waiting.push(tokio::spawn(publish));
    }
    idle().await;
    let refused = visitors.admit(&Handshake::new("test")).await.unwrap_err();
    assert_eq!((refused.code, refused.limit, refused.retry), (ErrorCode::LimitExceeded, Some(2), true));
    // Who gives up waiting makes room; what was committed stays so.
    waiting.pop().unwrap().abort();
    idle().await;
    drop(visitors.admit(&Handshake::new("test")).await.unwrap());
    remote.acks.open();
    let published = waiting.pop().unwrap().await.unwrap().unwrap();
    assert_eq!(published.position.unwrap().offset, 1);
    let stored = node.broker.history(fanfare_core::session::HistoryCommand::newest("log")).await.unwrap();
    assert_eq!(stored.messages.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_publish_that_is_given_up_within_a_hook_did_not_happen() {
    let node = Node::start(|broker| {
        broker.on_publish("t", |publish| async move {
            tokio::time::sleep(Duration::from_secs(60)).await;
            Ok(publish)
        })
    })
    .await;
    let visitors = Visitors::new(&node.broker);
    let visitor = visitors.admit(&Handshake::new("test")).await.unwrap();
    let given_up = tokio::time::timeout(Duration::from_secs(1), visitor.publish(message())).await;
    assert!(given_up.is_err());
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(node.broker.stats().published, 0);
}

#[tokio::test(start_paused = true)]
async fn draining_refuses_those_who_come_and_those_who_are_there() {
    let node = Node::start(|broker| broker).await;
    let visitors = Visitors::new(&node.broker);
    let visitor = visitors.admit(&Handshake::new("test")).await.unwrap();
    node.broker.drain(Duration::from_secs(1)).await;
    assert_eq!(visitor.publish(message()).await.unwrap_err().code, ErrorCode::Draining);
    let late = visitors.admit(&Handshake::new("test")).await.unwrap_err();
    assert_eq!(late.code, ErrorCode::Draining);
}

#[tokio::test]
async fn budgets_that_are_full_again_are_not_kept() {
    let node = Node::start(|broker| {
        broker.limits(|limits| {
            limits.commands_per_second = 1_000_000.try_into().unwrap();
            limits.commands_burst = 1.try_into().unwrap();
        })
    })
    .await;
    let visitors = Visitors::new(&node.broker);
    for number in 0..30_000 {
        let address = Ipv4Addr::from(number).into();
        drop(visitors.admit(&Handshake::new("test").with_address(address)).await.unwrap());
    }
    let shown = format!("{visitors:?}");
    let kept: usize = shown.chars().filter(char::is_ascii_digit).collect::<String>().parse().unwrap();
    assert!(kept <= 10_000, "{shown}");
}
