//! The last events of somebody.

use std::{collections::VecDeque, fmt};

/// How many are kept.
const KEPT: usize = 200;

/// The last events of somebody, and when they were: seconds since the start.
#[derive(Debug)]
pub(super) struct Diary<E> {
    events: VecDeque<(f64, E)>,
}

impl<E> Diary<E> {
    pub(super) fn new() -> Self {
        Self { events: VecDeque::with_capacity(KEPT) }
    }

    pub(super) fn push(&mut self, seconds: f64, event: E) {
        if self.events.len() == KEPT {
            self.events.pop_front();
        }
        self.events.push_back((seconds, event));
    }
}

impl<E: fmt::Display> fmt::Display for Diary<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.events.iter().try_for_each(|(seconds, event)| writeln!(f, "  {seconds:9.3} {event}"))
    }
}
