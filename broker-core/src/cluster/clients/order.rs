//! What is to be done with clients.

use crate::{session::CloseReason, topic::TopicPattern};

/// What is to be done with clients. Topics and patterns go by one name: an exact pattern is a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// They are to be counted, and so many to be named.
    List {
        limit: u32,
    },
    Subscribe(TopicPattern),
    Unsubscribe(TopicPattern),
    Move {
        from: TopicPattern,
        to: TopicPattern,
    },
    Disconnect(CloseReason),
    Revoke(TopicPattern),
    Reauthorize,
}
