//! One slice of one topic's turn.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, Instant},
};

use rustc_hash::FxHashSet;

use super::{
    inbox::Whom,
    shard::Shard,
    subs::{CatchUp, Place, Progress, Sub, SubKey, Subs},
    topic::{ShardTopic, Turn, Work},
};
use crate::{
    message::{Gap, GapReason, Position, counted},
    publish::Outcome,
    stats::Totals,
    subscriber::{Batch, Notice, Offer, Subscriber, SubscriptionId, Then},
    table::TopicId,
};

/// An offer that takes longer blocks, and is counted.
const SLOW_OFFER: Duration = Duration::from_millis(5);

impl Shard {
    /// Serves a topic for at most so many offers. True when it has more to fan out.
    pub(super) fn serve(&mut self, id: TopicId, offers: &mut usize) -> bool {
        if id == TopicId::DIRECT {
            return self.serve_direct(offers);
        }
        let Some(topic) = self.topics.get_mut(&id) else { return false };
        if topic.turn.is_none() {
            if topic.names_changed || topic.patterns_seen != self.patterns_generation {
                topic.by_pattern = by_pattern(topic, &self.patterns, &self.subs);
                topic.patterns_seen = self.patterns_generation;
                topic.names_changed = false;
            }
            let skipped = topic.begin_turn();
            self.context.inbox.release(skipped);
        }
        let Some(mut turn) = topic.turn.take() else {
            self.after_turn(id);
            return false;
        };
        let more_follows = !self.ring.is_empty();
        let mut slice = Slice {
            shard: self.context.index,
            dense: self.context.dense_offsets,
            subs: &mut self.subs,
            watch: Watch::new(&self.context.totals),
            offered: 0,
            inbox: &self.context.inbox,
            unflushed: more_follows.then_some(&mut self.unflushed),
            outcome: Outcome::default(),
        };
        let stale = topic.names_changed || topic.patterns_seen != self.patterns_generation;
        let everybody = topic.exact.len() + topic.by_pattern.len();
        while *offers > 0 && turn.cursor < everybody {
            let key = match topic.exact.get(turn.cursor) {
                Some(key) => *key,
                None => topic.by_pattern[turn.cursor - topic.exact.len()],
            };
            let by_pattern = turn.cursor >= topic.exact.len();
            turn.cursor += 1;
            *offers -= 1;
            if by_pattern && stale && !slice.still_matches(key, topic, &turn.work) {
                continue;
            }
            slice.offer(key, topic, &turn.work);
        }
        slice.settle(&turn);
        if turn.cursor < everybody {
            topic.turn = Some(turn);
            return true;
        }
        self.context.inbox.release(turn.cost);
        turn.finish(topic);
        // A topic without subscribers costs a turn, too, or it could starve the others.
        *offers = offers.saturating_sub(1);
        let more = !topic.pending.is_empty();
        if !more {
            self.after_turn(id);
        }
        more
    }

    fn after_turn(&mut self, id: TopicId) {
        let is_unused = self
            .topics
            .get(&id)
            .is_some_and(|t| t.is_unused() && t.by_pattern.is_empty() && !t.is_awaited(self.context.index));
        if is_unused {
            self.topics.remove(&id);
        } else {
            self.forget_unused();
        }
    }
}

impl Turn {
    /// Everybody has been served.
    fn finish(self, topic: &mut ShardTopic) {
        match self.work {
            Work::Messages { last: Some(last), .. } => topic.fanned = Some(last),
            Work::Skipped(position) | Work::NewEpoch(position, _) => topic.fanned = Some(position),
            Work::Gap { .. } | Work::Messages { .. } => {}
        }
    }
}

/// What one slice works with.
struct Slice<'a> {
    shard: usize,
    dense: bool,
    subs: &'a mut Subs,
    watch: Watch<'a>,
    /// Messages offered in this slice.
    offered: u64,
    inbox: &'a std::sync::Arc<super::Inbox>,
    /// Where connections gather that write once for several topics.
    unflushed: Option<&'a mut Vec<std::sync::Arc<dyn crate::subscriber::Subscriber>>>,
    outcome: Outcome,
}

