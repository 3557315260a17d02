//! What came out, and that nothing is left.

use std::collections::HashMap;

use super::World;
use crate::{
    outbox::testing::{self, frames_in, pulls, unaccounted},
    session::CloseKind,
};

impl World {
    /// Opens the socket for good: all that waits comes out, and nobody had to ask.
    pub(super) fn settle(&mut self) {
        // What a turn of reading and a step of the shard end with.
        self.outbox.flush();
        self.outbox.as_subscriber().flush();
        self.run();
        self.sink.open(testing::EVERYTHING);
        self.run();
        let broken = self.sink.0.lock().broken;
        assert!(self.outbox.is_empty(), "something waits on a socket that takes it");
        assert_eq!(self.outbox.stalled_for(), None);
        assert_eq!(self.over.is_some(), self.closed);
        assert!(
            !self.outbox.inner.state.lock().has_direct_queue(),
            "it is kept although nothing waits in it"
        );
        let shared = &self.outbox.inner.shared;
        assert_eq!(unaccounted(shared, self.offered, 0), 0, "conservation at the end");
        assert_eq!((shared.budget.used(), shared.budget.messages()), (0, 0));
        if let Some(reason) = &self.over
            && broken
        {
            assert!(matches!(reason.kind, CloseKind::Lost | CloseKind::Normal | CloseKind::SlowConsumer));
        }
        if self.subs.iter().any(|sub| sub.catching_up && sub.id.is_some()) && !self.closed {
            assert!(pulls(shared) > 0, "nobody asked for the next page");
        }
    }

    pub(super) fn check_stream(&self) {
        let sunk = self.sink.0.lock();
        if sunk.broken {
            return;
        }
        let frames = frames_in(&sunk.taken);
        let shared = &self.outbox.inner.shared;
        let mut last = HashMap::<String, u64>::new();
        let (mut messages, mut gaps, mut replies) = (0, 0, 0);
        for (at, (kind, topic, body)) in frames.iter().enumerate() {
            let number = body.get(..8).map(|body| u64::from_be_bytes(body.try_into().unwrap()));
            match kind {
                b'M' => {
                    messages += 1;
                    let last = last.entry(topic.clone()).or_default();
                    assert!(number.unwrap() > *last, "{topic}: {number:?} after {last}");
                    *last = number.unwrap();
                }
                b'C' | b'L' => {
                    let last = last.entry(topic.clone()).or_default();
                    assert!(number.unwrap() >= *last, "{topic}: position {number:?} after {last}");
                    *last = number.unwrap();
                }
                b'G' => gaps += 1,
                b'R' => {
                    assert_eq!(number, Some(replies), "replies in order, none lost");
                    replies += 1;
                }
                b'X' => assert_eq!(at + 1, frames.len(), "the close frame is the last"),
                _ => {}
            }
        }
        assert_eq!(messages, shared.totals.delivered.get(), "delivered is what the socket took");
        assert_eq!(gaps, shared.totals.gaps.get());
        assert_eq!(replies, self.replies);
        assert_eq!(self.closed, frames.last().is_some_and(|(kind, ..)| *kind == b'X'));
    }
}
