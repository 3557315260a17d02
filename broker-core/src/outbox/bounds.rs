//! The bounds of an outbox, for tests to look at.

use super::{Inner, Outbox};

/// What every outbox takes, with room for the queue of one subscription.
pub(crate) const SIZE: usize = size_of::<Inner>();

impl Outbox {
    /// Panics where something is over its bound; else how many bytes are charged.
    pub(crate) fn check_bounds(&self) -> usize {
        let shared = &self.inner.shared;
        let state = self.inner.state.lock();
        let mut messages = 0;
        for queue in state.all_queues() {
            let held = queue.messages() as usize;
            let (entries, conflated, limit) = queue.lengths();
            assert!(held <= limit, "{held} messages in a queue of {limit}");
            assert!(conflated <= limit, "{conflated} conflated places in a queue of {limit}");
            // Beside each: a gap, a cursor on either side, and a `live`.
            assert!(entries <= 5 * (held + conflated + 1), "{entries} entries for {held} messages");
            messages += held;
        }
        assert_eq!(messages, state.messages, "messages are counted");
        // One message always fits an empty queue.
        let most = state.all_queues().map(|queue| queue.largest(shared)).sum::<usize>();
        let limit = shared.limits.queue_bytes;
        assert!(state.bytes() <= limit + most, "{} bytes queued, the limit is {limit}", state.bytes());
        // Replies of a shard do not wait for room; each belongs to a command that waited for it.
        let control = state.control.bytes();
        assert!(
            control <= shared.limits.control_bytes as usize + 4096,
            "{control} bytes in the control lane"
        );
        state.bytes()
    }
}
