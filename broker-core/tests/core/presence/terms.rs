//! What is granted, what the app says of a member since, and what the server ends while its client is away.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use fanfare_core::{
    Broker,
    policy::{Action, Admission, Grant, Identity, Policy, Verdict},
    presence::PresenceConfig,
    session::{CloseKind, Handshake, Refusal, SubscribeCommand},
    topic::TopicConfig,
};
use tokio::time::sleep;

use super::{
    json, news, node,
    nodes::{Knowing, Secrets, connect, two},
    user, watching,
};
use crate::support::Node;

#[tokio::test(start_paused = true)]
async fn what_the_app_says_goes_before_what_is_granted() {
    let node = node().await;
    let mut watcher = user(&node, "watcher").await;
    watcher.call(watching("room.a")).await;
    let mut king = user(&node, "king").await;
    king.subscribe("room.a").await;
    assert_eq!(news(&mut watcher).await, [r#"+king={"crown":true} (2, 2)"#]);
    let id = king.outbox.client();
    assert!(node.broker.presence("room.a").update(id, json("1")).await.unwrap());
    assert_eq!(news(&mut watcher).await, ["~king=1 (2, 2)"]);
    king.subscribe("room.a").await;
    assert!(news(&mut watcher).await.is_empty(), "it begins anew, and is what it was");
    king.unsubscribe("room.a").await;
    news(&mut watcher).await;
    king.subscribe("room.a").await;
    assert_eq!(news(&mut watcher).await, [r#"+king={"crown":true} (2, 2)"#]);
}

/// Also on a node that knew nothing of the topic before, and also what is said where it is not any more.
#[tokio::test(start_paused = true)]
async fn what_the_app_says_moves_with_the_member() {
    let (_hub, a, b, secrets) = two().await;
    let mut watcher = user(&a, "watcher").await;
    watcher.call(watching("room.x")).await;
    let mut king = connect(&a, "king", None).await;
    king.subscribe("room.x").await;
    let id = king.outbox.client();
    assert!(a.broker.presence("room.x").update(id, json("1")).await.unwrap());
    assert_eq!(news(&mut watcher).await, ["+king=1 (2, 2)"]);
    king.into_session().close(CloseKind::Lost.into()).await;
    sleep(Duration::from_secs(1)).await;
    let secret = secrets.lock().unwrap().get(&id).cloned();
    let king = connect(&b, "king", secret).await;
    assert_eq!(king.outbox.client(), id, "the session was taken up");
    assert_eq!(news(&mut watcher).await, Vec::<String>::new());
    assert!(a.broker.presence("room.x").update(id, json("2")).await.unwrap());
    assert_eq!(news(&mut watcher).await, ["~king=2 (2, 2)"]);
    sleep(Duration::from_secs(12)).await;
    assert_eq!(news(&mut watcher).await, Vec::<String>::new());
    let members = b.broker.presence("room.x").page(None, 9).await.unwrap().members;
    assert_eq!(members.iter().find(|member| member.client == id).unwrap().meta.as_deref(), Some("2"));
}

#[tokio::test(start_paused = true)]
async fn who_is_let_go_while_it_is_away_leaves_at_once() {
    let (_hub, a, _b, _) = two().await;
    let mut watcher = user(&a, "watcher").await;
    watcher.call(watching("room.x")).await;
    for ending in ["unsubscribed", "moved", "revoked", "disconnected"] {
        let mut ann = connect(&a, "ann", None).await;
        ann.subscribe("room.x").await;
        let id = ann.outbox.client();
        ann.into_session().close(CloseKind::Lost.into()).await;
        assert_eq!(news(&mut watcher).await, ["+ann (2, 2)"]);
        let clients = a.broker.clients().user("ann");
        let outcome = match ending {
            "unsubscribed" => clients.unsubscribe("room.x").await,
            "moved" => clients.move_to("room.x", "room.y").await,
            "revoked" => clients.revoke("room.>").await,
            _ => clients.disconnect(CloseKind::Kicked).await,
        };
        outcome.unwrap();
        assert_eq!(news(&mut watcher).await, [format!("-{id} (1, 1)")], "{ending}");
        a.broker.clients().user("ann").disconnect(CloseKind::Kicked).await.unwrap();
    }
}

/// Nobody may subscribe.
const NO: u8 = 255;

/// Everybody is granted what is set.
struct Moody(Arc<AtomicU8>);

#[async_trait]
impl Policy for Moody {
    async fn connect(&self, handshake: &Handshake) -> Result<Admission, Refusal> {
        Ok(Admission::Accept(handshake.credential().map_or_else(Identity::anonymous, Identity::user)))
    }

    fn authorize<'a>(&'a self, who: &'a Identity, action: Action<'a>) -> Verdict<'a> {
        match self.0.load(Ordering::Relaxed) {
            NO if matches!(action, Action::Subscribe(_)) => Verdict::deny(Refusal::forbidden("not any more")),
            _ if who.user.as_deref() == Some("watcher") => Verdict::allow(),
            0 => Verdict::grant(Grant::new().hidden()),
            mood => Verdict::grant(Grant::new().presence(json(&mood.to_string()))),
        }
    }
}

async fn moody() -> (Arc<AtomicU8>, Node, Secrets) {
    let (mood, secrets) = (Arc::new(AtomicU8::new(1)), Secrets::default());
    let rooms = TopicConfig::new().presence(PresenceConfig::new());
    let broker = Broker::builder().policy(Moody(mood.clone())).topic("room.*", rooms).start().await.unwrap();
    let format = broker.register(Arc::new(Knowing(secrets.clone()))).unwrap();
    (mood, Node { broker, format }, secrets)
}

#[tokio::test(start_paused = true)]
async fn who_may_not_come_back_leaves_at_once() {
    let (mood, node, secrets) = moody().await;
    let mut watcher = user(&node, "watcher").await;
    watcher.call(watching("room.a")).await;
    let mut ann = connect(&node, "ann", None).await;
    ann.subscribe("room.a").await;
    let id = ann.outbox.client();
    ann.into_session().close(CloseKind::Lost.into()).await;
    assert_eq!(news(&mut watcher).await, ["+ann=1 (2, 2)"]);
    mood.store(NO, Ordering::Relaxed);
    let secret = secrets.lock().unwrap().get(&id).cloned();
    let ann = connect(&node, "ann", secret).await;
    assert_eq!(ann.outbox.client(), id, "the session was taken up");
    mood.store(1, Ordering::Relaxed);
    assert_eq!(news(&mut watcher).await, [format!("-{id} (1, 1)")]);
}

#[tokio::test(start_paused = true)]
async fn who_is_granted_something_else_is_shown_so() {
    let (mood, node, _) = moody().await;
    let mut watcher = user(&node, "watcher").await;
    watcher.call(watching("room.a")).await;
    let mut ann = user(&node, "ann").await;
    ann.call(fanfare_core::session::Command::Subscribe(SubscribeCommand::live("room.a"))).await;
    assert_eq!(news(&mut watcher).await, ["+ann=1 (2, 2)"]);
    let id = ann.outbox.client();
    for (next, expected) in
        [(2, "~ann=2 (2, 2)".to_owned()), (0, format!("-{id} (1, 1)")), (3, "+ann=3 (2, 2)".to_owned())]
    {
        mood.store(next, Ordering::Relaxed);
        node.broker.clients().reauthorize().await.unwrap();
        assert_eq!(news(&mut watcher).await, [expected]);
    }
}
