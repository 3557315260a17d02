//! The log against a model that keeps everything it was ever given and looks through all of it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use proptest::prelude::*;
use tokio::time::Instant;

use super::TopicLog;
use crate::{
    backend::Retention,
    message::{Epoch, GapReason, LogPlace, Message, MessageParts, Position},
    session::Start,
    topic::{HistoryConfig, TopicName},
};

const EPOCH: Epoch = Epoch::new(7);

#[derive(Clone, Debug)]
enum Step {
    /// A message of so many bytes, with one of a few keys, so many offsets after the last.
    Append {
        bytes: usize,
        key: Option<u8>,
        skip: u64,
        connects: bool,
    },
    /// A message that has been given before.
    Repeat,
    Wait(u64),
    SkipTo(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..40_usize, prop::option::of(0..4_u8), 1..3_u64, prop::bool::weighted(0.95))
            .prop_map(|(bytes, key, skip, connects)| Step::Append { bytes, key, skip, connects }),
        1 => Just(Step::Repeat),
        2 => (0..30_u64).prop_map(Step::Wait),
        1 => (0..4_u64).prop_map(Step::SkipTo),
    ]
}

#[derive(Clone, Copy, Debug)]
struct Bounds {
    messages: usize,
    bytes: usize,
    ttl: u64,
    keys: usize,
}

fn bounds() -> impl Strategy<Value = Bounds> {
    (1..8_usize, 1..120_usize, 1..60_u64, 0..4_usize).prop_map(|(messages, bytes, ttl, keys)| Bounds {
        messages,
        bytes,
        ttl,
        keys,
    })
}

/// Everything that was ever appended; what is retained is found anew for each question.
struct Model {
    bounds: Bounds,
    all: Vec<Kept>,
    /// Nothing after one offset, up to another.
    holes: Vec<(u64, u64)>,
    floor: u64,
    last: u64,
}

struct Kept {
    message: Arc<Message>,
    at: u64,
    written: u64,
}

impl Model {
    /// Nothing comes behind the last one, up to an offset.
    fn leave_out(&mut self, through: u64) {
        if through > self.last {
            match self.holes.last_mut() {
                Some((_, end)) if *end == self.last => *end = through,
                _ => self.holes.push((self.last, through)),
            }
            self.last = through;
        }
    }

    /// Holes of which some part comes after an offset.
    fn holes_after(&self, offset: u64) -> impl Iterator<Item = (u64, u64)> {
        self.holes.iter().copied().filter(move |(_, through)| *through > offset)
    }

    /// Moves the floor over what is out of bounds, and a hole behind that: the newest is exempt from the bound on bytes.
    fn settle(&mut self, now: u64) {
        self.evict(now);
        let next = self.holes_after(self.floor).next();
        if let Some((_, through)) = next.filter(|(after, _)| *after <= self.floor) {
            self.floor = through;
        }
    }

    fn evict(&mut self, now: u64) {
        let expired = self.all.iter().filter(|m| m.written + self.bounds.ttl <= now).map(|m| m.at).max();
        self.floor = self.floor.max(expired.unwrap_or(0));
        loop {
            let held: Vec<_> = self.held().collect();
            let bytes: usize = held.iter().map(|m| m.weight()).sum();
            if held.len() <= self.bounds.messages && (bytes <= self.bounds.bytes || held.len() <= 1) {
                return;
            }
            self.floor = held[0].position().unwrap().offset;
        }
    }

    fn held(&self) -> impl Iterator<Item = &Arc<Message>> {
        self.all.iter().filter(|m| m.at > self.floor).map(|m| &m.message)
    }

    fn offsets(&self) -> Vec<u64> {
        self.held().map(|m| m.position().unwrap().offset).collect()
    }

    /// The last value of each key; of too many keys those that were written last.
    fn latest(&self) -> Vec<u64> {
        let mut by_key: BTreeMap<&str, u64> = BTreeMap::new();
        let mut latest = Vec::new();
        for kept in &self.all {
            let Some(key) = kept.message.key() else { continue };
            by_key.insert(key, kept.at);
            while by_key.len() > self.bounds.keys {
                let oldest = *by_key.iter().min_by_key(|(_, at)| **at).unwrap().0;
                by_key.remove(oldest);
            }
        }
        latest.extend(by_key.into_values());
        latest.sort_unstable();
        latest
    }
}

