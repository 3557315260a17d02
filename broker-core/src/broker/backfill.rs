//! What a tail lacks is read from the backend, and what cannot be read any more is told.

use std::sync::Arc;

use super::{Inner, receive::Way, settle::Settled};
use crate::{
    backend::HistoryQuery,
    fanout::{Cost, Event, Special, Whom},
    log::TopicLog,
    message::{LogPlace, Position},
    table::{Arrival, TopicState},
};

/// Whether what a log had was read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Read {
    All,
    /// The backend is to be asked again.
    Later,
    /// It need not be asked again.
    Never,
}

impl Inner {
    /// Reads what follows the tail from the backend, one reader at a time.
    pub(super) async fn backfill(&self, topic: &Arc<TopicState>) -> Settled {
        if topic.sequencer().log().is_none() {
            return Settled::Done;
        }
        match self.backfill_with(topic, None, &mut None).await {
            Read::All => Settled::Done,
            Read::Later | Read::Never => Settled::NotYet,
        }
    }

    /// The same up to a message that has come, where there is one, and it is known what belongs to it.
    pub(super) async fn backfill_with(
        &self,
        topic: &Arc<TopicState>,
        until: Option<LogPlace>,
        special: &mut Option<Arc<Special>>,
    ) -> Read {
        let _flight = topic.backfill.lock().await;
        loop {
            let Some(last) = topic.sequencer().log().map(TopicLog::top) else {
                // Nobody is subscribed by name any more; who is by a pattern may have waited for this.
                self.tell_lost(topic, Whom::ByPattern);
                return Read::All;
            };
            let query = HistoryQuery::After { offset: last.offset, limit: self.limits.history_page_messages };
            let page = match self.read(topic, query).await {
                Ok(page) => page,
                Err(error) if error.retry_can_help() => return Read::Later,
                Err(_) => return Read::Never,
            };
            self.totals.backfills.add(1);
            if page.epoch != last.epoch {
                if self.begin_epoch(topic, last.epoch, page.epoch) && page.last == 0 {
                    return Read::All;
                }
                continue;
            }
            let is_end = page.messages.is_empty();
            if is_end && until.is_none() {
                self.skip_to_end(topic, Position::new(page.epoch, page.last));
            }
            for message in page.messages {
                // Who is subscribed by a pattern alone was told of losses meanwhile, before what came after them.
                let is_held = topic.sequencer().log().is_some();
                if let Some(place) = message.place().filter(|_| is_held) {
                    let is_it = until.is_some_and(|until| until.position == place.position);
                    let special = if is_it { special.take() } else { None };
                    self.commit_logged(topic, message, place, Way::Read, special).await;
                }
            }
            // Where what was read does not reach the log's end, the next page says what has become of the rest.
            let is_all =
                |log: &TopicLog| until.is_some() || log.last() >= page.last || log.last() <= last.offset;
            if (is_end || !page.more) && topic.sequencer().log().is_some_and(is_all) {
                return Read::All;
            }
        }
    }

    /// Sees to it that a logged topic's tail reaches a position; where the backend does not know one, all there is.
    pub(super) async fn catch_up_with(&self, topic: &Arc<TopicState>, top: Option<Position>) -> Settled {
        let held = topic.sequencer().log().map(TopicLog::top);
        match (held, top) {
            (Some(held), Some(top)) if held.epoch == top.epoch && held.offset >= top.offset => Settled::Done,
            // Of another log the page tells, which is asked for now: the position may be of before what has come meanwhile.
            (Some(_), _) => self.backfill(topic).await,
            (None, _) => Settled::Done,
        }
    }

    /// Goes on at the end of a log of which the backend holds nothing more: what this node has missed there is lost, and
    /// nobody would hear of it before the next message.
    fn skip_to_end(&self, topic: &Arc<TopicState>, end: Position) {
        let mut sequencer = topic.sequencer();
        let shards = sequencer.shards(topic.name(), &self.table.patterns);
        let nothing = LogPlace { position: end, prev: end.offset };
        if sequencer.arrival(nothing) == Arrival::Hole {
            self.bring_patterns_to(topic, &mut sequencer, nothing, true);
            sequencer.skip_to(end.offset);
            self.push_all(topic, shards, Cost::default(), || Event::Skipped(end));
        }
    }
}
