//! What a stream answers to a message.

use fanfare_core::backend::Accepted;
use fanfare_core::message::Position;

use super::{
    Logs,
    api::{self, PubAck, Refusal},
};
use crate::{error::Trouble, wire::Message};

impl Logs {
    /// Reads an acknowledgement.
    pub(crate) fn accepted(&self, answer: &Message) -> Result<Accepted, Trouble> {
        if answer.status() == Some(503) {
            return Err(Refusal::Nobody.into_trouble());
        }
        let PubAck { stream, seq, duplicate } = api::parse(answer).map_err(Refusal::into_trouble)?;
        let Some(epoch) = self.epoch_of(&stream) else {
            return Err(Trouble::outcome_unknown("the message was stored in a stream that is none of ours"));
        };
        let position = Position::new(epoch, seq);
        Ok(if duplicate {
            Accepted::duplicate_of(position)
        } else {
            self.has_reached(&stream, seq);
            Accepted::at(position)
        })
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
