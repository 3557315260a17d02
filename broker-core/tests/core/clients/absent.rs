//! Clients whose connection is lost, and whose session waits for them.

use fanfare_core::{
    message::{Encoder, Format, Frame},
    session::{CloseKind, Command, ConnectCommand, Reply},
};

use super::*;
use crate::support::Lines;

/// The lines of these tests, and the secret that a client was given last.
#[derive(Clone, Default)]
struct Knowing(Arc<Mutex<Option<String>>>);

impl Encoder for Knowing {
    fn encode(&self, frame: Frame<'_>, out: &mut bytes::BytesMut) {
        if let Frame::Reply { reply: Reply::Connected(connected), .. } = frame
            && let Some(secret) = &connected.session
        {
            *self.0.lock().unwrap() = Some(secret.clone());
        }
        Lines.encode(frame, out);
    }
}

pub(super) struct Absent {
    pub(super) cluster: Cluster,
    knowing: Knowing,
    formats: Vec<Format>,
}

impl Absent {
    pub(super) async fn new() -> Self {
        Self::with(|builder| builder).await
    }

    async fn with(set: impl Fn(BrokerBuilder) -> BrokerBuilder) -> Self {
        let cluster = Cluster::with(2, set).await;
        let knowing = Knowing::default();
        let register = |node: &Node| node.broker.register(Arc::new(knowing.clone())).unwrap();
        let formats = cluster.nodes.iter().map(register).collect();
        Self { cluster, knowing, formats }
    }

    /// Connects to the second node, with or without the secret of a session.
    pub(super) async fn connect(&self, secret: Option<String>) -> (TestClient, Vec<String>) {
        self.connect_to(1, secret).await
    }

    pub(super) async fn connect_to(&self, at: usize, secret: Option<String>) -> (TestClient, Vec<String>) {
        let node = Node { broker: self.cluster.node(at).broker.clone(), format: self.formats[at].clone() };
        let mut client = node.connect(Handshake::new("test").with_token("ann")).await.unwrap();
        let mut connect = ConnectCommand::default();
        connect.session = secret;
        let lines = client.call(Command::Connect(connect)).await;
        (client, lines)
    }

    /// What a client was given last, to take its session up with.
    pub(super) fn secret(&self) -> String {
        self.knowing.0.lock().unwrap().clone().unwrap()
    }

    /// A client that was subscribed, and whose connection is lost now.
    pub(super) async fn lost(&self, topics: &[&str]) -> (ClientId, String) {
        let (mut client, _) = self.connect(None).await;
        for topic in topics {
            client.subscribe(topic).await;
        }
        let (id, secret) = (id(&mut client), self.secret());
        drop(client);
        soon().await;
        (id, secret)
    }

