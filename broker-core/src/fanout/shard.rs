//! The loop of one shard.

use std::{
    collections::{VecDeque, hash_map::Entry},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use rustc_hash::FxHashMap;
use tokio::sync::oneshot;

use super::{
    direct::{Direct, Find},
    inbox::{Cost, Event, Inbox, Item, Whom},
    lane::{Farewell, Op},
    serve::tell,
    subs::{Place, Progress, SubKey, Subs},
    topic::ShardTopic,
};
use crate::{
    message::Gap,
    presence::Behind,
    session::ClientId,
    stats::Totals,
    subscriber::{Notice, Subscriber, SubscriptionId},
    table::{Table, TopicId, TopicState},
    topic::{PatternTrie, TopicPattern},
};

/// How many offers a shard makes before it looks at its inbox and lets others run.
const OFFERS_PER_SLICE: usize = 256;

/// What one page counts as: it may be as long as the longest turn, and is one subscriber's own.
const OFFERS_PER_PAGE: usize = 32;

/// How many topics without subscribers by name a shard remembers, so that their
/// subscribers by pattern need not be searched for each message.
const REMEMBERED_TOPICS: usize = 4096;

/// What a shard shares with the rest of the broker.
pub(crate) struct ShardContext {
    pub(crate) index: usize,
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) table: Arc<Table>,
    pub(crate) totals: Arc<Totals>,
    /// Topics and patterns that may have lost their last subscriber on this node.
    pub(crate) left: Box<dyn Fn(Left) + Send + Sync>,
    pub(crate) subscriptions: Arc<AtomicUsize>,
    /// What one subscription's queue holds, where its topic does not say otherwise.
    pub(crate) page_messages: usize,
    /// Offsets are consecutive, so that a hole can be counted.
    pub(crate) dense_offsets: bool,
    /// Who an address stands for.
    pub(crate) find: Box<Find>,
    /// Who watches presence and has to begin anew.
    pub(crate) behind: Arc<Behind>,
}

/// A topic or a pattern whose last subscriber on this node has gone.
pub(crate) enum Left {
    Topic(Arc<TopicState>),
    Pattern(TopicPattern),
}

/// One shard: owns its subscribers and their topics outright.
pub(crate) struct Shard {
    pub(super) context: ShardContext,
    pub(super) subs: Subs,
    pub(super) topics: FxHashMap<TopicId, ShardTopic>,
    pub(super) patterns: PatternTrie<SubKey>,
    /// Counts the changes of `patterns`.
    pub(super) patterns_generation: u64,
    /// What is for connections themselves.
    pub(super) direct: Direct,
    /// The topics that have something to fan out, in turn.
    pub(super) ring: VecDeque<TopicId>,
    /// Subscriptions that have room for the next page of what they missed.
    pulls: VecDeque<(ClientId, SubscriptionId)>,
    /// Connections that were offered something and wait to write it with the rest.
    pub(super) unflushed: Vec<Arc<dyn Subscriber>>,
    reported: usize,
}

impl Shard {
    pub(crate) fn new(context: ShardContext) -> Self {
        Self {
            context,
            subs: Subs::default(),
            topics: FxHashMap::default(),
            patterns: PatternTrie::new(),
            patterns_generation: 0,
            direct: Direct::default(),
            ring: VecDeque::new(),
            pulls: VecDeque::new(),
            unflushed: Vec::new(),
            reported: 0,
        }
    }

    /// Serves until the inbox is closed and empty.
    pub(crate) async fn run(mut self) {
        let (mut lane, mut data) = (VecDeque::new(), VecDeque::new());
        let inbox = self.context.inbox.clone();
        loop {
            if self.ring.is_empty() && self.pulls.is_empty() {
                // An inbox that is never empty must not keep the thread to itself.
                tokio::task::consume_budget().await;
                if !std::future::poll_fn(|cx| inbox.poll_take(cx, &mut lane, &mut data)).await {
                    return self.end();
                }
            } else {
                // Others on this thread get their turn: the publishers among them.
                tokio::task::yield_now().await;
                inbox.take(&mut lane, &mut data);
            }
            self.step(&mut lane, &mut data);
        }
    }

    /// Takes in what has come, and fans out one slice.
    pub(crate) fn step(&mut self, lane: &mut VecDeque<Op>, data: &mut VecDeque<Item>) {
        self.step_within(lane, data, OFFERS_PER_SLICE);
    }

    /// The same with a slice of so many offers.
    pub(crate) fn step_within(
        &mut self,
        lane: &mut VecDeque<Op>,
        data: &mut VecDeque<Item>,
        mut offers: usize,
    ) {
        let (mut lost, mut passed, mut leaving) = (Vec::new(), Vec::new(), Vec::new());
        for op in lane.drain(..) {
            match op {
                Op::Passed { topic, tell } => passed.push((topic, tell)),
                Op::Farewell(all) => leaving.extend(all),
                op => {
                    if let Op::PatternsLost { gap, pattern } = &op {
                        lost.push((gap.clone(), pattern.clone()));
                    }
                    self.apply(op);
                }
            }
        }
        for item in data.drain(..) {
            self.enqueue(item);
        }
        for (gap, pattern) in lost {
            self.tell_patterns_behind(&gap, pattern.as_ref());
        }
        for (topic, tell) in passed {
            self.tell_when_passed(topic, tell);
        }
        self.end_when_passed(leaving);
        let mut for_pages = offers;
        self.serve_pulls(&mut for_pages);
        while offers > 0 {
            let Some(id) = self.ring.pop_front() else { break };
            let more = self.serve(id, &mut offers);
            match self.topics.get_mut(&id) {
                _ if more => self.ring.push_back(id),
                Some(topic) => topic.in_ring = false,
                None if id == TopicId::DIRECT => self.direct.in_ring = false,
                None => {}
            }
        }
        self.flush_gathered();
        self.report_size();
    }

