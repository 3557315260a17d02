//! What a fuzzer holds a cursor to.

use super::{Cursor, binary, longest};

/// No text makes the reader panic, and what it takes is written as it was.
pub fn cursor(text: &str) {
    const TOPICS: usize = 64;
    let Ok(cursor) = Cursor::parse(text, TOPICS) else { return };
    assert!(text.len() <= longest(TOPICS));
    if let Cursor::Topics(places) = &cursor {
        assert!(places.len() <= TOPICS);
        let mut written = Vec::new();
        binary::write(places.iter().copied(), &mut written);
        assert_eq!(binary::read(&written, TOPICS).as_ref(), Some(places));
    }
}
