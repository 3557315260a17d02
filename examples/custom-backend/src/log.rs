//! One topic's log.

use std::{collections::HashSet, io, sync::Arc, time::Duration};

use fanfare_core::{
    backend::{HistoryQuery, Page, Retention},
    message::{Epoch, Message, MessageParts, Position},
};
use serde::{Deserialize, Serialize};

/// What a log retains: messages, bytes, lifetime, keys.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Keep(usize, usize, Duration, usize);

/// All messages since the journal began, so that offset 1 is the first; fewer can be read.
#[derive(Debug, Default)]
pub(crate) struct Log {
    pub(crate) messages: Vec<Arc<Message>>,
    pub(crate) keep: Keep,
}

impl From<Retention> for Keep {
    fn from(Retention { history, latest_keys, .. }: Retention) -> Self {
        Self(history.messages, history.bytes, history.ttl, latest_keys)
    }
}

impl Log {
    /// The message of the same scope and `message_id` that came within the window.
    pub(crate) fn find(&self, parts: &MessageParts, window: Duration) -> Option<Position> {
        let (scope, id) = (parts.id_scope(), parts.message_id.as_deref()?);
        let is_same = |first: &Message| first.message_id() == Some(id) && first.parts().id_scope() == scope;
        let mut recent = self.messages.iter().rev().take_while(|message| age(message) < window);
        recent.find(|message| is_same(message))?.position()
    }

    /// The offset of the last message.
    pub(crate) fn last(&self) -> u64 {
        self.messages.len() as u64
    }

    pub(crate) fn page(&self, epoch: Epoch, query: HistoryQuery) -> io::Result<Page> {
        let (Keep(count, most, lifetime, keys), end) = (self.keep, self.messages.len());
        let mut bytes = 0;
        let retained = self.messages.iter().rev().take(count).take_while(|message| {
            let is_newest = bytes == 0;
            bytes += message.payload().len();
            (is_newest || bytes <= most) && age(message) < lifetime
        });
        let floor = end - retained.count();
        let index = |offset: u64| usize::try_from(offset).unwrap_or(end).clamp(floor, end);
        let (messages, more) = match query {
            HistoryQuery::After { offset, limit } => {
                let from = index(offset);
                let to = end.min(from.saturating_add(limit));
                (self.messages[from..to].to_vec(), to < end)
            }
            HistoryQuery::Before { offset, limit } => {
                let to = offset.map_or(end, |offset| index(offset.saturating_sub(1)));
                let from = floor.max(to.saturating_sub(limit));
                (self.messages[from..to].to_vec(), from > floor)
            }
            HistoryQuery::Latest => {
                let mut seen = HashSet::new();
                let is_last =
                    |message: &&Arc<Message>| message.key().is_some_and(|key| seen.insert(key.to_owned()));
                let mut latest: Vec<_> =
                    self.messages.iter().rev().filter(is_last).take(keys).cloned().collect();
                latest.reverse();
                (latest, false)
            }
            _ => return Err(io::ErrorKind::Unsupported.into()),
        };
        Ok(Page::new(epoch, floor as u64, end as u64, messages, more))
    }
}

fn age(message: &Message) -> Duration {
    let now = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
    now.saturating_sub(Duration::from_millis(message.time_ms()))
}
