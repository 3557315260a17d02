//! Who is there, as a client asks.

use super::{CommandError, ErrorCode, PresenceCommand, Reply, RequestId, serve::SessionState};
use crate::{
    policy::Action,
    presence::{PresenceConfig, PresencePage},
    topic::TopicName,
};

/// How many members a page lists, unless the client says otherwise.
const USUAL_PAGE: u64 = 100;

impl SessionState {
    pub(super) async fn presence(&mut self, id: Option<RequestId>, command: PresenceCommand) {
        let reply = match self.read_presence(command).await {
            Ok(page) => Reply::Presence(page),
            Err(error) => error.into(),
        };
        self.reply(id, reply).await;
    }

    async fn read_presence(&mut self, command: PresenceCommand) -> Result<PresencePage, CommandError> {
        self.budgets.take_history(&self.seat.broker.limits)?;
        let topic =
            TopicName::new(&command.topic).map_err(|error| CommandError::invalid_topic("topic", &error))?;
        let config = self.may_see(&topic).await?;
        let broker = &self.seat.broker;
        let most = broker.limits.presence_page_members;
        let limit = usize::try_from(command.limit.unwrap_or(USUAL_PAGE)).unwrap_or(most).min(most);
        Ok(broker.presence.page(broker, &topic, config, command.after, limit).await)
    }

    /// Whether the client may see who is there.
    pub(super) async fn may_see(&mut self, topic: &TopicName) -> Result<PresenceConfig, CommandError> {
        self.authorize(Action::Presence(topic)).await?;
        let broker = &self.seat.broker;
        broker.presence.config(broker, topic).ok_or_else(|| {
            CommandError::new(ErrorCode::BadRequest, "the topic does not keep presence").field("presence")
        })
    }
}
