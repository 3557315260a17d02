//! Reading logs.

use std::{collections::HashSet, sync::Arc};

use fanfare_core::{
    backend::{BackendErrorKind, HistoryQuery, Page},
    message::Message,
    topic::TopicName,
};

use super::running::{Running, unexpected};
use crate::{
    error::Trouble,
    log::{self, After},
};

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
        let read = log::read(&node.scripts, &node.names, topic, from, limit);
        let answer = self.call(&node.names.topic(topic), read).await?;
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
                return Err(replaced());
            }
            page.more = before.more;
            // The log may have been trimmed since the first part was read. What has been read is here all the same.
            page.floor = page.floor.max(before.floor.min(first.offset - 1));
            before.messages.append(&mut page.messages);
            page.messages = before.messages;
        }
        Ok(page)
    }

    /// Answers are bounded; what is written meanwhile comes with a later one, and then counts.
    async fn latest(&self, topic: &TopicName) -> Result<Page, Trouble> {
        let node = &self.node;
        let (mut values, mut after, mut epoch) = (Vec::new(), 0, None);
        loop {
            let read = log::latest(&node.scripts, &node.names, topic, after);
            let answer = self.call(&node.names.topic(topic), read).await?;
            let (mut page, through) = log::parse_latest(answer).map_err(unexpected)?;
            if *epoch.get_or_insert(page.epoch) != page.epoch {
                return Err(replaced());
            }
            values.append(&mut page.messages);
            match through {
                Some(through) => after = through,
                None => {
                    page.messages = newest_of_each_key(values);
                    return Ok(page);
                }
            }
        }
    }
}

/// Values in the order in which they were written.
fn newest_of_each_key(mut values: Vec<Arc<Message>>) -> Vec<Arc<Message>> {
    let mut keys = HashSet::new();
    values.reverse();
    values.retain(|message| message.key().is_none_or(|key| keys.insert(key.to_owned())));
    values.reverse();
    values
}

fn replaced() -> Trouble {
    Trouble::unavailable("the log was replaced while it was read")
}