    /// Tells all that are left that nothing comes any more.
    fn end(self) {
        for sub in self.subs.iter() {
            tell(&*sub.subscriber, sub.id, Notice::Ended(None));
        }
    }

    /// Whether nothing waits inside the shard.
    #[cfg(test)]
    pub(crate) fn is_idle(&self) -> bool {
        self.ring.is_empty() && self.pulls.is_empty()
    }

    /// Hands out pages to those that catch up, as far as this slice goes: a storm of them holds up nobody else.
    fn serve_pulls(&mut self, offers: &mut usize) {
        while *offers > 0
            && let Some((client, subscription)) = self.pulls.pop_front()
        {
            self.pull(client, subscription);
            *offers = offers.saturating_sub(OFFERS_PER_PAGE);
        }
    }

    fn apply(&mut self, op: Op) {
        match op {
            Op::Insert(insert) => self.insert(*insert),
            Op::Remove { client, subscription, reply } => self.remove(client, subscription, reply),
            Op::PatternsLost { gap, pattern } => self.tell_patterns(&gap, pattern.as_ref()),
            Op::Present { client, subscription, message } => self.present(client, subscription, message),
            Op::Pull { client, subscription } => self.pulls.push_back((client, subscription)),
            Op::Who { topic, tell } => _ = tell.send(self.who(topic)),
            // What is still in the inbox comes before.
            Op::Passed { topic, tell } => self.tell_when_passed(topic, tell),
            Op::Farewell(all) => self.end_when_passed(all),
        }
    }

    /// Tells when what waits of a topic has been fanned out.
    fn tell_when_passed(&mut self, topic: TopicId, tell: oneshot::Sender<()>) {
        match self.topics.get_mut(&topic) {
            Some(topic) if topic.in_ring => {
                let event = Event::Passed(tell);
                topic.pending.push_back(Item { topic: topic.state.clone(), event, cost: Cost::default() });
            }
            _ => _ = tell.send(()),
        }
    }

    /// Ends connections when all that waits has been fanned out.
    fn end_when_passed(&mut self, leaving: Vec<Farewell>) {
        if leaving.is_empty() {
            return;
        }
        let leaving = Arc::new(leaving);
        for id in &self.ring {
            let event = Event::Farewell(leaving.clone());
            if *id == TopicId::DIRECT {
                self.direct.put_event(event);
            } else if let Some(topic) = self.topics.get_mut(id) {
                topic.pending.push_back(Item { topic: topic.state.clone(), event, cost: Cost::default() });
            }
        }
    }

    fn enqueue(&mut self, item: Item) {
        let id = item.topic.id();
        if id == TopicId::DIRECT {
            self.direct.put(item);
            if !std::mem::replace(&mut self.direct.in_ring, true) {
                self.ring.push_back(id);
            }
            return;
        }
        let topic = match self.topics.entry(id) {
            Entry::Occupied(held) => held.into_mut(),
            Entry::Vacant(free) => free.insert(ShardTopic::new(item.topic.clone())),
        };
        let is_told = matches!(item.event, Event::Lost(..))
            && topic.pending.back_mut().is_some_and(|last| last.take_in(&item));
        if !is_told {
            topic.pending.push_back(item);
        }
        if !topic.in_ring {
            topic.in_ring = true;
            self.ring.push_back(id);
        }
    }

    /// What was lost may have been of any topic: nobody can say of which.
    fn tell_patterns(&mut self, gap: &Gap, only: Option<&TopicPattern>) {
        for sub in self.subs.iter() {
            if let (Place::Pattern(held), Progress::Live) = (&sub.place, &sub.progress)
                && only.is_none_or(|only| *only == held.pattern)
            {
                tell(&*sub.subscriber, sub.id, Notice::Gap(gap.clone()));
            }
        }
    }

    /// The same behind what waits to be fanned out: it came before the loss, or that cannot be known.
    fn tell_patterns_behind(&mut self, gap: &Gap, only: Option<&TopicPattern>) {
        for id in &self.ring {
            let Some(topic) = self.topics.get_mut(id) else { continue };
            if only.is_none_or(|only| only.matches(topic.state.name())) {
                let event = Event::Lost(gap.clone(), Whom::ByPattern);
                let item = Item { topic: topic.state.clone(), event, cost: Cost::default() };
                if !topic.pending.back_mut().is_some_and(|last| last.take_in(&item)) {
                    topic.pending.push_back(item);
                }
            }
        }
    }

    /// Forgets topics that have no subscribers by name, when there are too many of them.
    pub(super) fn forget_unused(&mut self) {
        if self.topics.len() > REMEMBERED_TOPICS {
            let index = self.context.index;
            self.topics.retain(|_, topic| !topic.is_unused() || topic.in_ring || topic.is_awaited(index));
        }
    }

    pub(super) fn flush_gathered(&mut self) {
        for subscriber in self.unflushed.drain(..) {
            subscriber.flush();
        }
    }

    pub(super) fn pull_handle(&self, client: ClientId) -> super::PullHandle {
        super::PullHandle { inbox: self.context.inbox.clone(), client }
    }

    /// Keeps the broker's count of subscriptions.
    fn report_size(&mut self) {
        let now = self.subs.len();
        if now > self.reported {
            self.context.subscriptions.fetch_add(now - self.reported, Ordering::Relaxed);
        } else {
            self.context.subscriptions.fetch_sub(self.reported - now, Ordering::Relaxed);
        }
        self.reported = now;
    }
}
