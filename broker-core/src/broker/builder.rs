//! How a broker is made.

use std::{fmt, sync::Arc, time::Duration};

use thiserror::Error;

use super::{Broker, Inner, Namespace, inner::Pace};
use crate::{
    Limits,
    backend::{Backend, BackendError, memory::MemoryBackend},
    calls::{CallConfig, ClientCall},
    hooks::{Client, ClientPublish, Hooks, Unsubscribed},
    message::Payload,
    policy::{Policies, Policy},
    session::{CloseReason, Refusal},
    topic::{InvalidTopic, PatternTrie, TopicConfig, TopicPattern},
};

/// How long [`BrokerBuilder::start`] waits for the backend.
const START_WITHIN: Duration = Duration::from_secs(10);

/// A broker to be configured. Without a [`Policy`] it does not start.
#[derive(Default)]
pub struct BrokerBuilder {
    policy: Option<Arc<dyn Policy>>,
    backend: Option<Arc<dyn Backend>>,
    limits: Limits,
    topics: Vec<(TopicPattern, TopicConfig)>,
    default: TopicConfig,
    namespaces: PatternTrie<Arc<dyn Policy>>,
    hooks: Hooks,
    shards: Option<usize>,
    ping: Option<Duration>,
    heartbeat: Option<Duration>,
    invalid: Option<InvalidTopic>,
}

impl BrokerBuilder {
    /// Who may connect, and who may do what.
    #[must_use]
    pub fn policy(mut self, policy: impl Policy) -> Self {
        self.policy = Some(Arc::new(policy));
        self
    }

    /// What carries messages between nodes; [`MemoryBackend`] unless set.
    #[must_use]
    pub fn backend(mut self, backend: impl Backend) -> Self {
        self.backend = Some(Arc::new(backend));
        self
    }

    /// How the topics that a pattern matches behave. Of several patterns that match, the most specific counts.
    #[must_use]
    pub fn topic(mut self, pattern: &str, config: TopicConfig) -> Self {
        if let Some(pattern) = self.pattern(pattern) {
            self.topics.push((pattern, config));
        }
        self
    }

    /// What holds for the topics that a pattern matches: a policy, hooks and a configuration of their own. A client is in
    /// all namespaces that it subscribes to, on one connection. See [`Namespace`].
    #[must_use]
    pub fn namespace(mut self, pattern: &str, namespace: Namespace) -> Self {
        let Some(pattern) = self.pattern(pattern) else { return self };
        if let Some(policy) = namespace.policy.clone() {
            // One that is given twice counts as it was given last.
            self.namespaces.remove(&pattern, |_| true);
            self.namespaces.insert(pattern.clone(), policy);
        }
        if let Some(config) = namespace.topic.clone() {
            self.topics.push((pattern.clone(), config));
        }
        namespace.add_hooks(&mut self.hooks, &pattern);
        self
    }

    /// How topics behave that no pattern matches: ephemeral unless set.
    #[must_use]
    pub fn default_topic(mut self, config: TopicConfig) -> Self {
        self.default = config;
        self
    }

    /// The bounds.
    #[must_use]
    pub fn limits(mut self, set: impl FnOnce(&mut Limits)) -> Self {
        set(&mut self.limits);
        self
    }

    /// How many fan-out shards there are, 1 to 64: as many as the runtime has worker threads unless set.
    #[must_use]
    pub fn shards(mut self, shards: usize) -> Self {
        self.shards = Some(shards);
        self
    }

    /// How often transports ping idle clients: 25 s unless set.
    #[must_use]
    pub fn ping_interval(mut self, every: Duration) -> Self {
        self.ping = Some(every);
        self
    }

    /// How often this node tells the other nodes of its cluster that it is there, from 10 ms to 10 min: 2 s unless set. One that has not been heard for three
    /// times this and a second is taken to be gone. Nodes may differ: each is judged by its own. A broker whose backend serves it alone says nothing.
    #[must_use]
    pub fn heartbeat(mut self, every: Duration) -> Self {
        self.heartbeat = Some(every);
        self
    }

    /// Runs when a client is admitted, before its first command is served.
    #[must_use]
    pub fn on_connected<F>(mut self, hook: impl Fn(Client) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.hooks.on_connected(hook);
        self
    }

    /// Runs when a client was subscribed, by its own command, by the server or with a session that it has taken up, to a topic that the pattern
    /// matches or to a pattern that it covers. The client's next command waits for it. Hooks hear of one client's subscriptions one after
    /// the other, in the order in which they began and ended.
    #[must_use]
    pub fn on_subscribed<F>(
        mut self,
        pattern: &str,
        hook: impl Fn(Client, Arc<str>) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        if let Some(pattern) = self.pattern(pattern) {
            self.hooks.membership.on_subscribed(pattern, hook);
        }
        self
    }

    /// Runs when a client is subscribed no more to what [`on_subscribed`](Self::on_subscribed) has told of, once, whatever the reason.
    #[must_use]
    pub fn on_unsubscribed<F>(
        mut self,
        pattern: &str,
        hook: impl Fn(Client, Arc<str>, Unsubscribed) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        if let Some(pattern) = self.pattern(pattern) {
            self.hooks.membership.on_unsubscribed(pattern, hook);
        }
        self
    }

