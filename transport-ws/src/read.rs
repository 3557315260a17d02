//! A buffer that all connections of a thread read into.
//!
//! It is borrowed for one turn: read, parse, handle, give back. What must outlive the turn is copied out of it, so a
//! connection that is idle holds no buffer.

use std::cell::Cell;

/// Bytes that one turn reads at most.
pub(crate) const BUFFER: usize = 64 * 1024;

thread_local! {
    static SPARE: Cell<Option<Box<[u8]>>> = const { Cell::new(None) };
}

/// Lends the thread's buffer. Its content is what the last turn left.
///
/// A call inside of another gets a buffer of its own.
pub(crate) fn with_buffer<T>(turn: impl FnOnce(&mut [u8]) -> T) -> T {
    // Taken out rather than borrowed: when `turn` panics or nests, nothing is poisoned.
    let mut buffer = SPARE.take().unwrap_or_else(|| vec![0; BUFFER].into_boxed_slice());
    let result = turn(&mut buffer);
    SPARE.set(Some(buffer));
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_buffer_serves_all_turns() {
        with_buffer(|buffer| {
            assert_eq!(buffer.len(), BUFFER);
            buffer[0] = 42;
        });
        assert_eq!(with_buffer(|buffer| buffer[0]), 42);
    }

    #[test]
    fn a_turn_inside_a_turn_has_its_own() {
        with_buffer(|outer| {
            outer[0] = 1;
            with_buffer(|inner| inner[0] = 2);
            assert_eq!(outer[0], 1);
        });
    }

    #[test]
    fn a_panic_leaves_a_buffer_for_the_next() {
        assert!(std::panic::catch_unwind(|| with_buffer(|_| panic!("on purpose"))).is_err());
        assert_eq!(with_buffer(|buffer| buffer.len()), BUFFER);
    }
}
