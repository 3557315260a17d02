//! Messages of which it is not certain whose log they are of.
//!
//! The name of a stream that an operator has made does not tell which one it is. Where a message contradicts what is known of its log, the
//! stream is looked at, and until that is done nothing that comes of it is taken: all of it can be read.

use std::{collections::HashSet, time::Duration};

use fanfare_core::{
    message::{Epoch, Position},
    topic::TopicName,
};
use parking_lot::Mutex;
use tokio::{sync::Notify, time::sleep};

use super::{Pushed, order::Order};
use crate::log::Whose;

/// At most so often a stream is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Of how many topics it is remembered that something was not taken: of more, it may be of any.
const MAX_TOPICS: usize = 65_536;

/// The topics of which something was not taken.
#[derive(Default)]
pub(super) struct Doubts {
    topics: Mutex<HashSet<TopicName>>,
    wake: Notify,
}

impl Doubts {
    /// Something of a topic is not taken. True where nothing was in doubt before.
    fn add(&self, topics: &mut HashSet<TopicName>, topic: &TopicName) -> bool {
        let is_first = topics.is_empty();
        if topics.len() < MAX_TOPICS {
            topics.insert(topic.clone());
        }
        if is_first {
            self.wake.notify_one();
        }
        is_first
    }

    /// Nothing is known any more, and all will be read anew.
    pub(super) fn forget(&self) {
        self.topics.lock().clear();
    }
}

impl Pushed {
    /// The log that a message of an operator's stream is of, if that is certain. If not, it is not taken.
    pub(super) fn certain(
        &self,
        stream: &str,
        topic: &TopicName,
        (offset, before): (u64, u64),
    ) -> Option<Epoch> {
        // Asked under the lock, so that nothing is settled in between.
        let mut topics = self.doubts.topics.lock();
        if topics.is_empty()
            && let Whose::Operators(epoch) = self.logs.whose(stream)
            && !self.order.lock().contradicts(topic, Position::new(epoch, offset), before)
        {
            return Some(epoch);
        }
        if self.doubts.add(&mut topics, topic) {
            // From here on nobody takes what comes of it for what it was.
            self.logs.forget();
        }
        None
    }

    /// Looks at the stream where it is in doubt, or has turned out to be another one, for ever. What came meanwhile is read again.
    pub(crate) async fn settle_doubts(&self) {
        loop {
            tokio::select! {
                () = self.doubts.wake.notified() => {}
                () = self.logs.until_it_is_another() => {}
            }
            let stream = self.logs.stream().await;
            let mut lost = std::mem::take(&mut *self.doubts.topics.lock());
            if lost.len() == MAX_TOPICS {
                self.inbox.lost(None);
            }
            match stream {
                Ok(stream) => {
                    let others = {
                        let mut order = self.order.lock();
                        order.pass_over(&lost, stream.epoch);
                        order.leave_others(stream.epoch)
                    };
                    if !others.is_empty() {
                        tracing::warn!(
                            target: "fanfare::nats", stream = &*stream.name,
                            "the stream has been made anew: its logs are others"
                        );
                        self.interests.forget_marks();
                    }
                    lost.extend(others);
                }
                Err(trouble) => {
                    tracing::debug!(target: "fanfare::nats", %trouble, "the stream cannot be looked at");
                }
            }
            lost.iter().for_each(|topic| self.inbox.lost(Some(topic)));
            sleep(LOOK_EVERY).await;
        }
    }
}

impl Order {
    /// Whether an entry cannot be one of the log that is known, or has been taken: it stands where that has been already, or names one before it
    /// that is not the last one.
    pub(super) fn contradicts(&self, topic: &TopicName, place: Position, before: u64) -> bool {
        match self.last(topic, place.epoch) {
            Some(last) => place.offset <= last || before < last,
            // Something of this log has come before, which was not taken.
            None => before == 0 && self.is_passed_over(topic, place.epoch),
        }
    }
}
