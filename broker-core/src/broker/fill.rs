//! The tail of a logged topic, read from the backend.

use tokio::time::Instant;

use super::Inner;
use crate::{
    backend::{BackendError, HistoryQuery, Page, Retention},
    log::TopicLog,
    message::Position,
    table::{Tail, TopicState},
};

impl Inner {
    /// Reads a topic's log from the backend until nothing is missing that was there when this node's interest began, or
    /// was seen since.
    pub(super) async fn fill(
        &self,
        topic: &TopicState,
        retention: Retention,
        top: Option<Position>,
    ) -> Result<(), BackendError> {
        topic.sequencer().tail = Tail::Filling { seen: top.map_or(0, |top| top.offset), news: 0 };
        let filling = Filling(topic);
        let filled = self.try_to_fill(topic, retention).await;
        drop(filling);
        filled
    }

    async fn try_to_fill(&self, topic: &TopicState, retention: Retention) -> Result<(), BackendError> {
        let limit = self.limits.history_page_messages;
        let latest = match retention.latest_keys {
            0 => Vec::new(),
            _ => self.read(topic, HistoryQuery::Latest).await?.messages,
        };
        let first = self.read_end(topic, retention).await?;
        let mut log = TopicLog::from_page(&first, self.capabilities.dense_offsets, retention, Instant::now());
        loop {
            let before = {
                let mut sequencer = topic.sequencer();
                let Tail::Filling { seen, news } = sequencer.tail else { return Ok(()) };
                if log.last() >= seen {
                    log.restore_latest(&latest);
                    sequencer.tail = Tail::Ready(Box::new(log));
                    return Ok(());
                }
                news
            };
            let page = self.read(topic, HistoryQuery::After { offset: log.last(), limit }).await?;
            if page.epoch != log.epoch() {
                log = TopicLog::from_page(&page, self.capabilities.dense_offsets, retention, Instant::now());
                continue;
            }
            if page.messages.is_empty() {
                // It was seen, but is not retained.
                log.skip_to(page.floor, page.last);
                if let Tail::Filling { seen, news } = &mut topic.sequencer().tail
                    && *news == before
                {
                    *seen = (*seen).min(page.last);
                }
            }
            for message in page.messages {
                log.append(message, Instant::now());
            }
        }
    }

    /// Reads as much of a log's end as this node retains: a page at a time, from the back.
    async fn read_end(&self, topic: &TopicState, retention: Retention) -> Result<Page, BackendError> {
        let most = retention.history.messages;
        let limit = |held: usize| (most - held).min(self.limits.history_page_messages);
        let mut end = self.read(topic, HistoryQuery::Before { offset: None, limit: limit(0) }).await?;
        let mut bytes = 0;
        while end.more && end.messages.len() < most && bytes < retention.history.bytes {
            let Some(first) = end.messages.first().and_then(|first| first.position()) else { break };
            let query = HistoryQuery::Before { offset: Some(first.offset), limit: limit(end.messages.len()) };
            let page = self.read(topic, query).await?;
            if page.epoch != end.epoch || page.messages.is_empty() {
                break;
            }
            bytes += page.messages.iter().map(|message| message.weight()).sum::<usize>();
            end.more = page.more;
            end.messages.splice(0..0, page.messages);
        }
        Ok(end)
    }

    /// Reads a page of a topic's log.
    pub(super) async fn read(&self, topic: &TopicState, query: HistoryQuery) -> Result<Page, BackendError> {
        self.call("history", self.backend.history(topic.name(), query)).await
    }
}

/// A tail that is being filled; one that was not filled to the end is none.
struct Filling<'a>(&'a TopicState);

impl Drop for Filling<'_> {
    fn drop(&mut self) {
        let mut sequencer = self.0.sequencer();
        if matches!(sequencer.tail, Tail::Filling { .. }) {
            sequencer.tail = Tail::None;
        }
    }
}
