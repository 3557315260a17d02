//! Gives messages to the core: those of one topic one after the other, and none of them keeps the connection from being read.
//!
//! A message goes straight to the core where its topic has nothing under way. If the core has it wait, a task takes
//! over: a *lane*, which lasts as long as its topic has something to deliver. What goes beyond a lane's bounds is
//! dropped, and said at its place. A message to several topics joins their lanes into one, because it is delivered to all of
//! them in one call.

#[cfg(test)]
mod tests;

use std::{
    collections::{HashMap, VecDeque},
    pin::Pin,
    sync::Arc,
    task::{Context, Waker},
};

use fanfare_core::{
    backend::{Incoming, Ingress},
    topic::TopicName,
};
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// How many messages one lane holds, and how much all lanes hold together: messages, bytes.
const LANE_MESSAGES: usize = 4096;
const ALL_MESSAGES: usize = 65_536;
const ALL_BYTES: usize = 64 << 20;

/// What a message takes beside its payload: bytes, about.
const ENTRY: usize = 512;

#[derive(Clone)]
pub(crate) struct Lanes {
    shared: Arc<Shared>,
}

struct Shared {
    ingress: Ingress,
    tasks: TaskTracker,
    stop: CancellationToken,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Names come from clients, so the hasher is a keyed one.
    by_topic: HashMap<TopicName, u64>,
    lanes: HashMap<u64, Lane>,
    /// Lanes that were joined to others, which wait until what these have under way is done.
    joined: HashMap<u64, oneshot::Sender<()>>,
    next: u64,
    messages: usize,
    bytes: usize,
}

#[derive(Default)]
struct Lane {
    topics: Vec<TopicName>,
    entries: VecDeque<Entry>,
    messages: usize,
}

enum Entry {
    Message(Box<Incoming>),
    Lost(TopicName),
    /// What another lane has under way is done.
    Joined(oneshot::Receiver<()>),
}

type Delivery = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Lanes {
    pub(crate) fn new(ingress: Ingress, tasks: TaskTracker, stop: CancellationToken) -> Self {
        Self { shared: Arc::new(Shared { ingress, tasks, stop, state: Mutex::default() }) }
    }

    /// Delivers a message now or later. Never waits.
    pub(crate) fn deliver(&self, incoming: Incoming) {
        if self.shared.stop.is_cancelled() {
            return;
        }
        let mut state = self.shared.state.lock();
        let (lane, is_new) = state.lane(&incoming);
        if !is_new {
            state.push(lane, incoming);
            return;
        }
        drop(state);
        let ingress = self.shared.ingress.clone();
        let mut delivery: Delivery = Box::pin(async move { ingress.deliver(incoming).await });
        // Most of the time the core takes it at once.
        let is_done = delivery.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready();
        let delivery = if is_done {
            if self.shared.state.lock().end(lane) {
                return;
            }
            None
        } else {
            Some(delivery)
        };
        let lanes = self.clone();
        self.shared.tasks.spawn(async move {
            let stop = lanes.shared.stop.clone();
            stop.run_until_cancelled(lanes.run(lane, delivery)).await;
        });
    }

    /// Says that messages of a topic were lost, after those that came before.
    pub(crate) fn lost(&self, topic: &TopicName) {
        {
            let mut state = self.shared.state.lock();
            if let Some(lane) = state.by_topic.get(topic).copied() {
                state.push_lost(lane, topic.clone());
                return;
            }
        }
        self.shared.ingress.lost(Some(topic));
    }

    /// Drops all that waits. What is under way has been given.
    pub(crate) fn clear(&self) {
        self.shared.state.lock().clear();
    }

    async fn run(&self, lane: u64, first: Option<Delivery>) {
        if let Some(first) = first {
            first.await;
        }
        loop {
            let entry = {
                let mut state = self.shared.state.lock();
                let entry = state.pop(lane);
                if entry.is_none() {
                    state.end(lane);
                }
                entry
            };
            match entry {
                Some(Entry::Message(incoming)) => self.shared.ingress.deliver(*incoming).await,
                Some(Entry::Lost(topic)) => self.shared.ingress.lost(Some(&topic)),
                Some(Entry::Joined(done)) => drop(done.await),
                None => return,
            }
        }
    }
}

