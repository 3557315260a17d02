//! What the core holds for each connection, so that nobody makes it larger unawares: there may be a hundred thousand of them.

use super::{seat::Seat, serve::SessionState};
use crate::outbox;

#[test]
fn what_every_connection_has_is_small() {
    // Each is an allocation; a seat and an outbox have two counts of 8 bytes before them. With a first subscription, and nothing that waits.
    let sizes = [size_of::<SessionState>(), size_of::<Seat>(), outbox::SIZE];
    assert_eq!(sizes, [120, 200, 344]);
}