    /// Who is subscribed after the client has come back.
    async fn back(&self, secret: String) -> (ClientId, Vec<String>, TestClient) {
        let (mut client, _) = self.connect(Some(secret)).await;
        let mut topics = Vec::new();
        for topic in ["a", "b", "c", "c.*"] {
            let members = self.cluster.node(1).broker.clients().local();
            let is_in = if topic.contains('*') {
                client.session().subscription(topic).is_some()
            } else {
                members.topic(topic).count().await.unwrap().total > 0
            };
            if is_in {
                topics.push(topic.to_owned());
            }
        }
        (id(&mut client), topics, client)
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_disconnected_while_absent_comes_back_as_a_stranger() {
    let absent = Absent::new().await;
    let broker = &absent.cluster.node(0).broker;
    let (before, secret) = absent.lost(&["a"]).await;
    assert_eq!(
        counts(broker.clients().user("ann").disconnect(CloseKind::Restart).await.unwrap()),
        (0, 0, 2, 2)
    );
    assert_eq!(absent.back(secret).await.0, before, "who is to come back finds its session");

    let (before, secret) = absent.lost(&["a"]).await;
    assert_eq!(
        counts(broker.clients().user("bob").disconnect(CloseKind::Kicked).await.unwrap()),
        (0, 0, 2, 2)
    );
    assert_eq!(
        counts(broker.clients().client(before).disconnect(CloseKind::Kicked).await.unwrap()),
        (1, 1, 2, 2)
    );
    let (after, topics, _client) = absent.back(secret).await;
    assert_ne!(after, before);
    assert!(topics.is_empty());
}

#[tokio::test(start_paused = true)]
async fn who_breaks_its_connection_off_when_it_is_disconnected_has_lost_nothing_to_come_back_to() {
    let absent = Absent::new().await;
    let broker = &absent.cluster.node(1).broker;
    for breaks_off_first in [true, false] {
        let (mut client, _) = absent.connect(None).await;
        client.subscribe("a").await;
        let (before, secret) = (id(&mut client), absent.secret());
        client.wire.shut();
        broker.publish("a", "something that waits").await.unwrap();
        broker.clients().client(before).disconnect(CloseKind::Kicked).await.unwrap();
        let mut held = Some(client);
        if breaks_off_first {
            held.take().unwrap().into_session().close(CloseKind::Lost.into()).await;
        }
        let (after, topics, _client) = absent.back(secret).await;
        assert_ne!(after, before);
        assert_eq!(topics.len(), usize::from(!breaks_off_first), "{topics:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_revoked_meanwhile_is_not_found_again() {
    let absent = Absent::new().await;
    let broker = &absent.cluster.node(0).broker;
    let (before, secret) = absent.lost(&["a", "b", "c", "c.*"]).await;
    assert_eq!(counts(broker.clients().topic("b").unsubscribe("b").await.unwrap()), (1, 1, 2, 2));
    assert_eq!(
        counts(broker.clients().unsubscribe("*").await.unwrap()),
        (1, 0, 2, 2),
        "exactly this pattern"
    );
    assert_eq!(counts(broker.clients().user("ann").revoke("c.>").await.unwrap()), (1, 1, 2, 2));
    assert_eq!(broker.clients().count().await.unwrap().total, 0, "it is not there, though");
    let (after, topics, _client) = absent.back(secret).await;
    assert_eq!((after, topics), (before, vec!["a".to_owned(), "c".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn who_is_moved_or_subscribed_meanwhile_finds_itself_there() {
    let absent = Absent::new().await;
    let broker = &absent.cluster.node(0).broker;
    let (before, secret) = absent.lost(&["a"]).await;
    assert_eq!(counts(broker.clients().topic("a").move_to("a", "b").await.unwrap()), (1, 1, 2, 2));
    assert_eq!(counts(broker.clients().client(before).subscribe("c").await.unwrap()), (1, 1, 2, 2));
    assert_eq!(counts(broker.clients().client(before).subscribe("c").await.unwrap()), (1, 0, 2, 2));
    assert_eq!(counts(broker.clients().topic("a").move_to("a", "c").await.unwrap()), (0, 0, 2, 2));
    let (after, topics, _client) = absent.back(secret).await;
    assert_eq!((after, topics), (before, vec!["b".to_owned(), "c".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn whose_time_has_passed_is_not_counted_any_more() {
    let absent = Absent::new().await;
    let (_, secret) = absent.lost(&["a"]).await;
    tokio::time::sleep(Duration::from_secs(300)).await;
    let broker = &absent.cluster.node(0).broker;
    assert_eq!(counts(broker.clients().unsubscribe("a").await.unwrap()), (0, 0, 2, 2));
    assert!(absent.back(secret).await.1.is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_is_kept_is_authorized_when_its_client_comes_back_and_not_before() {
    let absent = Absent::new().await;
    let broker = &absent.cluster.node(0).broker;
    let (before, secret) = absent.lost(&["a", "c.*"]).await;
    assert_eq!(counts(broker.clients().reauthorize().await.unwrap()), (0, 0, 2, 2));
    let (after, topics, _client) = absent.back(secret).await;
    assert_eq!((after, topics), (before, vec!["a".to_owned(), "c.*".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn who_is_absent_may_be_in_no_more_topics_than_who_is_there() {
    let absent =
        Absent::with(|builder| builder.limits(|limits| limits.subscriptions_per_connection = 3)).await;
    let clients = absent.cluster.node(0).broker.clients();
    let (before, secret) = absent.lost(&["a", "b", "c.*"]).await;
    let full = clients.clone().subscribe("c").await.unwrap();
    assert_eq!((full.clients, full.changed, full.failed), (1, 0, 1));
    assert_eq!(counts(clients.clone().move_to("a", "c").await.unwrap()), (1, 1, 2, 2), "it leaves one");
    assert_eq!(counts(clients.clone().move_to("c", "c").await.unwrap()), (1, 0, 2, 2));
    assert_eq!(counts(clients.clone().unsubscribe("c.*").await.unwrap()), (1, 1, 2, 2));
    assert_eq!(counts(clients.clone().move_to("elsewhere", "a").await.unwrap()), (1, 0, 2, 2));
    let (after, topics, _client) = absent.back(secret).await;
    assert_eq!((after, topics), (before, vec!["b".to_owned(), "c".to_owned()]));
}
