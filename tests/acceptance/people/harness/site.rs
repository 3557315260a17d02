//! An app as an author would write it, in this process.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use axum::{
    Router,
    routing::{any_service, get_service},
};
use fanfare::{
    BackendFromUrl, Broker, BrokerBuilder,
    http::{Publish, Server},
    policy::{Action, Admission, Identity, Policy, Verdict},
    session::{Handshake, Refusal},
    sse::EventStream,
    ws::WebSocket,
};
use tokio::{net::TcpListener, task::JoinHandle};

use super::{Backend, Carrier, Client, Events};
use crate::support::PATIENCE;

/// The nodes of an app; what stands behind them; all gone when dropped.
pub(crate) struct Site {
    pub(crate) nodes: Vec<Node>,
    pub(crate) carrier: Carrier,
}

/// One node: a broker behind a port, with `/ws`, `/events` and `/publish`.
pub(crate) struct Node {
    pub(crate) broker: Broker,
    pub(crate) address: String,
    serving: JoinHandle<()>,
}

impl Site {
    /// Starts an app whose nodes are all built alike, on top of the policy [`Names`]. Nothing, and a loud word, where a program is missing.
    pub(crate) async fn start(
        backend: Backend,
        build: impl Fn(BrokerBuilder) -> BrokerBuilder,
    ) -> Option<Self> {
        let carrier = backend.start().await?;
        let mut nodes = Vec::new();
        for _ in 0..backend.nodes() {
            let builder = Broker::builder().policy(Names).backend_from_url(&carrier.url).unwrap();
            nodes.push(Node::start(build(builder)).await);
        }
        let site = Self { nodes, carrier };
        let others = site.nodes.len() - 1;
        until("the nodes know each other", || {
            site.nodes.iter().all(|node| node.broker.nodes().len() == others)
        })
        .await;
        Some(site)
    }

    /// The broker of the first node.
    pub(crate) fn broker(&self) -> &Broker {
        &self.nodes[0].broker
    }

    /// The node whose turn it is: of several things in a row none is on the node of the one before, where there are two.
    pub(crate) fn node(&self, turn: usize) -> &Node {
        &self.nodes[turn % self.nodes.len()]
    }

    /// Connects clients, in turn to each node, as a user each.
    pub(crate) async fn people<const N: usize>(&self, users: [&str; N]) -> [Client; N] {
        let people = users.iter().enumerate().map(|(turn, user)| self.node(turn).client(user));
        futures_util::future::join_all(people).await.try_into().ok().unwrap()
    }
}

impl Node {
    pub(crate) async fn start(builder: BrokerBuilder) -> Self {
        let broker = builder.start().await.unwrap();
        let app = Router::new()
            .route("/events", get_service(EventStream::new(&broker).unwrap()))
            .route("/publish", any_service(Publish::new(&broker)))
            .route("/ws", any_service(WebSocket::new(&broker).unwrap()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let serving = tokio::spawn(async move {
            Server::new().serve(listener, app).await.unwrap();
        });
        Self { broker, address, serving }
    }

    /// A client that is connected as this user.
    pub(crate) async fn client(&self, user: &str) -> Client {
        Client::of_user(&self.address, user).await
    }

    /// A stream of events, of a user, for a query such as `topic=news`.
    pub(crate) async fn events(&self, user: &str, query: &str) -> Events {
        Events::open(&self.address, &format!("/events?token={user}&{query}")).await
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Whoever says a name is the user of this name, who may do everything; who says nothing has to, in `connect`.
pub(crate) struct Names;

#[async_trait]
impl Policy for Names {
    async fn connect(&self, handshake: &Handshake) -> Result<Admission, Refusal> {
        Ok(match handshake.credential() {
            Some(name) => Admission::Accept(Identity::user(name)),
            None => Admission::AwaitConnect,
        })
    }

    fn authorize<'a>(&'a self, _: &'a Identity, _: Action<'a>) -> Verdict<'a> {
        Verdict::allow()
    }
}

/// Waits until something is so.
pub(crate) async fn until(what: &str, is: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is() {
        assert!(Instant::now() < deadline, "it is never so that {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
