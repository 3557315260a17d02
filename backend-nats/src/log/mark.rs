//! Where a log without messages has got to.

use std::time::Duration;

use fanfare_core::{backend::Retention, message::Position, topic::TopicName};
use serde_json::json;

use super::{
    Keep, Logs, Mark, Record,
    api::{Info, Refusal, WRONG_LAST},
    read::Entry,
    stream::Stream,
};
use crate::{error::Trouble, receive::Interests};

/// How often it is tried again where others write at the same time.
const TRIES: usize = 16;

/// The longest time between two looks at the logs that somebody listens to.
const LOOK_EVERY: Duration = Duration::from_secs(6 * 3600);

impl Logs {
    /// Where a log ends, and the offset of its last entry. One that nothing is known of begins with a mark, so that its position
    /// stays valid.
    pub(crate) async fn top(
        &self,
        topic: &TopicName,
        retention: &Retention,
        interests: &Interests,
    ) -> Result<(Position, u64), Trouble> {
        for _ in 0..TRIES {
            let stream = self.stream().await?;
            let found = async {
                let top = self.find_top(&stream, topic, retention, interests).await?;
                if self.is_same(&stream).await? { Ok(top) } else { Err(Refusal::Nobody) }
            };
            match found.await {
                Ok(Some((offset, entry))) => return Ok((Position::new(stream.epoch, offset), entry)),
                Ok(None) => {}
                Err(refusal) if refusal.is_gone() => self.forget(),
                Err(refusal) => return Err(refusal.into_trouble()),
            }
        }
        Err(Trouble::unavailable("the log changes under our hands"))
    }

    async fn find_top(
        &self,
        stream: &Stream,
        topic: &TopicName,
        retention: &Retention,
        interests: &Interests,
    ) -> Result<Option<(u64, u64)>, Refusal> {
        let subject = self.names.log(topic);
        if let Some(last) = self.last(&stream.name, stream.is_replicated(), &subject).await? {
            interests.note_mark(topic, last.offset, last.stands_for());
            return Ok(Some((last.stands_for(), last.offset)));
        }
        // In a stream that has forgotten something, this may have been: then the log begins here, and not at its beginning.
        let info: Info = self.api.ask(&format!("STREAM.INFO.{}", stream.name), &json!({})).await?;
        let mark = if info.state.first_seq <= 1 { Mark::After(0) } else { Mark::First };
        let Some(at) = self.mark(stream, topic, Keep::of(retention), mark, 0).await? else { return Ok(None) };
        interests.note_mark(topic, at, mark.stands_for(at));
        Ok(Some((mark.stands_for(at), at)))
    }

    /// Puts a mark behind the last entry of a log. `None` where that is another one by now.
    async fn mark(
        &self,
        stream: &Stream,
        topic: &TopicName,
        keep: Keep,
        mark: Mark,
        last: u64,
    ) -> Result<Option<u64>, Refusal> {
        let headers = vec![
            ("Nats-Expected-Stream", stream.name.to_string()),
            ("Nats-Expected-Last-Subject-Sequence", last.to_string()),
        ];
        match self.api.store(self.names.log(topic), headers, Record::encode(keep, Some(mark), &[])).await {
            Ok(ack) => {
                self.has_reached(&ack.stream, ack.seq);
                Ok(Some(ack.seq))
            }
            Err(refusal) if refusal.has_code(&WRONG_LAST) => Ok(None),
            Err(refusal) => Err(refusal),
        }
    }

    /// Keeps known where logs have got to that somebody listens to, and nobody writes to, for ever.
    pub(crate) async fn keep_marks(&self, interests: &Interests) {
        loop {
            let age = self.known().map_or(LOOK_EVERY, |stream| stream.limits.age);
            tokio::time::sleep((age / 4).min(LOOK_EVERY)).await;
            for (topic, retention) in interests.logged() {
                // Another time, if not now: what there is lasts longer than this.
                if let Err(trouble) = self.renew(&topic, &retention, age).await {
                    tracing::debug!(target: "fanfare::nats", %trouble, "a mark could not be renewed");
                    break;
                }
            }
        }
    }

    async fn renew(&self, topic: &TopicName, retention: &Retention, age: Duration) -> Result<(), Trouble> {
        let stream = self.stream().await?;
        let last: Option<Entry> = self
            .last(&stream.name, stream.is_replicated(), &self.names.log(topic))
            .await
            .map_err(Refusal::into_trouble)?;
        if let Some(last) = last.filter(|last| last.age() > age / 3) {
            let mark = Mark::After(last.stands_for());
            let marked = self.mark(&stream, topic, Keep::of(retention), mark, last.offset).await;
            marked.map_err(Refusal::into_trouble)?;
        }
        Ok(())
    }
}