impl Slice<'_> {
    /// Whether a subscription of a list that may have changed is still to get this by its pattern: not
    /// when its connection has subscribed by name meanwhile, and will read it from the log.
    fn still_matches(&self, key: SubKey, topic: &ShardTopic, work: &Work) -> bool {
        let Some(sub) = self.subs.get(key) else { return false };
        let Place::Pattern(held) = &sub.place else { return false };
        // What has come since may stand where another one was; what it gets begins after the turn.
        if held.since > topic.patterns_seen || !held.pattern.matches(topic.state.name()) {
            return false;
        }
        let by_name = self.subs.by_name(sub.client, topic.state.id()).map(|sub| &sub.progress);
        match (by_name, work) {
            (Some(Progress::CatchingUp(catch_up)), Work::Messages { last: Some(last), .. }) => {
                catch_up.after.epoch == last.epoch && catch_up.after.offset >= last.offset
            }
            _ => true,
        }
    }

    fn offer(&mut self, key: SubKey, topic: &ShardTopic, work: &Work) {
        let Some(sub) = self.subs.get_mut(key) else { return };
        match work {
            Work::Gap { gap, whom } => {
                let is_told = match whom {
                    Whom::All => true,
                    Whom::ByName => matches!(sub.place, Place::Topic { .. }),
                    Whom::ByPattern => matches!(sub.place, Place::Pattern(_)),
                };
                if is_told && matches!(sub.progress, Progress::Live) {
                    tell(&*sub.subscriber, sub.id, Notice::Gap(gap.clone()));
                }
            }
            Work::Skipped(position) => self.skip_to(key, topic, *position),
            Work::NewEpoch(position, generation) => self.new_epoch(key, topic, *position, *generation),
            Work::Messages { .. } => self.offer_messages(key, topic, work),
        }
    }

    /// What this node has not got of a log is lost. Who catches up comes by the hole, and who is subscribed by a pattern has
    /// been told.
    fn skip_to(&mut self, key: SubKey, topic: &ShardTopic, end: Position) {
        let Some(sub) = self.subs.get_mut(key) else { return };
        let after = match (&sub.place, &sub.progress) {
            (Place::Topic { .. }, Progress::Live) => topic.fanned,
            (Place::Topic { .. }, Progress::Ahead(after, _)) => Some(*after),
            _ => None,
        };
        if let Some(after) = after.filter(|after| after.epoch == end.epoch && after.offset < end.offset) {
            let gap = Gap::hole(counted(self.dense, after.offset, end.offset)).between(Some(after), None);
            tell(&*sub.subscriber, sub.id, Notice::Gap(gap));
            sub.progress = Progress::Live;
        }
    }

    /// The log was replaced: what was live goes on in the new one.
    fn new_epoch(&mut self, key: SubKey, topic: &ShardTopic, position: Position, generation: u32) {
        let Some(sub) = self.subs.get_mut(key) else { return };
        let is_there = match &sub.progress {
            Progress::Live => false,
            // It has begun in the new log, or in one after that: the turns have not come to it yet.
            Progress::Ahead(_, since) => *since >= generation,
            Progress::CatchingUp(_) | Progress::Awaiting | Progress::Stopped => true,
        };
        if !is_there {
            let gap = Gap::new(GapReason::Epoch, None).between(topic.fanned, None);
            tell(&*sub.subscriber, sub.id, Notice::Gap(gap));
            // A pattern has many topics, and stands nowhere in any of them.
            if matches!(sub.place, Place::Topic { .. }) {
                sub.progress = Progress::Ahead(position, generation);
            }
        }
    }

    fn offer_messages(&mut self, key: SubKey, topic: &ShardTopic, work: &Work) {
        let Work::Messages { messages, joined, has_exclusions, special, .. } = work else { return };
        let Some(sub) = self.subs.get_mut(key) else { return };
        let mut first = 0;
        match &sub.progress {
            Progress::Live => {
                if let (Some(fanned), Some(place)) = (topic.fanned, messages[0].place())
                    && (place.prev > fanned.offset || place.position.epoch != fanned.epoch)
                    && !matches!(sub.place, Place::Pattern(_))
                {
                    tell(&*sub.subscriber, sub.id, Notice::Gap(Gap::before(fanned, place, self.dense)));
                }
            }
            Progress::Ahead(after, _) => {
                let after = *after;
                first = messages.partition_point(|m| {
                    // Another epoch's are what was before: the change itself has a turn of its own.
                    m.position().is_some_and(|p| p.epoch != after.epoch || p.offset <= after.offset)
                });
                if first == messages.len() {
                    return;
                }
                if let Some(place) = messages[first].place().filter(|place| place.prev > after.offset) {
                    tell(&*sub.subscriber, sub.id, Notice::Gap(Gap::before(after, place, self.dense)));
                }
                sub.progress = Progress::Live;
            }
            Progress::CatchingUp(_) | Progress::Awaiting | Progress::Stopped => return,
        }
        if let Some(copies) = special.as_ref().and_then(|special| special.copies.as_ref())
            && !copies[self.shard].lock().insert(sub.client)
        {
            return;
        }
        let gathers = self.unflushed.is_some();
        let batch = Batch {
            topic: topic.state.name(),
            subscription: sub.id,
            messages,
            first,
            joined: Some(joined),
            has_exclusions: *has_exclusions,
            more_follows: gathers,
            page: false,
        };
        let offer = self.watch.offer(&*sub.subscriber, &batch);
        self.offered += (messages.len() - first) as u64;
        self.outcome.add(&batch, offer);
        if let Some(unflushed) = &mut self.unflushed
            && offer.queued > 0
        {
            unflushed.push(sub.subscriber.clone());
        }
        react(sub, offer, topic.state.is_logged().then(|| messages[0].position()).flatten());
        if let Then::CatchUp { .. } = offer.then
            && topic.state.is_presence()
        {
            sub.progress = Progress::Awaiting;
        }
        if let Progress::CatchingUp(_) | Progress::Awaiting = sub.progress {
            let pull = super::PullHandle { inbox: self.inbox.clone(), client: sub.client };
            tell(&*sub.subscriber, sub.id, Notice::CatchingUp(pull));
        }
    }

    fn settle(self, turn: &Turn) {
        self.watch.totals.offered.add(self.offered);
        if let Work::Messages { special: Some(special), .. } = &turn.work
            && let Some(report) = &special.report
        {
            report.add(&self.outcome);
        }
    }
}

