//! A part of the topics with rules of its own.

use std::{fmt, sync::Arc};

use crate::{
    hooks::{Client, ClientPublish, Hooks, Unsubscribed},
    policy::Policy,
    session::Refusal,
    topic::{TopicConfig, TopicPattern},
};

/// What holds for the topics of a pattern: their own policy, hooks and configuration. What it does not say, the broker's own says.
///
/// Of several namespaces that match a topic, the policy and the configuration of the most specific one count, and all hooks run. What is not
/// subscribed to takes no memory: the topics of a tenant that nobody is connected for are nowhere.
///
/// ```
/// use fanfare_core::{Broker, Namespace, policy::{Open, Rules}, topic::TopicConfig};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let tenants = Namespace::new()
///     .policy(Rules::new().subscribe("tenant.*.news")?)
///     .topic(TopicConfig::new().history(100))
///     .on_subscribed(|client, topic| async move { println!("{} reads {topic}", client.id) });
/// let broker = Broker::builder().policy(Open).namespace("tenant.>", tenants).start().await?;
/// # Ok(()) }
/// ```
#[derive(Default)]
pub struct Namespace {
    pub(super) policy: Option<Arc<dyn Policy>>,
    pub(super) topic: Option<TopicConfig>,
    hooks: Vec<AddHook>,
}

type AddHook = Box<dyn FnOnce(&mut Hooks, TopicPattern) + Send>;

impl Namespace {
    /// A namespace that differs in nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Who may do what with these topics: [`Policy::authorize`] of this one is asked in place of the broker's. Who a client is, the broker's
    /// own decides for all namespaces ([`Policy::connect`]).
    ///
    /// A client that subscribes to a pattern needs the yes of each policy that decides on some of the topics that the pattern could match.
    #[must_use]
    pub fn policy(mut self, policy: impl Policy) -> Self {
        self.policy = Some(Arc::new(policy));
        self
    }

    /// How these topics behave, as [`BrokerBuilder::topic`](super::BrokerBuilder::topic) says.
    #[must_use]
    pub fn topic(mut self, config: TopicConfig) -> Self {
        self.topic = Some(config);
        self
    }

    /// Runs for each message that a client publishes to these topics, as [`BrokerBuilder::on_publish`](super::BrokerBuilder::on_publish) says.
    #[must_use]
    pub fn on_publish<F>(mut self, hook: impl Fn(ClientPublish) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<ClientPublish, Refusal>> + Send + 'static,
    {
        self.hooks.push(Box::new(move |hooks, pattern| hooks.on_publish(pattern, hook)));
        self
    }

    /// Runs when a client was subscribed, as [`BrokerBuilder::on_subscribed`](super::BrokerBuilder::on_subscribed) says.
    #[must_use]
    pub fn on_subscribed<F>(mut self, hook: impl Fn(Client, Arc<str>) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.hooks.push(Box::new(move |hooks, pattern| hooks.membership.on_subscribed(pattern, hook)));
        self
    }

    /// Runs when a client is subscribed no more, as [`BrokerBuilder::on_unsubscribed`](super::BrokerBuilder::on_unsubscribed) says.
    #[must_use]
    pub fn on_unsubscribed<F>(
        mut self,
        hook: impl Fn(Client, Arc<str>, Unsubscribed) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.hooks.push(Box::new(move |hooks, pattern| hooks.membership.on_unsubscribed(pattern, hook)));
        self
    }

    pub(super) fn add_hooks(self, hooks: &mut Hooks, pattern: &TopicPattern) {
        for add in self.hooks {
            add(hooks, pattern.clone());
        }
    }
}

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Namespace")
            .field("has_policy", &self.policy.is_some())
            .field("topic", &self.topic)
            .field("hooks", &self.hooks.len())
            .finish()
    }
}
