//! Reading logs.

use fanfare_core::{
    backend::{BackendErrorKind, HistoryQuery, Page},
    topic::TopicName,
};

use super::running::{Running, unexpected};
use crate::{
    error::Trouble,
    keep::Peer,
    log::{self, After},
};

/// How many last values are read at once.
const VALUES_AT_ONCE: usize = 256;

impl Running {
    pub(super) async fn history(&self, topic: &TopicName, query: HistoryQuery) -> Result<Page, Trouble> {
        match query {
            HistoryQuery::After { offset, limit } => self.page(topic, After::After(offset), limit).await,
            HistoryQuery::Before { offset, limit } => self.pages_before(topic, offset, limit).await,
            HistoryQuery::Latest => self.latest(topic).await,
            _ => Err(Trouble::new(BackendErrorKind::Refused, "a query of a kind that is not known")),
        }
    }

    async fn page(&self, topic: &TopicName, from: After, limit: usize) -> Result<Page, Trouble> {
        let node = &self.node;
        let answer = self.call(topic, |_| log::read(&node.scripts, &node.names, topic, from, limit)).await?;
        log::parse_page(answer, from).map_err(unexpected)
    }

    /// Pages are bounded in bytes; who asks for the last messages wants them all.
    async fn pages_before(
        &self,
        topic: &TopicName,
        offset: Option<u64>,
        limit: usize,
    ) -> Result<Page, Trouble> {
        let mut page = self.page(topic, After::Before(offset), limit).await?;
        while page.more
            && page.messages.len() < limit
            && let Some(first) = page.messages.first().and_then(|message| message.position())
        {
            let rest = limit - page.messages.len();
            let mut before = self.page(topic, After::Before(Some(first.offset)), rest).await?;
            if before.epoch != page.epoch {
                return Err(Trouble::unavailable("the log was replaced while it was read"));
            }
            page.more = before.more;
            before.messages.append(&mut page.messages);
            page.messages = before.messages;
        }
        Ok(page)
    }

    async fn latest(&self, topic: &TopicName) -> Result<Page, Trouble> {
        let node = &self.node;
        let mut values = Vec::new();
        let mut skip = 0;
        loop {
            let call = |_: &Peer| log::latest(&node.scripts, &node.names, topic, skip, VALUES_AT_ONCE);
            let answer = self.call(topic, call).await?;
            let (mut page, count) = log::parse_latest(answer).map_err(unexpected)?;
            values.append(&mut page.messages);
            skip += count;
            if count < VALUES_AT_ONCE {
                // One that was written meanwhile may have been read twice.
                values.sort_by_key(|message| message.position().map(|position| position.offset));
                values.dedup_by_key(|message| message.position());
                page.messages = values;
                return Ok(page);
            }
        }
    }
}
