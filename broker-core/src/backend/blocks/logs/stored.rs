//! One log, with what is known beside its messages.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::ids::SeenIds;
use crate::{
    backend::{HistoryQuery, Page, Retention},
    log::TopicLog,
    message::{Epoch, Message, MessageParts, Position, now_ms},
};

/// One log.
pub(super) struct Stored {
    pub(super) log: TopicLog,
    ids: SeenIds,
    written: Instant,
    /// How often it was opened, and not closed.
    pub(super) opened: usize,
}

impl Stored {
    pub(super) fn new(epoch: Epoch, retention: Retention) -> Self {
        let log = TopicLog::new(epoch, true, retention);
        Self { log, ids: SeenIds::default(), written: Instant::now(), opened: 0 }
    }

    /// Where the first message with the same `message_id` is.
    pub(super) fn first(&mut self, parts: &MessageParts, now: Instant) -> Option<Position> {
        self.ids.find(&parts.id_scope(), parts.message_id.as_ref()?, now)
    }

    pub(super) fn put(&mut self, message: Arc<Message>, retention: Retention, now: Instant) {
        let Some(position) = message.position() else { return };
        if position.epoch != self.log.epoch() {
            let opened = self.opened;
            *self = Self { opened, ..Self::new(position.epoch, retention) };
        } else if position.offset <= self.log.last() {
            return;
        }
        // Where it was written elsewhere, that was a while ago.
        let age = Duration::from_millis(now_ms().saturating_sub(message.time_ms()));
        let parts = message.parts();
        if let Some(id) = &parts.message_id {
            let window = retention.history.idempotency_window.saturating_sub(age);
            self.ids.remember(parts.id_scope(), id.clone(), position, now + window, now);
        }
        self.log.append_aged(message, now, age);
        self.written = now;
    }

    pub(super) fn read(&mut self, query: HistoryQuery, now: Instant) -> Page {
        self.log.expire(now);
        match query {
            HistoryQuery::After { offset, limit } => self.log.read_after(offset, limit),
            HistoryQuery::Before { offset, limit } => self.log.read_before(offset, limit),
            HistoryQuery::Latest => self.log.read_latest(),
        }
    }

    /// Nothing of it is needed any more.
    pub(super) fn is_idle(&mut self, now: Instant) -> bool {
        self.log.expire(now);
        self.ids.expire(now);
        let is_empty = self.log.is_empty() && self.ids.is_empty();
        self.opened == 0 && is_empty && now.duration_since(self.written) > 2 * self.log.ttl()
    }
}
