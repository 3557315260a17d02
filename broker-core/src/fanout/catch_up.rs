//! Reading again what a subscription has missed, page by page, at the subscriber's pace.

use super::{
    serve::{Watch, react, tell},
    shard::Shard,
    subs::{Place, Progress},
};
use crate::{
    message::{Gap, GapReason, Position},
    session::ClientId,
    subscriber::{Batch, Notice, SubscriptionId, Then},
};

/// How many bytes one page holds.
const PAGE_BYTES: usize = 64 << 10;

/// What comes next for a subscription that catches up.
enum Next {
    Page(Vec<std::sync::Arc<crate::message::Message>>, Position),
    Gap(Gap, Position),
    Live(Position, u32),
    Nothing,
}

impl Shard {
    /// Offers the next page, or makes the subscription live: only the shard can know that
    /// nothing is missing.
    pub(super) fn pull(&mut self, client: ClientId, subscription: SubscriptionId) {
        loop {
            let Some(key) = self.subs.find(client, subscription) else { return };
            if self.is_awaiting(key) {
                return;
            }
            let from_snapshot = self.has_snapshot(key);
            let next = self.next_for(key);
            let Some(sub) = self.subs.get_mut(key) else { return };
            let Progress::CatchingUp(catch_up) = &mut sub.progress else { return };
            match next {
                Next::Nothing => return,
                Next::Gap(gap, after) => {
                    catch_up.after = after;
                    tell(&*sub.subscriber, subscription, Notice::Gap(gap));
                }
                Next::Live(position, generation) => {
                    sub.progress = Progress::Ahead(position, generation);
                    tell(&*sub.subscriber, subscription, Notice::Live(position));
                    return;
                }
                Next::Page(messages, after) => {
                    catch_up.after = after;
                    let has_exclusions = messages.iter().any(|m| !m.except().is_empty());
                    let Some(first) = messages.first() else { return };
                    let batch = Batch {
                        topic: first.topic(),
                        subscription,
                        messages: &messages,
                        first: 0,
                        joined: None,
                        has_exclusions,
                        more_follows: false,
                        page: true,
                    };
                    let offer = Watch::new(&self.context.totals).offer(&*sub.subscriber, &batch);
                    self.context.totals.offered.add(messages.len() as u64);
                    match (offer.then, &mut sub.progress) {
                        // Last values are not in the log's order: those that did not fit come next.
                        (Then::CatchUp { after: taken }, Progress::CatchingUp(catch_up)) if from_snapshot => {
                            let went_out =
                                messages.iter().position(|m| is_at(m, taken)).map_or(0, |at| at + 1);
                            for message in messages.into_iter().skip(went_out).rev() {
                                catch_up.snapshot.push_front(message);
                            }
                        }
                        _ => react(sub, offer, Some(after)),
                    }
                    return;
                }
            }
        }
    }

    fn has_snapshot(&self, key: super::subs::SubKey) -> bool {
        let progress = self.subs.get(key).map(|sub| &sub.progress);
        matches!(progress, Some(Progress::CatchingUp(catch_up)) if !catch_up.snapshot.is_empty())
    }

    fn next_for(&mut self, key: super::subs::SubKey) -> Next {
        let Some(sub) = self.subs.get_mut(key) else { return Next::Nothing };
        let (Place::Topic { topic: id, .. }, Progress::CatchingUp(catch_up)) =
            (&sub.place, &mut sub.progress)
        else {
            return Next::Nothing;
        };
        let Some(topic) = self.topics.get(id) else { return Next::Nothing };
        let max_messages = topic.state.config().queue_limit().unwrap_or(self.context.page_messages);
        if !catch_up.snapshot.is_empty() {
            let count = catch_up.snapshot.len().min(max_messages);
            return Next::Page(catch_up.snapshot.drain(..count).collect(), catch_up.after);
        }
        let mut sequencer = topic.state.sequencer();
        let generation = sequencer.generation();
        let Some(log) = sequencer.log_mut() else { return Next::Nothing };
        log.expire(tokio::time::Instant::now());
        let after = catch_up.after;
        let floor = Position::new(log.epoch(), log.floor());
        if after.epoch != log.epoch() {
            return Next::Gap(Gap::new(GapReason::Epoch, None).between(Some(after), None), floor);
        }
        if after.offset < floor.offset {
            let missed = log.count_between(after.offset, floor.offset);
            return Next::Gap(Gap::new(GapReason::Slow, missed).between(Some(after), None), floor);
        }
        let page = log.page(after.offset, max_messages, PAGE_BYTES);
        if page.is_hole {
            let missed = log.count_between(after.offset, page.through);
            let gap = Gap::hole(missed).between(Some(after), log.next_after(page.through));
            return Next::Gap(gap, Position::new(after.epoch, page.through));
        }
        if page.messages.is_empty() {
            // Everything that is in the log has been offered, and the log is never behind the fan-out.
            return Next::Live(after, generation);
        }
        Next::Page(page.messages, Position::new(after.epoch, page.through))
    }
}

/// Whether a message is the one at an offset.
fn is_at(message: &crate::message::Message, offset: u64) -> bool {
    message.position().is_some_and(|position| position.offset == offset)
}
