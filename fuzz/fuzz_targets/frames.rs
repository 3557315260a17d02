//! WebSocket frames: any bytes, in any pieces, give the same events as in one piece.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fanfare_ws::fuzz::frames(bytes));