/// Does what a subscriber asked for.
pub(super) fn react(sub: &mut Sub, offer: Offer, at: Option<Position>) {
    match (offer.then, at) {
        (Then::Continue, _) => {}
        (Then::CatchUp { after }, Some(at)) => {
            let catch_up = CatchUp { snapshot: Default::default(), after: Position::new(at.epoch, after) };
            sub.progress = Progress::CatchingUp(Box::new(catch_up));
        }
        // There is no log to catch up from.
        (Then::CatchUp { .. }, None) => {}
        (Then::Stop, _) => sub.progress = Progress::Stopped,
    }
}

/// Watches over offers: one that blocks is counted, and one that panics ends for its own connection alone.
pub(super) struct Watch<'a> {
    totals: &'a Totals,
    /// When the last offer ended.
    last: Instant,
}

impl<'a> Watch<'a> {
    pub(super) fn new(totals: &'a Totals) -> Self {
        Self { totals, last: Instant::now() }
    }

    pub(super) fn offer(&mut self, subscriber: &dyn Subscriber, batch: &Batch<'_>) -> Offer {
        let offer = catch_unwind(AssertUnwindSafe(|| subscriber.offer(batch))).unwrap_or_else(|_| {
            tracing::error!(target: "fanfare::core", client = %subscriber.client(), "a subscriber panicked");
            Offer { then: Then::Stop, ..Offer::default() }
        });
        let now = Instant::now();
        if now.duration_since(self.last) > SLOW_OFFER {
            self.totals.slow_offers.add(1);
        }
        self.last = now;
        offer
    }
}

/// Tells a subscriber something; one that panics is alone with it.
pub(super) fn tell(subscriber: &dyn Subscriber, id: SubscriptionId, notice: Notice) {
    if catch_unwind(AssertUnwindSafe(|| subscriber.notice(id, notice))).is_err() {
        tracing::error!(target: "fanfare::core", client = %subscriber.client(), "a subscriber panicked");
    }
}

/// The subscriptions to patterns that match a topic: the most specific of each connection, and none of a
/// connection that is subscribed by name.
fn by_pattern(topic: &ShardTopic, patterns: &crate::topic::PatternTrie<SubKey>, subs: &Subs) -> Vec<SubKey> {
    let mut found = Vec::new();
    if patterns.is_empty() {
        return found;
    }
    let mut clients = FxHashSet::default();
    patterns.for_each_match(topic.state.name(), &mut |_, key| {
        if let Some(sub) = subs.get(*key)
            && subs.by_name(sub.client, topic.state.id()).is_none()
            && clients.insert(sub.client)
        {
            found.push(*key);
        }
    });
    found
}
