//! Several nodes: all agree, and nobody is seen to leave who has only moved.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::BytesMut;
use fanfare_core::{
    Broker,
    backend::memory::{HubNode, MemoryHub},
    message::{Encoder, Frame},
    presence::PresenceConfig,
    session::{ClientId, CloseKind, Command, ConnectCommand, Reply},
};
use tokio::time::sleep;

use super::{json, news, rooms, user, watching, who_is_in};
use crate::support::{Handle, Lines, Node, TestClient};

pub(super) type Secrets = Arc<Mutex<HashMap<ClientId, String>>>;

/// The lines of these tests, and the secrets that clients were given.
pub(super) struct Knowing(pub(super) Secrets);

impl Encoder for Knowing {
    fn encode(&self, frame: Frame<'_>, out: &mut BytesMut) {
        if let Frame::Reply { reply: Reply::Connected(connected), .. } = frame
            && let Some(secret) = &connected.session
        {
            self.0.lock().unwrap().insert(connected.client, secret.clone());
        }
        Lines.encode(frame, out);
    }
}

async fn start(hub: &MemoryHub, secrets: &Secrets) -> Node {
    start_at(Arc::new(hub.node()), secrets).await
}

async fn start_at(place: Arc<HubNode>, secrets: &Secrets) -> Node {
    let broker =
        rooms(Broker::builder(), PresenceConfig::new()).backend(Handle(place)).start().await.unwrap();
    let format = broker.register(Arc::new(Knowing(secrets.clone()))).unwrap();
    Node { broker, format }
}

/// Two nodes that know each other.
pub(super) async fn two() -> (MemoryHub, Node, Node, Secrets) {
    let (hub, secrets) = (MemoryHub::new(), Secrets::default());
    let (a, b) = (start(&hub, &secrets).await, start(&hub, &secrets).await);
    sleep(Duration::from_secs(3)).await;
    (hub, a, b, secrets)
}

pub(super) async fn connect(node: &Node, name: &str, session: Option<String>) -> TestClient {
    let mut client = user(node, name).await;
    let mut connect = ConnectCommand::default();
    connect.session = session;
    client.send(Command::Connect(connect)).await.unwrap();
    client
}

