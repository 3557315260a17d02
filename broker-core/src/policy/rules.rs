//! What is allowed, by pattern.

use async_trait::async_trait;

use super::{Action, Admission, Identity, Policy, Verdict};
use crate::{
    session::{Handshake, Refusal},
    topic::{InvalidTopic, PatternTrie, Topic, TopicPattern},
};

/// Admits everybody, anonymously, and allows what its patterns name: nothing,
/// until something is added. Reading the history is part of subscribing.
///
/// ```
/// use fanfare_core::policy::Rules;
///
/// let rules = Rules::new().subscribe("news.>")?.subscribe("chat.*")?.publish("chat.*")?;
/// # Ok::<(), fanfare_core::topic::InvalidTopic>(())
/// ```
#[derive(Debug, Default)]
pub struct Rules {
    subscribe: PatternTrie<()>,
    publish: PatternTrie<()>,
    call: PatternTrie<()>,
}

impl Rules {
    /// Nothing is allowed.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Allows subscribing to what a pattern matches, and to patterns within it.
    ///
    /// # Errors
    ///
    /// When the text is no pattern.
    pub fn subscribe(mut self, pattern: &str) -> Result<Self, InvalidTopic> {
        self.subscribe.insert(TopicPattern::new(pattern)?, ());
        Ok(self)
    }

    /// Allows publishing to what a pattern matches: topics, or with `$user.*`, `$client.*` or `$all` [addresses](crate::topic::Address).
    ///
    /// # Errors
    ///
    /// When the text is no pattern.
    pub fn publish(mut self, pattern: &str) -> Result<Self, InvalidTopic> {
        self.publish.insert(TopicPattern::new(pattern)?, ());
        Ok(self)
    }

    /// Allows calling the methods that a pattern matches.
    ///
    /// # Errors
    ///
    /// When the text is no pattern.
    pub fn call(mut self, pattern: &str) -> Result<Self, InvalidTopic> {
        self.call.insert(TopicPattern::new(pattern)?, ());
        Ok(self)
    }

    fn allows(&self, action: Action<'_>) -> bool {
        match action {
            Action::Subscribe(topic) | Action::History(topic) | Action::Presence(topic) => {
                self.subscribe.best(topic).is_some()
            }
            Action::Publish(topic) => self.publish.best(topic).is_some(),
            Action::PublishTo(address) => address.name().is_ok_and(|name| self.publish.best(&name).is_some()),
            Action::Call(method) => self.call.best(method).is_some(),
            Action::SubscribePattern(pattern) => {
                self.subscribe.iter().any(|(allowed, ())| allowed.covers(pattern))
            }
            // The server has allowed it by doing it.
            Action::Keep(_) | Action::KeepPattern(_) => true,
        }
    }
}

#[async_trait]
impl Policy for Rules {
    async fn connect(&self, _: &Handshake) -> Result<Admission, Refusal> {
        Ok(Admission::Accept(Identity::anonymous()))
    }

    fn authorize<'a>(&'a self, _: &'a Identity, action: Action<'a>) -> Verdict<'a> {
        if self.allows(action) {
            Verdict::allow()
        } else {
            Verdict::deny(Refusal::forbidden("no rule allows this"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topic::TopicName;

    #[test]
    fn what_no_rule_names_is_refused() {
        let rules = Rules::new().subscribe("chat.*").unwrap().publish("chat.lobby").unwrap();
        let topic = |name: &str| TopicName::new(name).unwrap();
        let pattern = |text: &str| TopicPattern::new(text).unwrap();
        assert!(rules.allows(Action::Subscribe(&topic("chat.a"))));
        assert!(rules.allows(Action::History(&topic("chat.a"))));
        assert!(rules.allows(Action::SubscribePattern(&pattern("chat.*"))));
        assert!(rules.allows(Action::Publish(&topic("chat.lobby"))));
        assert!(!rules.allows(Action::Publish(&topic("chat.a"))));
        assert!(!rules.allows(Action::Subscribe(&topic("chat"))));
        assert!(!rules.allows(Action::SubscribePattern(&pattern("chat.>"))));
        assert!(!rules.allows(Action::SubscribePattern(&pattern(">"))));
        assert!(!rules.allows(Action::Call(&topic("chat.lobby"))));
        assert!(rules.call("chat.*").unwrap().allows(Action::Call(&topic("chat.lobby"))));
    }
}
