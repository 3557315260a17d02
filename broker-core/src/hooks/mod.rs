//! What an app hears of its clients, and may say about what they publish.
//!
//! Hooks run in the connections' own tasks, never on a shard: they may await, publish and subscribe.
//! A hook that panics is an error reply to the one client, and nothing more.

mod membership;

use std::{fmt, panic::AssertUnwindSafe, sync::Arc};

use futures_util::{FutureExt, future::BoxFuture};
pub use membership::Unsubscribed;
pub(crate) use membership::{Happened, Membership};

use crate::{
    calls::Methods,
    message::Payload,
    policy::Identity,
    session::{ClientId, CloseReason, ErrorCode, Refusal},
    topic::{PatternTrie, TopicName, TopicPattern},
};

/// A connected client, as hooks see it. Cloning is cheap.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Client {
    /// The connection's public name.
    pub id: ClientId,
    /// Who it is, as the policy said.
    pub identity: Arc<Identity>,
    /// The name of its transport.
    pub transport: &'static str,
    /// Whether it has taken up the session of an earlier connection: it has that one's name, and its subscriptions.
    pub resumed: bool,
}

impl Client {
    /// The user, if the client has one.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        self.identity.user.as_deref()
    }
}

/// A message that a client wants to publish. A hook may change it, but not its topic.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ClientPublish {
    /// Who publishes.
    pub client: Client,
    /// The topic.
    pub topic: TopicName,
    /// The payload.
    pub payload: Payload,
    /// The event's name.
    pub event: Option<Arc<str>>,
    /// The key by which values replace each other.
    pub key: Option<Arc<str>>,
}

type Connected = dyn Fn(Client) -> BoxFuture<'static, ()> + Send + Sync;
type Publishing = dyn Fn(ClientPublish) -> BoxFuture<'static, Result<ClientPublish, Refusal>> + Send + Sync;
type Disconnecting = dyn Fn(Client, Vec<String>, CloseReason) -> BoxFuture<'static, ()> + Send + Sync;
type Disconnected = dyn Fn(Client, CloseReason) -> BoxFuture<'static, ()> + Send + Sync;

/// The hooks of a broker.
#[derive(Default)]
pub(crate) struct Hooks {
    connected: Vec<Box<Connected>>,
    publishing: PatternTrie<Box<Publishing>>,
    disconnecting: Vec<Box<Disconnecting>>,
    disconnected: Vec<Box<Disconnected>>,
    pub(crate) methods: Methods,
    pub(crate) membership: Membership,
}

impl Hooks {
    pub(crate) fn on_connected<F>(&mut self, hook: impl Fn(Client) -> F + Send + Sync + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.connected.push(Box::new(move |client| hook(client).boxed()));
    }

    pub(crate) fn on_publish<F>(
        &mut self,
        pattern: TopicPattern,
        hook: impl Fn(ClientPublish) -> F + Send + Sync + 'static,
    ) where
        F: Future<Output = Result<ClientPublish, Refusal>> + Send + 'static,
    {
        self.publishing.insert(pattern, Box::new(move |publish| hook(publish).boxed()));
    }

    pub(crate) fn on_disconnecting<F>(
        &mut self,
        hook: impl Fn(Client, Vec<String>, CloseReason) -> F + Send + Sync + 'static,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        self.disconnecting.push(Box::new(move |client, topics, reason| hook(client, topics, reason).boxed()));
    }

    pub(crate) fn on_disconnected<F>(
        &mut self,
        hook: impl Fn(Client, CloseReason) -> F + Send + Sync + 'static,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        self.disconnected.push(Box::new(move |client, reason| hook(client, reason).boxed()));
    }

    pub(crate) async fn run_connected(&self, client: &Client) {
        for hook in &self.connected {
            run("on_connected", || hook(client.clone())).await;
        }
    }

    /// Whether somebody wants to see what is published to a topic.
    pub(crate) fn watches(&self, topic: &TopicName) -> bool {
        !self.publishing.is_empty() && self.publishing.best(topic).is_some()
    }

    /// Runs the hooks of the patterns that match, the most specific first.
    pub(crate) async fn run_publish(&self, mut publish: ClientPublish) -> Result<ClientPublish, Refusal> {
        let topic = publish.topic.clone();
        let hooks: Vec<_> = self.publishing.matches(&topic).map(|(_, hook)| hook).collect();
        for hook in hooks {
            let panicked = || Refusal::new(ErrorCode::Internal, "the app failed to handle the message");
            publish = run("on_publish", || hook(publish)).await.unwrap_or_else(|| Err(panicked()))?;
            publish.topic = topic.clone();
        }
        Ok(publish)
    }

    pub(crate) async fn run_disconnecting(&self, client: &Client, topics: &[String], reason: &CloseReason) {
        for hook in &self.disconnecting {
            run("on_disconnecting", || hook(client.clone(), topics.to_vec(), reason.clone())).await;
        }
    }

    pub(crate) async fn run_disconnected(&self, client: &Client, reason: &CloseReason) {
        for hook in &self.disconnected {
            run("on_disconnected", || hook(client.clone(), reason.clone())).await;
        }
    }
}

/// Runs a hook; `None` when it panicked, in its call or in its future.
async fn run<T>(name: &'static str, hook: impl FnOnce() -> BoxFuture<'static, T>) -> Option<T> {
    let result = match std::panic::catch_unwind(AssertUnwindSafe(hook)) {
        Ok(future) => AssertUnwindSafe(future).catch_unwind().await,
        Err(panic) => Err(panic),
    };
    if result.is_err() {
        tracing::error!(target: "fanfare::hooks", hook = name, "a hook panicked");
    }
    result.ok()
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooks")
            .field("connected", &self.connected.len())
            .field("publishing", &self.publishing.len())
            .field("membership", &self.membership.len())
            .field("disconnecting", &self.disconnecting.len())
            .field("disconnected", &self.disconnected.len())
            .field("methods", &self.methods)
            .finish()
    }
}
