//! The wire format: no bytes make the decoder panic, and what it refuses names a code.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes) {
        check(fanfare_protocol::decode_text(text));
    }
    check(fanfare_protocol::decode_binary(bytes));
});

fn check(decoded: Result<fanfare_protocol::Decoded, fanfare_protocol::DecodeError>) {
    if let Err(refused) = decoded {
        assert!(!refused.error.message.is_empty());
    }
}
