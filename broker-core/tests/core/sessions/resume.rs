//! A session outlives its connection: who has its secret takes it up, once.

mod nodes;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::BytesMut;
use fanfare_core::{
    Broker, BrokerBuilder,
    backend::memory::{HubNode, MemoryHub},
    message::{Encoder, Frame},
    policy::{Action, Admission, Grant, Identity, Policy, Verdict},
    session::{
        ClientId, CloseKind, Command, ConnectCommand, Handshake, Refusal, Reply, Start, SubscribeCommand,
    },
    topic::TopicConfig,
};
use tokio::sync::Notify;

use crate::support::{Handle, Lines, Node, TestClient, idle};

/// The lines of these tests, and the secrets that clients were given.
struct Knowing {
    secrets: Arc<Mutex<HashMap<ClientId, String>>>,
}

impl Encoder for Knowing {
    fn encode(&self, frame: Frame<'_>, out: &mut BytesMut) {
        if let Frame::Reply { reply: Reply::Connected(connected), .. } = frame
            && let Some(secret) = &connected.session
        {
            self.secrets.lock().unwrap().insert(connected.client, secret.clone());
        }
        Lines.encode(frame, out);
    }
}

/// The token is the user's name; some subscriptions have to wait for a word.
#[derive(Clone, Default)]
struct Names {
    /// What is asked of `slow` and `late` is decided when this is told.
    decide: Arc<Notify>,
    asked: Arc<AtomicUsize>,
    closed: Arc<AtomicBool>,
}

#[async_trait]
impl Policy for Names {
    async fn connect(&self, handshake: &Handshake) -> Result<Admission, Refusal> {
        match handshake.credential() {
            Some("late") => {
                self.decide.notified().await;
                Ok(Admission::Accept(Identity::user("ann")))
            }
            Some("nobody") => Ok(Admission::Accept(Identity::anonymous())),
            Some(name) => Ok(Admission::Accept(Identity::user(name))),
            None => Ok(Admission::AwaitConnect),
        }
    }

    fn authorize<'a>(&'a self, _: &'a Identity, action: Action<'a>) -> Verdict<'a> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let decide = self.decide.clone();
        match action {
            Action::Subscribe(topic) | Action::Keep(topic)
                if topic.as_str() == "closing" && self.closed.load(Ordering::Relaxed) =>
            {
                Verdict::deny(Refusal::forbidden("it is closed"))
            }
            Action::Subscribe(topic) if topic.as_str() == "slow" => Verdict::later(async move {
                decide.notified().await;
                Ok(Grant::new())
            }),
            _ => Verdict::allow(),
        }
    }
}

struct Server {
    node: Node,
    policy: Names,
    secrets: Arc<Mutex<HashMap<ClientId, String>>>,
}

impl Server {
    async fn start(set: impl FnOnce(BrokerBuilder) -> BrokerBuilder) -> Self {
        let policy = Names::default();
        let builder = Broker::builder().policy(policy.clone()).shards(2);
        let builder = builder.topic("log.>", TopicConfig::new().history(100));
        let broker = set(builder).start().await.unwrap();
        let secrets = Arc::default();
        let format = broker.register(Arc::new(Knowing { secrets: Arc::clone(&secrets) })).unwrap();
        Self { node: Node { broker, format }, policy, secrets }
    }

    async fn door(&self) -> TestClient {
        self.node.connect(Handshake::new("test")).await.unwrap()
    }

    /// A client that is connected, and its secret.
    async fn client(&self, user: &str) -> (TestClient, String) {
        let mut client = self.door().await;
        let line = client.call(connect(user, None, &[])).await;
        assert_eq!(line, [format!("1: connected {user}")]);
        let id = client.session().client().unwrap();
        let secret = self.secrets.lock().unwrap()[&id].clone();
        (client, secret)
    }

    /// Takes a session up, and reads what comes.
    async fn resume(&self, user: &str, secret: &str) -> (TestClient, Vec<String>) {
        let mut client = self.door().await;
        let lines = client.call(connect(user, Some(secret), &[])).await;
        (client, lines)
    }
}

