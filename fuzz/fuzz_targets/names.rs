//! Names, patterns and cursors: what is accepted comes back as it was, and user input never adds a segment.
#![no_main]

use fanfare_core::{
    message::Position,
    topic::{TopicName, TopicPattern},
};

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Ok(name) = TopicName::new(text) {
        assert_eq!(name.as_str(), text);
        assert!(TopicPattern::from(&name).matches(&name));
    }
    if let Ok(pattern) = TopicPattern::new(text) {
        assert!(pattern.covers(&pattern));
    }
    if let Ok(joined) = TopicName::join(["room", text]) {
        let segments: Vec<_> = joined.segments().collect();
        assert_eq!(segments.len(), 2);
        assert_eq!(TopicName::unescape_segment(segments[1]).as_deref(), Ok(text));
    }
    if let Ok(position) = text.parse::<Position>() {
        assert_eq!(position.to_string().parse(), Ok(position));
    }
});
