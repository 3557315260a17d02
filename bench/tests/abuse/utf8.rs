//! Text that is not UTF-8 (RFC 6455, section 8.1).

use std::net::SocketAddr;

use crate::client::Client;
use crate::frame::{FIRST_TEXT, Frame, LAST, MORE, TEXT, header, masked};
use crate::server::undisturbed;

/// Never right, whatever follows.
const WRONG: [&[u8]; 10] = [
    b"\x80",
    b"\xC0\xAF",
    b"\xC1\xBF",
    b"\xC3\x28",
    b"\xE0\x80\xAF",
    b"\xED\xA0\x80",
    b"\xF0\x80\x80\xAF",
    b"\xF4\x90\x80\x80",
    b"\xF5",
    b"\xFF",
];

/// Right so far, and then the message is over.
const CUT: [&[u8]; 4] = [b"\xC3", b"\xE2\x82", b"\xF0\x9F\x98", b"ok \xF0"];

fn is_refused(address: SocketAddr, bytes: &[u8]) {
    let mut client = Client::v1(address);
    client.send(bytes);
    let before = client.closed_with(1007, "invalid_utf8");
    assert!(before.is_empty(), "{before:?}");
}

pub(crate) fn all(address: SocketAddr) {
    for text in WRONG.into_iter().chain(CUT) {
        is_refused(address, &masked(TEXT, text));
    }
    for text in WRONG {
        // Noticed before the message has ended, and before the frame has.
        is_refused(address, &[masked(FIRST_TEXT, b""), header(MORE, 60_000), xor(text)].concat());
    }
    for text in CUT {
        is_refused(address, &[masked(FIRST_TEXT, text), masked(MORE, b""), masked(LAST, b"")].concat());
    }
}

/// As it is at the beginning of a masked payload.
fn xor(text: &[u8]) -> Vec<u8> {
    masked(TEXT, text).split_off(6)
}

fn in_fragments(address: SocketAddr) {
    for text in WRONG.into_iter().chain(CUT) {
        for at in 0..=text.len() {
            let parts = [masked(FIRST_TEXT, &text[..at]), masked(LAST, &text[at..])];
            is_refused(address, &parts.concat());
        }
    }
    for text in WRONG {
        is_refused(address, &masked(FIRST_TEXT, text));
        is_refused(address, &[header(TEXT, 60_000), xor(text)].concat());
    }
}

#[test]
fn text_that_is_not_utf8_ends_the_connection() {
    undisturbed(&[], |server| {
        all(server.address);
        in_fragments(server.address);
    });
}

#[test]
fn text_that_is_utf8_may_be_cut_anywhere() {
    undisturbed(&[], |server| {
        let text = "a é € 😀 \u{10FFFF} \u{D7FF}".as_bytes();
        let mut client = Client::open(server.address, "/echo");
        for at in 0..=text.len() {
            let parts = [masked(FIRST_TEXT, &text[..at]), masked(MORE, b""), masked(LAST, &text[at..])];
            client.send(&parts.concat());
            assert_eq!(client.frame(), Some(Frame::Text(String::from_utf8(text.to_vec()).unwrap())));
        }
    });
}
