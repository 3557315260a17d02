//! A session outlives its connection: who has its secret takes it up, once.

mod hooks;
mod kept;
mod nodes;
mod once;
mod rights;

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