fn message(offset: u64, prev: u64, bytes: usize, key: Option<u8>) -> Arc<Message> {
    let mut parts = MessageParts::new(TopicName::new("t").unwrap(), "x".repeat(bytes));
    parts.key = key.map(|key| Arc::from(key.to_string()));
    Arc::new(Message::logged(parts, LogPlace { position: Position::new(EPOCH, offset), prev }))
}

fn offsets<'a>(messages: impl IntoIterator<Item = &'a Arc<Message>>) -> Vec<u64> {
    messages.into_iter().map(|m| m.position().unwrap().offset).collect()
}

fn compare(log: &TopicLog, model: &Model, dense: bool) -> Result<(), TestCaseError> {
    let held = model.offsets();
    prop_assert_eq!((log.floor(), log.last()), (model.floor, model.last));
    prop_assert_eq!(log.top(), Position::new(EPOCH, model.last));
    prop_assert_eq!(log.next_place().prev, model.last);
    prop_assert_eq!(log.is_empty(), held.is_empty() && model.latest().is_empty());
    prop_assert_eq!(offsets(&log.read_latest().messages), model.latest());
    for after in model.floor..=model.last + 1 {
        let rest: Vec<_> = held.iter().copied().filter(|offset| *offset > after).collect();
        for limit in [0, 1, 3, 100] {
            let page = log.read_after(after, limit);
            prop_assert_eq!(offsets(&page.messages), &rest[..limit.min(rest.len())]);
            prop_assert_eq!(page.more, rest.len() > limit);
            let before: Vec<_> = held.iter().copied().filter(|offset| *offset < after).collect();
            let page = log.read_before(Some(after), limit);
            prop_assert_eq!(offsets(&page.messages), &before[before.len().saturating_sub(limit)..]);
            prop_assert_eq!(page.more, before.len() > limit);
            prop_assert_eq!((page.floor, page.last, page.epoch), (model.floor, model.last, EPOCH));
        }
        pages(log, model, after, &rest)?;
    }
    begins(log, model, &held, dense)
}

/// Pages hold what fits, at least one message or a hole, and together everything.
fn pages(log: &TopicLog, model: &Model, after: u64, rest: &[u64]) -> Result<(), TestCaseError> {
    for (max_messages, max_bytes) in [(1, 1000), (3, 30), (100, 60), (100, 10_000)] {
        let (mut read, mut at) = (Vec::new(), after);
        let mut holes = model.holes_after(after);
        let mut hole = holes.next();
        loop {
            let page = log.page(at, max_messages, max_bytes);
            let is_next = hole.is_some_and(|(begins, _)| begins <= at);
            prop_assert_eq!(page.is_hole, is_next);
            if is_next {
                prop_assert_eq!((page.messages.len(), Some(page.through)), (0, hole.map(|hole| hole.1)));
                at = page.through;
                hole = holes.next();
                continue;
            }
            let Some(last) = page.messages.last() else {
                prop_assert_eq!(page.through, at);
                break;
            };
            prop_assert_eq!(page.through, last.position().unwrap().offset);
            let bytes: usize = page.messages.iter().map(|m| m.weight()).sum();
            prop_assert!(page.messages.len() == 1 || bytes <= max_bytes);
            prop_assert!(page.messages.len() <= max_messages);
            // Nothing that would have fitted was left out.
            if let Some(next) = model.held().find(|m| m.position().unwrap().offset > page.through) {
                let full = page.messages.len() == max_messages || bytes + next.weight() > max_bytes;
                let ends_at_hole = hole.is_some_and(|(begins, _)| begins == page.through);
                prop_assert!(full || ends_at_hole);
            }
            at = page.through;
            read.extend(offsets(&page.messages));
        }
        prop_assert_eq!(&read, rest);
        prop_assert_eq!(hole, None);
    }
    Ok(())
}

