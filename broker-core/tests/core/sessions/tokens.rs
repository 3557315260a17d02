//! Tokens that expire: the client is told, brings a new one, or is closed.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use fanfare_core::{
    policy::{Action, Admission, Identity, Policy, Verdict},
    session::{CloseKind, Command, Handshake, Refusal},
};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::support::{Node, TestClient};

/// A token is `user:seconds`; `0` is for ever.
#[derive(Clone, Default)]
struct Tokens {
    /// What `connect` was told of who the client is.
    known: Arc<Mutex<Vec<Option<String>>>>,
}

#[async_trait]
impl Policy for Tokens {
    async fn connect(&self, handshake: &Handshake) -> Result<Admission, Refusal> {
        let known = handshake.refreshes().map(|known| format!("{:?}", known.user));
        self.known.lock().push(known);
        let Some(token) = handshake.credential() else { return Ok(Admission::AwaitConnect) };
        let (user, life) = token.split_once(':').ok_or_else(|| Refusal::unauthenticated("no token"))?;
        let identity = Identity::user(user).with_data(life.to_owned());
        match life.parse() {
            Ok(0) => Ok(Admission::Accept(identity)),
            Ok(seconds) => Ok(Admission::Accept(identity.expires_in(Duration::from_secs(seconds)))),
            Err(_) => {
                tokio::time::sleep(Duration::from_secs(5)).await;
                Ok(Admission::Accept(identity))
            }
        }
    }

    fn authorize<'a>(&'a self, who: &'a Identity, action: Action<'a>) -> Verdict<'a> {
        match action {
            // Only with a token for ever.
            Action::Subscribe(topic) if topic.as_str() == "inner" && who.data::<String>().unwrap() != "0" => {
                Verdict::deny(Refusal::forbidden("not with this token"))
            }
            _ => Verdict::allow(),
        }
    }
}

async fn client(token: &str) -> (Node, Tokens, TestClient) {
    let tokens = Tokens::default();
    let node = Node::start(|broker| broker.policy(tokens.clone())).await;
    let client = node.connect(Handshake::new("test").with_token(token)).await.unwrap();
    (node, tokens, client)
}

fn refresh(token: &str) -> Command {
    Command::Refresh { token: token.to_owned() }
}

fn left(client: &mut TestClient) -> Option<(u64, CloseKind)> {
    let (at, kind) = client.session().deadline()?;
    Some((at.saturating_duration_since(Instant::now()).as_secs_f64().round() as u64, kind))
}

#[tokio::test(start_paused = true)]
async fn a_client_is_told_in_time() {
    for (life, told) in [(3600, 60), (300, 60), (100, 20), (10, 2)] {
        let (_node, _, mut client) = client(&format!("ann:{life}")).await;
        tokio::time::sleep(Duration::from_secs(life - told - 1)).await;
        assert!(client.read().await.is_empty(), "{life}");
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(client.read().await, [format!("token expires in {told} s")], "{life}");
        tokio::time::sleep(Duration::from_secs(told)).await;
        assert!(client.read().await.is_empty(), "once: {life}");
        assert_eq!(left(&mut client), Some((0, CloseKind::TokenExpired)), "what closes it is the transport");
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_token_is_a_new_time() {
    let (_node, tokens, mut client) = client("ann:100").await;
    tokio::time::sleep(Duration::from_secs(81)).await;
    assert_eq!(client.read().await, ["token expires in 20 s"]);
    assert_eq!(client.call(refresh("ann:200")).await, ["1: refreshed for Some(200s)"]);
    assert_eq!(
        tokens.known.lock().last(),
        Some(&Some("Some(\"ann\")".to_owned())),
        "the policy knows who it is"
    );
    assert_eq!(left(&mut client), Some((200, CloseKind::TokenExpired)));
    tokio::time::sleep(Duration::from_secs(150)).await;
    assert!(client.read().await.is_empty());
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert_eq!(client.read().await, ["token expires in 40 s"]);
    assert_eq!(client.call(refresh("ann:0")).await, ["2: refreshed for None"]);
    assert_eq!(left(&mut client), None);
    tokio::time::sleep(Duration::from_secs(1000)).await;
    assert!(client.read().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_refused_changes_nothing() {
    let (_node, _, mut client) = client("ann:100").await;
    assert_eq!(client.call(refresh("bob:100")).await, ["1: error forbidden token"], "another user's");
    assert_eq!(client.call(refresh("nonsense")).await, ["2: error unauthenticated"]);
    assert_eq!(left(&mut client), Some((100, CloseKind::TokenExpired)));
    assert_eq!(client.subscribe("a").await, ["3: subscribed"]);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_decided_on_too_late_does_not_keep_the_connection() {
    let (_node, _, mut client) = client("ann:100").await;
    tokio::time::sleep(Duration::from_secs(98)).await;
    client.read().await;
    let id = client.next_id();
    {
        let mut refreshing = Box::pin(client.session().handle(id, refresh("ann:x")));
        let _ = tokio::time::timeout(Duration::from_secs(3), &mut refreshing).await;
    }
    // The transport looks at the clock also while a command is served.
    assert_eq!(left(&mut client), Some((0, CloseKind::TokenExpired)));
}

#[tokio::test(start_paused = true)]
async fn what_the_new_token_does_not_allow_ends() {
    let (node, _, mut client) = client("ann:0").await;
    client.subscribe("inner").await;
    client.subscribe("outer").await;
    let mut lines = client.call(refresh("ann:100")).await;
    lines.sort();
    assert_eq!(lines, ["3: refreshed for Some(100s)", "inner unsubscribed revoked"]);
    node.broker.publish("inner", "1").await.unwrap();
    node.broker.publish("outer", "2").await.unwrap();
    assert_eq!(client.read().await, ["outer 2"]);
}

#[tokio::test(start_paused = true)]
async fn who_is_not_admitted_has_nothing_to_refresh() {
    let node = Node::start(|broker| broker.policy(Tokens::default())).await;
    let mut client = node.connect(Handshake::new("test")).await.unwrap();
    assert_eq!(client.call(refresh("ann:100")).await, ["1: error unauthenticated"]);
    assert!(!client.session().is_admitted());
}