fn size(incoming: &Incoming) -> usize {
    incoming.message.payload.len() + ENTRY
}

impl State {
    /// The lane of a message, and whether it is new, with nothing under way.
    fn lane(&mut self, incoming: &Incoming) -> (u64, bool) {
        if incoming.also.is_empty()
            && let Some(lane) = self.by_topic.get(&incoming.message.topic)
        {
            return (*lane, false);
        }
        let topics: Vec<_> = std::iter::once(&incoming.message.topic)
            .chain(incoming.also.iter().map(|(name, _)| name))
            .cloned()
            .collect();
        let mut held: Vec<u64> =
            topics.iter().filter_map(|topic| self.by_topic.get(topic).copied()).collect();
        held.sort_unstable();
        held.dedup();
        let (lane, is_new) = match held.first() {
            Some(lane) => (*lane, false),
            None => {
                self.next += 1;
                self.lanes.insert(self.next, Lane::default());
                (self.next, true)
            }
        };
        for other in held.into_iter().skip(1) {
            self.join(other, lane);
        }
        for topic in topics {
            if self.by_topic.insert(topic.clone(), lane).is_none()
                && let Some(lane) = self.lanes.get_mut(&lane)
            {
                lane.topics.push(topic);
            }
        }
        (lane, is_new)
    }

    fn join(&mut self, from: u64, to: u64) {
        let Some(from_lane) = self.lanes.remove(&from) else { return };
        let (done, joined) = oneshot::channel();
        self.joined.insert(from, done);
        for topic in &from_lane.topics {
            self.by_topic.insert(topic.clone(), to);
        }
        if let Some(lane) = self.lanes.get_mut(&to) {
            lane.topics.extend(from_lane.topics);
            lane.messages += from_lane.messages;
            lane.entries.push_back(Entry::Joined(joined));
            lane.entries.extend(from_lane.entries);
        }
    }

    fn push(&mut self, id: u64, incoming: Incoming) {
        let size = size(&incoming);
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        let fits = lane.messages < LANE_MESSAGES
            && self.messages < ALL_MESSAGES
            && self.bytes + size <= ALL_BYTES.max(size);
        if fits {
            lane.messages += 1;
            self.messages += 1;
            self.bytes += size;
            lane.entries.push_back(Entry::Message(Box::new(incoming)));
            return;
        }
        self.push_lost(id, incoming.message.topic);
        for (topic, _) in incoming.also {
            self.push_lost(id, topic);
        }
    }

    fn push_lost(&mut self, id: u64, topic: TopicName) {
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        // Said once for each run of losses; a lane has few topics.
        let said = lane.entries.iter().rev().take_while(|entry| !matches!(entry, Entry::Message(_)));
        let is_said = said.into_iter().any(|entry| matches!(entry, Entry::Lost(lost) if *lost == topic));
        if !is_said {
            lane.entries.push_back(Entry::Lost(topic));
        }
    }

    fn pop(&mut self, id: u64) -> Option<Entry> {
        let lane = self.lanes.get_mut(&id)?;
        let entry = lane.entries.pop_front()?;
        if let Entry::Message(incoming) = &entry {
            lane.messages -= 1;
            self.messages -= 1;
            self.bytes -= size(incoming);
        }
        Some(entry)
    }

    fn clear(&mut self) {
        for lane in self.lanes.values_mut() {
            // What is under way elsewhere is still waited for.
            lane.entries.retain(|entry| matches!(entry, Entry::Joined(_)));
            lane.messages = 0;
        }
        (self.messages, self.bytes) = (0, 0);
    }

    /// Nothing is under way any more: ends the lane if nothing waits in it. False where something does.
    fn end(&mut self, id: u64) -> bool {
        if let Some(done) = self.joined.remove(&id) {
            let _ = done.send(());
            return true;
        }
        if self.lanes.get(&id).is_some_and(|lane| !lane.entries.is_empty()) {
            return false;
        }
        if let Some(lane) = self.lanes.remove(&id) {
            for topic in lane.topics {
                self.by_topic.remove(&topic);
            }
        }
        true
    }
}