fn begins(log: &TopicLog, model: &Model, held: &[u64], dense: bool) -> Result<(), TestCaseError> {
    let after = |start| log.begin(start).after.offset;
    prop_assert_eq!(after(Start::Live), model.last);
    prop_assert_eq!(after(Start::Earliest), model.floor);
    for n in [0, 1, 2, 5, u64::MAX] {
        let wanted = usize::try_from(n).unwrap_or(usize::MAX).min(held.len());
        let begin = log.begin(Start::Last(n));
        let follows = held.iter().filter(|offset| **offset > begin.after.offset).count();
        prop_assert_eq!(follows, wanted);
        prop_assert!(begin.after.offset >= model.floor);
        if wanted > 0 {
            let first = held[held.len() - wanted];
            let is_told_first = model.holes_after(begin.after.offset).any(|(_, through)| through < first);
            prop_assert!(!is_told_first, "what is before the first of them is nothing of theirs");
        }
    }
    let latest = log.begin(Start::Latest);
    prop_assert_eq!(offsets(&latest.snapshot), model.latest());
    prop_assert_eq!(latest.after.offset, model.last);
    for asked in 0..=model.last + 2 {
        let position = Position::new(EPOCH, asked);
        let begin = log.begin(Start::After(position));
        let is_held = asked >= model.floor && asked <= model.last;
        prop_assert_eq!(begin.recovered, Some(is_held && model.holes_after(asked).next().is_none()));
        prop_assert_eq!(begin.gap.is_some(), !is_held);
        prop_assert_eq!(begin.after.offset, if is_held { asked } else { model.floor });
        if let Some(gap) = begin.gap {
            prop_assert_eq!(gap.reason, GapReason::History);
            prop_assert_eq!(gap.last, Some(position));
            prop_assert_eq!(gap.next.map(|next| next.offset), held.first().copied());
            let missed = (dense && asked <= model.last).then(|| model.floor - asked);
            prop_assert_eq!(gap.missed, missed);
        }
    }
    let other = log.begin(Start::After(Position::new(Epoch::new(8), model.last)));
    prop_assert_eq!(other.recovered, Some(false));
    prop_assert_eq!(other.gap.map(|gap| (gap.reason, gap.missed)), Some((GapReason::Epoch, None)));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_log_is_a_list_that_forgets_its_beginning(
        bounds in bounds(),
        dense in any::<bool>(),
        steps in prop::collection::vec(step(), 0..60),
    ) {
        let history = HistoryConfig {
            messages: bounds.messages,
            bytes: bounds.bytes,
            ttl: Duration::from_secs(bounds.ttl),
            ..HistoryConfig::default()
        };
        let mut log = TopicLog::new(EPOCH, dense, Retention { history, latest_keys: bounds.keys });
        let mut model = Model { bounds, all: Vec::new(), holes: Vec::new(), floor: 0, last: 0 };
        let begun = Instant::now();
        let mut now = 0;
        for step in steps {
            let instant = begun + Duration::from_secs(now);
            match step {
                Step::Append { bytes, key, skip, connects } => {
                    let skip = if dense { 1 } else { skip };
                    // It may have a hole before it.
                    let prev = model.last + u64::from(!connects);
                    let offset = prev + skip;
                    let message = message(offset, prev, bytes, key);
                    log.append(message.clone(), instant);
                    model.leave_out(prev);
                    model.all.push(Kept { message, at: offset, written: now });
                    model.last = offset;
                }
                Step::Repeat => {
                    if let Some(kept) = model.all.last() {
                        log.append(kept.message.clone(), instant);
                    }
                }
                Step::Wait(seconds) => {
                    now += seconds;
                    log.expire(begun + Duration::from_secs(now));
                }
                Step::SkipTo(by) => {
                    log.skip_to(0, model.last + by);
                    model.leave_out(model.last + by);
                }
            }
            model.settle(now);
            compare(&log, &model, dense)?;
        }
    }
}