fn connect(token: &str, session: Option<&str>, topics: &[(&str, Start)]) -> Command {
    let mut connect = ConnectCommand::default();
    connect.token = Some(token.to_owned());
    connect.session = session.map(str::to_owned);
    connect.subscribe =
        topics.iter().map(|(topic, start)| SubscribeCommand::starting(*topic, *start)).collect();
    Command::Connect(connect)
}

/// The connection breaks.
async fn cut(client: TestClient) {
    client.into_session().close(CloseKind::Lost.into()).await;
}

#[tokio::test(start_paused = true)]
async fn a_client_gets_its_session_back() {
    let server = Server::start(|broker| broker).await;
    let (mut client, secret) = server.client("ann").await;
    assert_eq!(client.subscribe("log.a").await, ["2: subscribed #0"]);
    client.subscribe("now").await;
    client.subscribe("all.*").await;
    let id = client.session().client().unwrap();
    let by_server = server.node.broker.clients().client(id).subscribe("log.server").await.unwrap();
    assert_eq!(by_server.changed, 1);
    assert_eq!(client.read().await, ["log.server subscribed #0 by the server"]);
    cut(client).await;
    assert_eq!(server.node.broker.stats().parked_sessions, 1);
    server.node.publish_numbers("log.a", 1..=2).await;
    server.node.publish_numbers("log.server", 1..=1).await;
    server.node.publish_numbers("now", 1..=1).await;

    let (mut again, mut lines) = server.resume("ann", &secret).await;
    let reply = "1: connected ann resumed [log.a: subscribed recovered #0] [now: subscribed not recovered] \
                 [all.*: subscribed not recovered] [log.server: subscribed recovered #0]";
    assert_eq!(lines.remove(0), reply);
    lines.sort();
    let expected = [
        "all.* gap missed=? ?..? history",
        "log.a live #2",
        "log.a#1 1",
        "log.a#2 2",
        "log.server live #1",
        "log.server#1 1",
        "now gap missed=? ?..? history",
    ];
    assert_eq!(lines, expected);
    assert_eq!(again.session().client(), Some(id), "it is the same client");
    assert_eq!(server.node.broker.stats().parked_sessions, 0);
    server.node.broker.publish("now", "2").await.unwrap();
    assert_eq!(again.read().await, ["now 2"]);
    assert_eq!(again.unsubscribe("log.server").await, ["2: unsubscribed"]);
    // Once more: the secret is the session's for its life.
    cut(again).await;
    let (_, lines) = server.resume("ann", &secret).await;
    assert!(lines[0].starts_with("1: connected ann resumed"), "{lines:?}");
    assert!(!lines[0].contains("log.server"), "it has left this: {lines:?}");
}

