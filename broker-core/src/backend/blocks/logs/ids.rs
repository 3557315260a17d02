//! The `message_id`s that were seen lately.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use tokio::time::Instant;

use crate::message::{IdScope, Position};

/// How many ids one topic remembers; the oldest goes first.
const MAX_IDS: usize = 10_000;

/// Two users may choose the same id.
type Scoped = (IdScope, Arc<str>);

/// The ids of one topic, bounded by count and by time.
#[derive(Default)]
pub(super) struct SeenIds {
    /// Ids come from clients, so the hasher is a keyed one.
    positions: HashMap<Scoped, Position>,
    by_age: VecDeque<(Instant, Scoped)>,
}

impl SeenIds {
    pub(super) fn is_empty(&self) -> bool {
        self.by_age.is_empty()
    }

    pub(super) fn find(&mut self, scope: &IdScope, id: &Arc<str>, now: Instant) -> Option<Position> {
        self.expire(now);
        self.positions.get(&(scope.clone(), id.clone())).copied()
    }

    /// Remembers an id that [`find`](Self::find) did not find.
    pub(super) fn remember(
        &mut self,
        scope: IdScope,
        id: Arc<str>,
        position: Position,
        until: Instant,
        now: Instant,
    ) {
        self.expire(now);
        if self.by_age.len() >= MAX_IDS {
            self.forget_oldest();
        }
        let scoped = (scope, id);
        self.positions.insert(scoped.clone(), position);
        self.by_age.push_back((until, scoped));
    }

    pub(super) fn expire(&mut self, now: Instant) {
        while self.by_age.front().is_some_and(|(until, _)| *until <= now) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((_, oldest)) = self.by_age.pop_front() {
            self.positions.remove(&oldest);
        }
    }
}
