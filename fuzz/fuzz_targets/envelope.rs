//! What travels between nodes: no bytes make the reader panic, and what it takes is written and read again as it was.
#![no_main]

use fanfare_core::backend::{
    Outgoing,
    envelope::{Envelope, EnvelopeError},
};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let read = match Envelope::decode(bytes.to_vec().into()) {
        Ok(read) => read,
        Err(refused) => return check(&refused),
    };
    let outgoing = Outgoing::ephemeral(read.message.clone(), read.origin).with_also(read.also.clone());
    let mut written = read.place.map(Envelope::place_header).unwrap_or_default().into_bytes();
    written.extend_from_slice(&Envelope::encode(&outgoing));
    // Numbers may have been written longer than need be.
    assert!(written.len() <= bytes.len());
    let again = Envelope::decode(written.into()).expect("what was written is read");
    assert_eq!((again.origin, &again.also, again.place), (read.origin, &read.also, read.place));
    assert_eq!(again.message.payload, read.message.payload);
    assert_eq!(format!("{:?}", again.message), format!("{:?}", read.message));
});

fn check(refused: &EnvelopeError) {
    assert!(!refused.to_string().is_empty());
}