#[tokio::test(start_paused = true)]
async fn what_the_client_has_had_does_not_come_again() {
    let server = Server::start(|broker| broker).await;
    let (mut client, secret) = server.client("ann").await;
    client.subscribe("log.a").await;
    client.subscribe("log.b").await;
    server.node.publish_numbers("log.a", 1..=2).await;
    client.read().await;
    cut(client).await;
    server.node.publish_numbers("log.a", 3..=3).await;
    let mut again = server.door().await;
    let after = server.node.at("log.a", 2).await;
    let lines = again.call(connect("ann", Some(&secret), &[("log.a", Start::After(after))])).await;
    let reply = "1: connected ann resumed [log.a: subscribed recovered #2] [log.b: subscribed recovered #0]";
    assert_eq!(lines, [reply, "log.a#3 3", "log.b live #0", "log.a live #3"]);
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_is_not_known_does_no_harm() {
    let server = Server::start(|broker| broker).await;
    let (mut client, secret) = server.client("ann").await;
    client.subscribe("a").await;
    cut(client).await;
    for wrong in ["", "x", &"0".repeat(64), &format!("{}{}", &secret[..32], "0".repeat(32))] {
        let (_, lines) = server.resume("ann", wrong).await;
        assert_eq!(lines, ["1: connected ann"], "{wrong}");
    }
    let (_, lines) = server.resume("bob", &secret).await;
    assert_eq!(lines, ["1: connected bob"], "it is another user's");
    let (_, lines) = server.resume("nobody", &secret).await;
    assert_eq!(lines, ["1: connected anonymous"], "it is a user's");
    let (_, lines) = server.resume("ann", &secret).await;
    assert_eq!(lines[0], "1: connected ann resumed [a: subscribed not recovered]", "it is hers still");
}

#[tokio::test(start_paused = true)]
async fn a_session_is_kept_for_a_time_and_then_nothing_of_it() {
    let server = Server::start(|broker| broker.limits(|limits| limits.parked_sessions = 3)).await;
    let mut secrets = Vec::new();
    for _ in 0..4 {
        let (mut client, secret) = server.client("ann").await;
        client.subscribe("a").await;
        cut(client).await;
        secrets.push(secret);
    }
    assert_eq!(server.node.broker.stats().parked_sessions, 3, "the oldest went");
    let (_client, lines) = server.resume("ann", &secrets[0]).await;
    assert_eq!(lines, ["1: connected ann"]);
    tokio::time::sleep(Duration::from_secs(119)).await;
    let (_client, lines) = server.resume("ann", &secrets[1]).await;
    assert!(lines[0].contains("resumed"), "{lines:?}");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(server.node.broker.stats().parked_sessions, 0);
    let (_client, lines) = server.resume("ann", &secrets[2]).await;
    assert_eq!(lines, ["1: connected ann"]);
}

#[tokio::test(start_paused = true)]
async fn who_leaves_on_purpose_has_left() {
    let server = Server::start(|broker| broker).await;
    for kind in [CloseKind::Normal, CloseKind::Kicked, CloseKind::Protocol] {
        let (client, secret) = server.client("ann").await;
        client.into_session().close(kind.into()).await;
        assert_eq!(server.resume("ann", &secret).await.1, ["1: connected ann"], "{kind:?}");
    }
    for kind in [CloseKind::Away, CloseKind::PongTimeout, CloseKind::SlowConsumer, CloseKind::TokenExpired] {
        let (client, secret) = server.client("ann").await;
        client.into_session().close(kind.into()).await;
        assert_eq!(server.resume("ann", &secret).await.1, ["1: connected ann resumed"], "{kind:?}");
    }
    let off = Server::start(|broker| broker.limits(|limits| limits.resume_within = Duration::ZERO)).await;
    let mut client = off.door().await;
    client.call(connect("ann", None, &[])).await;
    assert!(off.secrets.lock().unwrap().is_empty(), "no secret is given where nothing is kept");
    cut(client).await;
    assert_eq!(off.node.broker.stats().parked_sessions, 0);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_still_there_gives_its_session_up() {
    let server = Server::start(|broker| broker.limits(|limits| limits.connections_per_user = 1)).await;
    let (mut half_open, secret) = server.client("ann").await;
    half_open.subscribe("log.a").await;
    let id = half_open.session().client();
    let (mut again, lines) = server.resume("ann", &secret).await;
    assert_eq!(lines, ["1: connected ann resumed [log.a: subscribed recovered #0]", "log.a live #0"]);
    let over = half_open.over().await.map(|reason| reason.kind);
    assert_eq!(over, Some(CloseKind::Resumed));
    server.node.publish_numbers("log.a", 1..=1).await;
    assert_eq!(again.read().await, ["log.a#1 1"]);
    assert!(half_open.read().await.iter().all(|line| !line.starts_with("log.a")), "it is subscribed no more");
    // Its end takes nothing away from the one that came after.
    half_open.into_session().close(CloseKind::Lost.into()).await;
    assert_eq!(again.session().client(), id);
    let found = server.node.broker.clients().client(id.unwrap()).list().await.unwrap();
    assert_eq!(found.clients.len(), 1);
    assert_eq!(server.node.broker.stats().parked_sessions, 0);
    cut(again).await;
    assert_eq!(server.node.broker.stats().parked_sessions, 1);
}

#[tokio::test(start_paused = true)]
async fn of_two_that_come_at_once_one_has_it() {
    let server = Server::start(|broker| broker).await;
    let (mut client, secret) = server.client("ann").await;
    client.subscribe("slow-not").await;
    cut(client).await;
    let (mut one, mut two) = (server.door().await, server.door().await);
    let (first, second) = (connect("late", Some(&secret), &[]), connect("late", Some(&secret), &[]));
    let (one_id, two_id) = (one.next_id(), two.next_id());
    let decide = async {
        idle().await;
        server.policy.decide.notify_waiters();
    };
    let (a, b, ()) =
        tokio::join!(one.session().handle(one_id, first), two.session().handle(two_id, second), decide);
    a.unwrap();
    b.unwrap();
    // The second takes it from the first, which is told, and not both have it.
    let over = [one.over().await, two.over().await].map(|over| over.map(|reason| reason.kind));
    assert_eq!(over, [Some(CloseKind::Resumed), None]);
    server.node.broker.publish("slow-not", "1").await.unwrap();
    let read = [one.read().await, two.read().await].map(|lines| lines.contains(&"slow-not 1".to_owned()));
    assert_eq!(read, [false, true]);
    let all = server.node.broker.clients().user("ann").list().await.unwrap();
    assert_eq!(all.clients.len(), 1);
    assert_eq!(server.node.broker.stats().subscriptions, 1);
    cut(one).await;
    assert_eq!(server.node.broker.stats().parked_sessions, 0, "it has nothing to leave behind");
}

#[tokio::test(start_paused = true)]
async fn a_session_is_found_while_its_connection_is_being_closed() {
    let hold = Arc::new(Notify::new());
    let (held, topics) = (hold.clone(), Arc::new(Mutex::new(Vec::new())));
    let seen = topics.clone();
    let server = Server::start(|broker| {
        broker.on_disconnecting(move |_, topics, reason| {
            let (held, seen) = (held.clone(), seen.clone());
            async move {
                held.notified().await;
                seen.lock().unwrap().push((topics, reason.kind));
            }
        })
    })
    .await;
    let (mut client, secret) = server.client("ann").await;
    client.subscribe("log.a").await;
    let closing = tokio::spawn(client.into_session().close(CloseKind::Lost.into()));
    idle().await;
    assert!(!closing.is_finished(), "its hook runs");
    let (mut again, lines) = server.resume("ann", &secret).await;
    assert_eq!(lines, ["1: connected ann resumed [log.a: subscribed recovered #0]", "log.a live #0"]);
    hold.notify_one();
    closing.await.unwrap();
    assert_eq!(*topics.lock().unwrap(), [(vec!["log.a".to_owned()], CloseKind::Lost)]);
    assert_eq!(server.node.broker.stats().parked_sessions, 0, "it is not there twice");
    server.node.publish_numbers("log.a", 1..=1).await;
    assert_eq!(again.read().await, ["log.a#1 1"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_lost_while_it_is_being_taken_up_is_there_for_the_next() {
    let server = Server::start(|broker| broker).await;
    let (mut client, secret) = server.client("ann").await;
    client.subscribe("log.a").await;
    let id = client.next_id();
    let slow = Command::Subscribe(SubscribeCommand::live("slow"));
    let told = server.policy.decide.clone();
    let (served, ()) = tokio::join!(client.session().handle(id, slow), async move {
        idle().await;
        told.notify_waiters();
    });
    served.unwrap();
    assert_eq!(client.read().await.len(), 1);
    cut(client).await;
    let mut again = server.door().await;
    let id = again.next_id();
    let taking = again.session().handle(id, connect("ann", Some(&secret), &[]));
    assert!(tokio::time::timeout(Duration::from_secs(1), taking).await.is_err(), "the policy takes its time");
    cut(again).await;
    let mut third = server.door().await;
    let id = third.next_id();
    let told = server.policy.decide.clone();
    let (served, ()) =
        tokio::join!(third.session().handle(id, connect("ann", Some(&secret), &[])), async move {
            idle().await;
            told.notify_waiters();
        });
    served.unwrap();
    let reply = "1: connected ann resumed [log.a: subscribed recovered #0] [slow: subscribed not recovered]";
    assert_eq!(third.read().await[0], reply);
}

#[tokio::test(start_paused = true)]
async fn rights_are_looked_at_again() {
    let server = Server::start(|broker| broker).await;
    let (mut client, secret) = server.client("ann").await;
    client.subscribe("closing").await;
    client.subscribe("open").await;
    cut(client).await;
    server.policy.closed.store(true, Ordering::Relaxed);
    let asked = server.policy.asked.load(Ordering::Relaxed);
    let (client, lines) = server.resume("ann", &secret).await;
    let reply = "1: connected ann resumed [closing: error forbidden topic] [open: subscribed not recovered]";
    assert_eq!(lines[0], reply);
    assert_eq!(server.policy.asked.load(Ordering::Relaxed), asked + 2);
    server.policy.closed.store(false, Ordering::Relaxed);
    cut(client).await;
    let (_, lines) = server.resume("ann", &secret).await;
    assert_eq!(lines[0], "1: connected ann resumed [open: subscribed not recovered]", "it is gone for good");
}

#[tokio::test(start_paused = true)]
async fn a_right_that_is_taken_back_meanwhile_is_not_given_again() {
    let server = Server::start(|broker| broker).await;
    let (mut client, secret) = server.client("ann").await;
    client.subscribe("a.1").await;
    client.subscribe("b.1").await;
    cut(client).await;
    server.node.broker.clients().user("ann").revoke("a.*").await.unwrap();
    let (_, lines) = server.resume("ann", &secret).await;
    assert_eq!(lines[0], "1: connected ann resumed [b.1: subscribed not recovered]");
    let (client, secret) = server.client("ann").await;
    cut(client).await;
    server.node.broker.clients().user("ann").disconnect(CloseKind::Kicked).await.unwrap();
    assert_eq!(server.resume("ann", &secret).await.1, ["1: connected ann"], "who is thrown out stays out");
}

#[tokio::test(start_paused = true)]
async fn a_right_that_is_taken_back_while_the_session_is_taken_up_is_not_given_again() {
    let server = Server::start(|broker| broker).await;
    let (mut client, secret) = server.client("ann").await;
    let told = server.policy.decide.clone();
    let id = client.next_id();
    let slow = Command::Subscribe(SubscribeCommand::live("slow"));
    let (served, ()) = tokio::join!(client.session().handle(id, slow), async {
        idle().await;
        told.notify_waiters();
    });
    served.unwrap();
    client.subscribe("later").await;
    cut(client).await;
    let mut again = server.door().await;
    let id = again.next_id();
    let (served, ()) = tokio::join!(again.session().handle(id, connect("ann", Some(&secret), &[])), async {
        idle().await;
        // One is being asked about, the other has its turn after it.
        server.node.broker.clients().user("ann").revoke(">").await.unwrap();
        told.notify_waiters();
    });
    served.unwrap();
    let lines = again.read().await;
    assert_eq!(lines, ["1: connected ann resumed [slow: error revoked topic] [later: error revoked topic]"]);
    assert_eq!(server.node.broker.stats().subscriptions, 0);
}

#[tokio::test(start_paused = true)]
async fn what_the_server_had_made_is_looked_at_again_on_its_way_as_well() {
    let server = Server::start(|broker| broker).await;
    let (mut client, secret) = server.client("ann").await;
    let broker = &server.node.broker;
    broker.clients().user("ann").subscribe("closing").await.unwrap();
    let told = server.policy.decide.clone();
    let id = client.next_id();
    let slow = Command::Subscribe(SubscribeCommand::live("slow"));
    let (served, ()) = tokio::join!(client.session().handle(id, slow), async {
        idle().await;
        told.notify_waiters();
    });
    served.unwrap();
    cut(client).await;
    let mut again = server.door().await;
    let id = again.next_id();
    let (served, ()) = tokio::join!(again.session().handle(id, connect("ann", Some(&secret), &[])), async {
        idle().await;
        // It has been allowed, and waits for the other one.
        server.policy.closed.store(true, Ordering::Relaxed);
        let looking = broker.clients().user("ann");
        let (looked, ()) = tokio::join!(looking.reauthorize(), async {
            idle().await;
            told.notify_waiters();
        });
        looked.unwrap();
    });
    served.unwrap();
    let lines = again.read().await;
    assert!(lines[0].contains("[closing: error revoked topic retry]"), "{lines:?}");
    assert_eq!(again.session().subscription("closing"), None);
}

#[tokio::test(start_paused = true)]
async fn hooks_hear_of_connections() {
    let journal = Arc::new(Mutex::new(Vec::new()));
    let note = |what: &'static str| {
        let journal = journal.clone();
        move |id: ClientId, resumed: bool| journal.lock().unwrap().push((what, id, resumed))
    };
    let (up, going, gone) = (note("up"), note("going"), note("gone"));
    let server = Server::start(|broker| {
        broker
            .on_connected(move |client| {
                up(client.id, client.resumed);
                async {}
            })
            .on_disconnecting(move |client, _, _| {
                going(client.id, client.resumed);
                async {}
            })
            .on_disconnected(move |client, _| {
                gone(client.id, client.resumed);
                async {}
            })
    })
    .await;
    let (mut client, secret) = server.client("ann").await;
    let id = client.session().client().unwrap();
    cut(client).await;
    let (again, _) = server.resume("ann", &secret).await;
    cut(again).await;
    let expected = [
        ("up", id, false),
        ("going", id, false),
        ("gone", id, false),
        ("up", id, true),
        ("going", id, true),
        ("gone", id, true),
    ];
    assert_eq!(*journal.lock().unwrap(), expected);
    journal.lock().unwrap().clear();
    // One that was let in at the door is heard of under the name that it had there, too.
    let mut door = server.node.connect(Handshake::new("test").with_token("ann")).await.unwrap();
    let before = door.session().client().unwrap();
    door.call(connect("ann", Some(&secret), &[])).await;
    assert_eq!(door.session().client(), Some(id));
    let expected =
        [("up", before, false), ("going", before, false), ("gone", before, false), ("up", id, true)];
    assert_eq!(*journal.lock().unwrap(), expected);
    assert!(server.node.broker.clients().client(before).list().await.unwrap().clients.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_connection_with_subscriptions_of_its_own_takes_nothing_up() {
    let server = Server::start(|broker| broker).await;
    let (client, secret) = server.client("ann").await;
    cut(client).await;
    let mut door = server.node.connect(Handshake::new("test").with_token("ann")).await.unwrap();
    door.subscribe("a").await;
    assert_eq!(door.call(connect("ann", Some(&secret), &[])).await, ["2: connected ann"]);
    assert_eq!(server.resume("ann", &secret).await.1, ["1: connected ann resumed"], "it is still there");
}

#[tokio::test(start_paused = true)]
async fn who_comes_back_is_told_that_it_may_have_missed_what_was_addressed_to_it() {
    let server = Server::start(|broker| broker).await;
    let (client, secret) = server.client("ann").await;
    cut(client).await;
    let (client, lines) = server.resume("ann", &secret).await;
    assert_eq!(lines, ["1: connected ann resumed"], "nothing was for anybody");
    cut(client).await;
    server.node.broker.publish("$user.ann", "where are you?").await.unwrap();
    let gone = "$direct gap missed=? ?..? history";
    let (mut client, lines) = server.resume("ann", &secret).await;
    assert_eq!(lines, ["1: connected ann resumed", gone]);
    server.node.broker.publish("$user.ann", "there you are").await.unwrap();
    assert_eq!(client.read().await, ["$user.ann there you are"]);
    let (_bob, lines) = server.resume("bob", &secret).await;
    assert_eq!(lines, ["1: connected bob"], "who begins has missed nothing");
}
