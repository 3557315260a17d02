//! What a handler is given.

use crate::{Broker, hooks::Client, message::Payload, topic::TopicName};

/// A call of a client, as its handler sees it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ClientCall {
    /// The broker, so that a handler can publish, or call the client back.
    pub broker: Broker,
    /// Who calls.
    pub client: Client,
    /// The method, as the client named it: a handler of a pattern serves several.
    pub method: TopicName,
    /// What the client gave with it; JSON `null` where it gave nothing.
    pub payload: Payload,
}
