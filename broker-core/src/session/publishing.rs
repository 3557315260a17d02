//! What a client publishes.

use std::sync::Arc;

use super::{
    CommandError, ErrorCode, PublishCommand, Reply, RequestId, authorize::authorize, serve::SessionState,
};
use crate::{
    broker::Inner,
    hooks::{Client, ClientPublish},
    message::{MessageParts, Publisher},
    policy::Action,
    publish::{Ack, PublishError},
    topic::{Address, TopicName},
};

impl SessionState {
    /// Commits a publish before the next command is served; the backend's acknowledgement is not waited for.
    pub(super) async fn publish(&mut self, id: Option<RequestId>, command: PublishCommand) {
        match self.commit(command).await {
            Ok(Ack::Done(published)) => self.reply(id, Reply::Published(published)).await,
            Ok(Ack::Waiting(ack, awaited)) => {
                let limit = self.seat.broker.limits.publishes_in_flight;
                self.pending.push(id, Ack::Waiting(ack, awaited.clone()), awaited);
                let (outbox, pending) = (&self.seat.outbox, &mut self.pending);
                std::future::poll_fn(|cx| pending.poll_below(cx, outbox, limit)).await;
            }
            Err(error) => self.reply(id, error.into()).await,
        }
    }

    async fn commit(&mut self, command: PublishCommand) -> Result<Ack, CommandError> {
        let Some(client) = self.seat.as_client() else {
            return Err(CommandError::new(ErrorCode::Unauthenticated, "send `connect` first"));
        };
        let (parts, also) = checked(&self.seat.broker, &client, command).await?;
        self.seat.check_stays()?;
        Ok(self.seat.broker.commit(parts, also).await?)
    }
}

/// The message, when it is within the limits, and policy and hooks allow it.
pub(super) async fn checked(
    broker: &Inner,
    client: &Client,
    command: PublishCommand,
) -> Result<(MessageParts, Vec<TopicName>), CommandError> {
    message(broker, client, command).await.inspect_err(|_| broker.totals.refused.add(1))
}

async fn message(
    broker: &Inner,
    client: &Client,
    command: PublishCommand,
) -> Result<(MessageParts, Vec<TopicName>), CommandError> {
    let (topic, also) = topics(broker, client, &command.topics).await?;
    let publisher = Publisher { client: client.id, user: client.identity.user.clone() };
    let mut parts = MessageParts::new(topic, command.payload);
    parts.event = command.event.map(Arc::from);
    parts.key = command.key.map(Arc::from);
    parts.message_id = command.message_id.map(Arc::from);
    if !command.echo {
        parts.except = Some(Arc::from([client.id]));
    }
    parts.publisher = Some(publisher);
    // What is over the limits never reaches the app.
    broker.check(&parts, &also)?;
    if std::iter::once(&parts.topic).chain(&also).any(|topic| broker.hooks.watches(topic)) {
        parts = run_hooks(broker, client, parts, &also).await?;
    }
    Ok((parts, also))
}

async fn topics(
    broker: &Inner,
    client: &Client,
    names: &[String],
) -> Result<(TopicName, Vec<TopicName>), CommandError> {
    let limit = broker.limits.topics_per_publish;
    if names.len() > limit {
        return Err(PublishError::TooManyTopics { limit, value: names.len() }.into());
    }
    let field = if names.len() > 1 { "topics" } else { "topic" };
    let mut topics = Vec::with_capacity(names.len());
    for name in names {
        let topic = TopicName::new(name).map_err(|error| CommandError::invalid_topic(field, &error))?;
        let address = Address::of(&topic);
        let action = address.as_ref().map_or(Action::Publish(&topic), Action::PublishTo);
        authorize(broker, &client.identity, action).await?;
        if !topics.contains(&topic) {
            topics.push(topic);
        }
    }
    if topics.is_empty() {
        return Err(CommandError::new(ErrorCode::BadRequest, "no topic is named").field("topic"));
    }
    Ok((topics.remove(0), topics))
}

/// Runs the hooks of each topic over the message.
async fn run_hooks(
    broker: &Inner,
    client: &Client,
    mut parts: MessageParts,
    also: &[TopicName],
) -> Result<MessageParts, CommandError> {
    let first = parts.topic.clone();
    for topic in std::iter::once(&first).chain(also) {
        let publish = ClientPublish {
            client: client.clone(),
            topic: topic.clone(),
            payload: parts.payload.clone(),
            event: parts.event.clone(),
            key: parts.key.clone(),
        };
        let publish = broker.hooks.run_publish(publish).await.map_err(CommandError::from)?;
        (parts.payload, parts.event, parts.key) = (publish.payload, publish.event, publish.key);
    }
    Ok(parts)
}
