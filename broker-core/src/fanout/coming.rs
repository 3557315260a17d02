//! Who comes to a shard, and who leaves it.

use std::sync::Arc;

use bytes::Bytes;

use super::{
    lane::{Insert, Target},
    serve::tell,
    shard::{Left, Shard},
    subs::{ByPattern, CatchUp, Place, Progress, Sub, SubKey, Subs},
    topic::ShardTopic,
};
use crate::{
    message::{Gap, GapReason},
    session::ClientId,
    subscriber::{Notice, Subscriber, SubscriptionId},
    table::{TopicId, TopicState},
};

impl Shard {
    pub(super) fn insert(&mut self, insert: Insert) {
        let Insert { subscriber, subscription, target, reply, gap } = insert;
        let client = subscriber.client();
        if let Some(reply) = reply {
            tell(&*subscriber, subscription, Notice::Begun(reply));
        }
        if let Some(gap) = gap {
            tell(&*subscriber, subscription, Notice::Gap(gap));
        }
        match target {
            Target::Pattern(pattern) => {
                self.patterns_generation += 1;
                let since = self.patterns_generation;
                let place = Place::Pattern(Box::new(ByPattern { pattern: pattern.clone(), since }));
                let sub = Sub { subscriber, client, id: subscription, place, progress: Progress::Live };
                let key = self.subs.insert(sub);
                self.patterns.insert(pattern, key);
            }
            Target::Presence(state) => {
                self.insert_exact(subscriber, subscription, state, Progress::Awaiting);
            }
            Target::Topic { topic: state, begin, generation } => {
                let id = state.id();
                let key = self.insert_exact(subscriber.clone(), subscription, state, Progress::Live);
                let Some(topic) = self.topics.get_mut(&id) else { return };
                let Some(begin) = begin else { return };
                let served = topic.served_through();
                if let Some(gap) = begin.gap {
                    tell(&*subscriber, subscription, Notice::Gap(gap));
                }
                // What came since it began may have been fanned out to nobody, and the log replaced meanwhile.
                let is_behind = served.is_some_and(|served| {
                    if served.epoch == begin.after.epoch {
                        served.offset > begin.after.offset
                    } else {
                        topic.state.sequencer().log().is_some_and(|log| log.epoch() != begin.after.epoch)
                    }
                });
                let progress = if begin.announced || is_behind {
                    Progress::CatchingUp(Box::new(CatchUp { snapshot: begin.snapshot, after: begin.after }))
                } else if served == Some(begin.after) {
                    Progress::Live
                } else {
                    Progress::Ahead(begin.after, generation)
                };
                let is_catching_up = matches!(progress, Progress::CatchingUp(_));
                if let Some(sub) = self.subs.get_mut(key) {
                    sub.progress = progress;
                }
                if is_catching_up {
                    tell(&*subscriber, subscription, Notice::CatchingUp(self.pull_handle(client)));
                }
            }
        }
    }

    fn insert_exact(
        &mut self,
        subscriber: Arc<dyn Subscriber>,
        subscription: SubscriptionId,
        state: Arc<TopicState>,
        progress: Progress,
    ) -> SubKey {
        let id = state.id();
        let client = subscriber.client();
        let place = Place::Topic { topic: id, index: 0 };
        let key = self.subs.insert(Sub { subscriber, client, id: subscription, place, progress });
        let topic = self.topics.entry(id).or_insert_with(|| ShardTopic::new(state));
        topic.names_changed = true;
        let subs = &mut self.subs;
        let index = topic.add_exact(key, |moved, index| set_index(subs, moved, index));
        set_index(subs, key, index);
        key
    }

    pub(super) fn remove(&mut self, client: ClientId, subscription: SubscriptionId, reply: Option<Bytes>) {
        let Some(key) = self.subs.find(client, subscription) else { return };
        let Some(sub) = self.subs.remove(key) else { return };
        match sub.place {
            Place::Pattern(held) => {
                let pattern = held.pattern;
                self.patterns.remove(&pattern, |held| *held == key);
                self.patterns_generation += 1;
                if self.context.table.patterns.remove(&pattern, self.context.index) {
                    (self.context.left)(Left::Pattern(pattern));
                }
            }
            Place::Topic { topic: id, index } => {
                if let Some(topic) = self.topics.get_mut(&id) {
                    let is_unserved = topic.turn.as_ref().is_some_and(|turn| index as usize >= turn.cursor);
                    // A pattern of the same connection takes over.
                    if let Some(heir) = self.subs.best_pattern(client, topic.state.name()) {
                        match &sub.progress {
                            // The turn would have brought it to this one.
                            Progress::Live if is_unserved && !topic.by_pattern.contains(&heir) => {
                                topic.by_pattern.push(heir);
                            }
                            // What it was still to read it reads no more.
                            Progress::CatchingUp(catch_up)
                                if topic.served_through().is_some_and(|served| served > catch_up.after) =>
                            {
                                if let Some(heir) = self.subs.get(heir) {
                                    let gap = Gap::new(GapReason::Slow, None);
                                    tell(&*heir.subscriber, heir.id, Notice::Gap(gap));
                                }
                            }
                            _ => {}
                        }
                    }
                    let subs = &mut self.subs;
                    topic.remove_exact(index as usize, |moved, index| set_index(subs, moved, index));
                    topic.names_changed = true;
                    let last = topic.state.sequencer().remove_subscriber(self.context.index);
                    if last {
                        (self.context.left)(Left::Topic(topic.state.clone()));
                    }
                    if topic.is_unused() && !topic.is_awaited(self.context.index) {
                        self.topics.remove(&id);
                    }
                }
            }
        }
        tell(&*sub.subscriber, subscription, Notice::Ended(reply));
        self.subs.shrink();
    }

    /// Who is subscribed to a topic by its name.
    pub(super) fn who(&self, topic: TopicId) -> Vec<ClientId> {
        let keys = self.topics.get(&topic).map_or(&[][..], |topic| &topic.exact);
        keys.iter().filter_map(|key| self.subs.get(*key)).map(|sub| sub.client).collect()
    }
}

fn set_index(subs: &mut Subs, key: SubKey, at: usize) {
    if let Some(Sub { place: Place::Topic { index, .. }, .. }) = subs.get_mut(key) {
        *index = at as u32;
    }
}
