//! Cursors of event streams: no text makes the reader panic, and what it takes is written again as it was.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| fanfare_sse::fuzz::cursor(text));
