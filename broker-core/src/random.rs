//! Names that must not meet.

/// A number that nobody else draws: never zero.
///
/// It comes from the system's randomness, because processes that begin at the same moment, or as copies of one image, may seed a generator of their
/// own alike. Where the system has none to give, the hasher's keys and the clock stand in: such names are no secrets.
pub(crate) fn name() -> u64 {
    // What the simulator does depends on its seed alone.
    if cfg!(test) {
        return fastrand::u64(1..);
    }
    drawn().unwrap_or_else(stand_in).max(1)
}

fn drawn() -> Option<u64> {
    getrandom::u64().ok()
}

fn stand_in() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    fastrand::u64(..) ^ RandomState::new().hash_one(std::time::SystemTime::now())
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn no_two_are_alike_whatever_seeds_a_generator() {
        let draw = |draw: fn() -> u64| {
            fastrand::seed(7);
            draw()
        };
        assert_ne!(draw(|| drawn().unwrap()), draw(|| drawn().unwrap()));
        assert_ne!(draw(stand_in), draw(stand_in));
        assert_eq!(draw(name), draw(name), "but in the simulator");
    }
}
