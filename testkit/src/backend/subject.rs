//! Topics as cases use them.

use fanfare_core::{
    backend::{Interest, Retention},
    topic::{TopicConfig, TopicName, TopicPattern},
};

/// A topic, ephemeral or logged.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    pub(crate) name: TopicName,
    pub(crate) retention: Option<Retention>,
}

impl Subject {
    pub(crate) fn ephemeral(topic: &str) -> Self {
        Self { name: name(topic), retention: None }
    }

    /// Retains 10,000 messages.
    pub(crate) fn logged(topic: &str) -> Self {
        Self::retaining(topic, TopicConfig::new().history(10_000))
    }

    pub(crate) fn retaining(topic: &str, config: TopicConfig) -> Self {
        Self { name: name(topic), retention: Retention::of(&config) }
    }

    /// One of each kind.
    pub(crate) fn both(topic: &str) -> [Self; 2] {
        [Self::ephemeral(&format!("ephemeral.{topic}")), Self::logged(&format!("logged.{topic}"))]
    }

    pub(crate) fn interest(&self) -> Interest {
        Interest::Topic { name: self.name.clone(), retention: self.retention }
    }

    pub(crate) fn is_logged(&self) -> bool {
        self.retention.is_some()
    }
}

pub(crate) fn name(topic: &str) -> TopicName {
    TopicName::new(topic).unwrap_or_else(|error| panic!("{topic}: {error}"))
}

pub(crate) fn pattern(pattern: &str) -> Interest {
    Interest::Pattern(TopicPattern::new(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}")))
}
