//! What a stream answers to a message.

use fanfare_core::backend::Accepted;
use fanfare_core::message::Position;

use super::{
    Logs, Whose,
    api::{self, ID_IN_PROCESS, PubAck, Refusal},
};
use crate::{error::Trouble, wire::Message};

impl Logs {
    /// Reads an acknowledgement. `None` where another message with the same id is about to be stored: a stream of several replicas
    /// cannot tell its place before they have agreed on it.
    pub(crate) async fn accepted(&self, answer: &Message) -> Result<Option<Accepted>, Trouble> {
        if answer.status() == Some(503) {
            return Err(Refusal::Nobody.into_trouble());
        }
        let PubAck { stream, seq, duplicate } = match api::parse(answer) {
            Ok(stored) => stored,
            Err(refusal) if refusal.has_code(&[ID_IN_PROCESS]) => return Ok(None),
            Err(refusal) => return Err(refusal.into_trouble()),
        };
        let epoch = match self.whose(&stream) {
            Whose::Ours(epoch) | Whose::Operators(epoch) => Some(epoch),
            Whose::Unknown => {
                self.stream().await.ok().filter(|now| *now.name == *stream).map(|now| now.epoch)
            }
            Whose::Nobodys => self.epoch_of(&stream),
        };
        let Some(epoch) = epoch else {
            return Err(Trouble::outcome_unknown("the message was stored in a stream that is none of ours"));
        };
        let position = Position::new(epoch, seq);
        if duplicate {
            return Ok(Some(Accepted::duplicate_of(position)));
        }
        let number = answer.subject.rsplit_once('.').and_then(|(_, number)| number.parse().ok());
        let position = self.placed(&stream, number.unwrap_or_default(), position).await?;
        self.has_reached(&stream, seq);
        Ok(Some(Accepted::at(position)))
    }

    /// Whether a message that is a duplicate was stored so long ago that it is none for its topic: topics of one stream share the time
    /// for which it remembers ids, which is the longest of theirs.
    pub(crate) async fn is_past(&self, position: Position, window: std::time::Duration) -> bool {
        let Ok(stream) = self.stream().await else { return false };
        if stream.epoch != position.epoch || stream.limits.window == window {
            return false;
        }
        self.at(&stream.name, stream.is_replicated(), position.offset)
            .await
            .ok()
            .flatten()
            .is_some_and(|entry| entry.age() > window)
    }
}