#[tokio::test(start_paused = true)]
async fn both_nodes_list_the_members_of_both() {
    let (_hub, a, b, _) = two().await;
    let mut ann = user(&a, "ann").await;
    ann.call(watching("room.x")).await;
    let mut bob = user(&b, "bob").await;
    let lines = bob.call(watching("room.x")).await;
    // It has the other node's word before it is told anything.
    assert_eq!(lines, ["1: subscribed", "room.x presence snapshot [ann bob] (2, 2)"]);
    assert_eq!(news(&mut ann).await.last().unwrap(), "+bob (2, 2)");
    let id = ann.outbox.client();
    ann.unsubscribe("room.x").await;
    assert_eq!(news(&mut bob).await, [format!("-{id} (1, 1)")]);
    // A node without a member or a watcher asks the others.
    let mut cat = user(&a, "cat").await;
    assert_eq!(cat.call(who_is_in("room.x")).await, ["1: presence [bob] (1, 1)"]);
    assert!(a.broker.presence("room.x").update(bob.outbox.client(), json("7")).await.unwrap());
    assert_eq!(news(&mut bob).await, ["~bob=7 (1, 1)"]);
    assert_eq!(cat.call(who_is_in("room.x")).await, ["2: presence [bob=7] (1, 1)"]);
    sleep(Duration::from_secs(10)).await;
    assert!(!a.broker.presence("room.x").update(ann.outbox.client(), json("7")).await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_node_that_dies_takes_its_members_with_it_once() {
    let (hub, a, b, secrets) = two().await;
    let cable = Arc::new(hub.node());
    let c = start_at(cable.clone(), &secrets).await;
    sleep(Duration::from_secs(3)).await;
    let mut watchers = Vec::new();
    for node in [&a, &b] {
        let mut watcher = user(node, "watcher").await;
        watcher.call(watching("room.x")).await;
        watchers.push(watcher);
    }
    let mut doomed = Vec::new();
    for name in ["ann", "bob", "cat"] {
        let mut client = user(&c, name).await;
        client.subscribe("room.x").await;
        doomed.push(client);
    }
    for watcher in &mut watchers {
        assert!(news(watcher).await.last().unwrap().ends_with("(5, 4)"));
    }
    // Nothing is heard of it any more.
    cable.set_connected(false);
    let mut ids: Vec<_> = doomed.iter().map(|client| client.outbox.client().to_string()).collect();
    ids.sort();
    sleep(Duration::from_secs(5)).await;
    for watcher in &mut watchers {
        assert!(news(watcher).await.is_empty(), "too early: it may be back");
    }
    sleep(Duration::from_secs(3)).await;
    for watcher in &mut watchers {
        let told = news(watcher).await;
        assert_eq!(told.len(), 1, "{told:?}");
        let expected = ids.iter().map(|id| format!("-{id} ")).collect::<String>() + "(2, 1)";
        assert_eq!(told[0], expected);
    }
    sleep(Duration::from_secs(60)).await;
    for watcher in &mut watchers {
        assert!(news(watcher).await.is_empty());
    }
    // It was only cut off: its members are back, once.
    cable.set_connected(true);
    sleep(Duration::from_secs(8)).await;
    for watcher in &mut watchers {
        let told = news(watcher).await;
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].starts_with('+') && told[0].ends_with("(5, 4)"), "{told:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_takes_up_its_session_has_never_left() {
    let (_hub, a, b, secrets) = two().await;
    let mut here = user(&a, "here").await;
    here.call(watching("room.x")).await;
    let mut there = user(&b, "there").await;
    there.call(watching("room.x")).await;
    let mut ann = connect(&a, "ann", None).await;
    ann.subscribe("room.x").await;
    let id = ann.outbox.client();
    assert!(a.broker.presence("room.x").update(id, json("1")).await.unwrap());
    news(&mut here).await;
    news(&mut there).await;
    let mut node = &a;
    for round in 0..4 {
        ann.into_session().close(CloseKind::Lost.into()).await;
        sleep(Duration::from_secs(2)).await;
        node = if round % 2 == 0 { &b } else { &a };
        let secret = secrets.lock().unwrap().get(&id).cloned();
        ann = connect(node, "ann", secret).await;
        assert_eq!(ann.outbox.client(), id, "the session was taken up");
        sleep(Duration::from_secs(8)).await;
        assert_eq!(news(&mut here).await, Vec::<String>::new(), "round {round}");
        assert_eq!(news(&mut there).await, Vec::<String>::new(), "round {round}");
    }
    assert_eq!(node.broker.presence("room.x").counts().await.unwrap().clients, 3);
    ann.unsubscribe("room.x").await;
    for watcher in [&mut here, &mut there] {
        assert_eq!(news(watcher).await, [format!("-{id} (2, 2)")], "at once, although it was lost elsewhere");
    }
}

#[tokio::test(start_paused = true)]
async fn who_moves_from_a_node_that_stops_has_never_left() {
    let (_hub, a, b, secrets) = two().await;
    let mut watcher = user(&a, "watcher").await;
    watcher.call(watching("room.x")).await;
    let mut ann = connect(&b, "ann", None).await;
    ann.subscribe("room.x").await;
    let mut bob = connect(&b, "bob", None).await;
    bob.subscribe("room.x").await;
    let (id, gone) = (ann.outbox.client(), bob.outbox.client());
    news(&mut watcher).await;
    let secret = secrets.lock().unwrap().get(&id).cloned();
    let (ann, bob) = (ann.into_session(), bob.into_session());
    let drained = b.broker.drain(Duration::from_secs(5));
    let ended = async {
        ann.close(CloseKind::Draining.into()).await;
        bob.close(CloseKind::Draining.into()).await;
    };
    tokio::join!(drained, ended);
    sleep(Duration::from_secs(1)).await;
    let mut ann = connect(&a, "ann", secret).await;
    let is_same = ann.outbox.client() == id;
    ann.subscribe("room.x").await;
    let told = news(&mut watcher).await;
    if is_same {
        assert!(told.is_empty(), "{told:?}");
    } else {
        assert_eq!(told, ["+ann (4, 3)"], "the user has never left");
    }
    sleep(Duration::from_secs(6)).await;
    let told = news(&mut watcher).await;
    assert!(told[0].contains(&format!("-{gone} ")) && told[0].ends_with("(2, 2)"), "{told:?}");
}
