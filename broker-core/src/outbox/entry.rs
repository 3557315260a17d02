//! What waits in a queue, and what the queue is for.

use std::sync::Arc;

use crate::{
    message::{Gap, Message, Position},
    topic::{TopicName, TopicPattern},
};

/// What a subscription is for.
#[derive(Clone, Debug)]
pub(crate) enum Subject {
    Topic(TopicName),
    Pattern(TopicPattern),
}

impl Subject {
    /// The name or pattern, shared.
    pub(crate) fn text(&self) -> Arc<str> {
        match self {
            Self::Topic(name) => name.shared(),
            Self::Pattern(pattern) => pattern.shared(),
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::Topic(name) => name.as_str(),
            Self::Pattern(pattern) => pattern.as_str(),
        }
    }
}

/// One thing that waits for a subscriber.
#[derive(Debug)]
pub(crate) enum Entry {
    Message(Arc<Message>),
    Gap(Box<Gap>),
    /// All before it was missed, all after it is live.
    Live(Position),
    /// A message was hidden on purpose.
    Cursor(Position),
    /// A newer value of the same key has taken this place further back.
    Conflated,
}