    /// Runs for each message that a client publishes to a topic that the pattern matches, after the
    /// policy has allowed it: to validate, change or refuse it.
    ///
    /// ```
    /// # use fanfare_core::{Broker, policy::Open, session::Refusal};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let broker = Broker::builder()
    ///     .policy(Open)
    ///     .on_publish("chat.*", |publish| async move {
    ///         if publish.payload.len() > 500 {
    ///             return Err(Refusal::invalid_payload("a line has at most 500 bytes"));
    ///         }
    ///         Ok(publish)
    ///     })
    ///     .start()
    ///     .await?;
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn on_publish<F>(
        mut self,
        pattern: &str,
        hook: impl Fn(ClientPublish) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Result<ClientPublish, Refusal>> + Send + 'static,
    {
        if let Some(pattern) = self.pattern(pattern) {
            self.hooks.on_publish(pattern, hook);
        }
        self
    }

    /// Serves the calls of the methods that the pattern matches, after the policy has allowed them
    /// ([`Action::Call`](crate::policy::Action::Call)). Methods are named as topics are; the most specific pattern counts. See [`calls`](crate::calls).
    ///
    /// ```
    /// # use fanfare_core::{Broker, policy::Open, session::Refusal};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let broker = Broker::builder()
    ///     .policy(Open)
    ///     .on_call("shout", |call| async move {
    ///         let Some(text) = call.payload.as_str() else { return Err(Refusal::invalid_payload("text, please")) };
    ///         Ok(text.to_uppercase().into())
    ///     })
    ///     .start()
    ///     .await?;
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn on_call<F>(self, pattern: &str, handler: impl Fn(ClientCall) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<Payload, Refusal>> + Send + 'static,
    {
        self.on_call_with(pattern, CallConfig::new(), handler)
    }

    /// [`on_call`](Self::on_call) with a deadline of its own, or for several calls of a client at once.
    #[must_use]
    pub fn on_call_with<F>(
        mut self,
        pattern: &str,
        config: CallConfig,
        handler: impl Fn(ClientCall) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Result<Payload, Refusal>> + Send + 'static,
    {
        if let Some(pattern) = self.pattern(pattern) {
            self.hooks.methods.insert(pattern, config, handler);
        }
        self
    }

    /// Runs once when a connection is about to end, while its topics are still known. Its session may go on: a client that takes it up on another
    /// connection is heard of by [`on_connected`](Self::on_connected) again, under the same name, with [`Client::resumed`]. Where it comes back
    /// before its lost connection has ended, the hooks of that one may run behind.
    #[must_use]
    pub fn on_disconnecting<F>(
        mut self,
        hook: impl Fn(Client, Vec<String>, CloseReason) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.hooks.on_disconnecting(hook);
        self
    }

    /// Runs once when a connection has ended and its subscriptions are gone.
    #[must_use]
    pub fn on_disconnected<F>(
        mut self,
        hook: impl Fn(Client, CloseReason) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.hooks.on_disconnected(hook);
        self
    }

    /// Starts, and waits up to 10 s for the backend, which is tried again as long as that can help.
    ///
    /// # Errors
    ///
    /// What is missing or wrong in the configuration, or what keeps the backend from working.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub async fn start(self) -> Result<Broker, StartError> {
        let inner = self.build()?;
        inner.start_backend(START_WITHIN).await.map_err(StartError::Backend)?;
        Ok(Broker { inner })
    }

    /// Starts without waiting for the backend: until it is there, it is down. It is tried again for ever, unless it says
    /// that this cannot help.
    ///
    /// # Errors
    ///
    /// What is missing or wrong in the configuration.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn start_degraded(self) -> Result<Broker, StartError> {
        let inner = self.build()?;
        inner.start_backend_in_background();
        Ok(Broker { inner })
    }

    fn build(self) -> Result<Arc<Inner>, StartError> {
        if let Some(invalid) = self.invalid {
            return Err(StartError::InvalidPattern(invalid));
        }
        let policy = self.policy.ok_or(StartError::NoPolicy)?;
        let backend = self.backend.unwrap_or_else(|| Arc::new(MemoryBackend::new()));
        let mut limits = self.limits;
        limits.settle();
        let workers = || tokio::runtime::Handle::current().metrics().num_workers();
        let shards = self.shards.unwrap_or_else(workers).clamp(1, 64);
        let table = crate::table::Table::new(self.topics, self.default, limits.topics);
        Ok(Inner::new(
            Policies::new(policy, self.namespaces),
            backend,
            limits,
            table,
            self.hooks,
            shards,
            Pace {
                ping: self.ping.unwrap_or(Duration::from_secs(25)),
                heartbeat: self.heartbeat.unwrap_or(crate::cluster::HEARTBEAT),
            },
        ))
    }

    fn pattern(&mut self, pattern: &str) -> Option<TopicPattern> {
        match TopicPattern::new(pattern) {
            Ok(pattern) => Some(pattern),
            Err(error) => {
                self.invalid.get_or_insert(error);
                None
            }
        }
    }
}

impl fmt::Debug for BrokerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BrokerBuilder")
            .field("limits", &self.limits)
            .field("topics", &self.topics)
            .field("hooks", &self.hooks)
            .finish_non_exhaustive()
    }
}

/// Why a broker does not start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// Nobody has said who may do what.
    #[error("a broker needs a policy: call `policy(..)`; `policy::Open` allows everything to everybody")]
    NoPolicy,
    /// A pattern in the configuration is none.
    #[error("a topic pattern of the configuration is not valid")]
    InvalidPattern(#[source] InvalidTopic),
    /// The backend does not work.
    #[error("the backend does not start")]
    Backend(#[source] BackendError),
}
