//! Frames that break RFC 6455.

use std::net::SocketAddr;

use crate::client::Client;
use crate::frame::{
    BINARY, CLOSE, FIRST_BINARY, FIRST_TEXT, Frame, LAST, MORE, PING, PONG, TEXT, header, masked,
};
use crate::server::undisturbed;

/// The default limit, bytes.
const MAX_MESSAGE: usize = 64 << 10;

/// What is sent, and the code that it is closed with.
fn broken() -> Vec<(String, Vec<u8>, u16)> {
    let mut cases = Vec::new();
    let mut case = |what: &str, bytes: Vec<u8>, code| cases.push((what.to_owned(), bytes, code));

    case("unmasked text", b"\x81\x02{}".to_vec(), 1002);
    case("unmasked binary", b"\x82\x00".to_vec(), 1002);
    case("unmasked ping", b"\x89\x00".to_vec(), 1002);
    case("unmasked close", b"\x88\x02\x03\xE8".to_vec(), 1002);
    for bit in [0x40, 0x20, 0x10] {
        case("reserved bit of a text", masked(TEXT | bit, b"{}"), 1002);
        case("reserved bit of a ping", masked(PING | bit, b""), 1002);
        let fragment = masked(FIRST_TEXT, b"{");
        case("reserved bit of a continuation", [fragment, masked(LAST | bit, b"}")].concat(), 1002);
    }
    for opcode in [0x3, 0x4, 0x5, 0x6, 0x7, 0xB, 0xC, 0xD, 0xE, 0xF] {
        case(&format!("reserved opcode {opcode:#x}"), masked(0x80 | opcode, b""), 1002);
    }

    case("125 in 16 bits", b"\x82\xFE\x00\x7D".to_vec(), 1002);
    case("0 in 16 bits", b"\x82\xFE\x00\x00".to_vec(), 1002);
    case("65535 in 64 bits", b"\x82\xFF\x00\x00\x00\x00\x00\x00\xFF\xFF".to_vec(), 1002);
    case("5 in 64 bits", b"\x81\xFF\x00\x00\x00\x00\x00\x00\x00\x05".to_vec(), 1002);
    case("2^63", b"\x82\xFF\x80\x00\x00\x00\x00\x00\x00\x00".to_vec(), 1002);
    case("2^64 - 1", b"\x81\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF".to_vec(), 1002);
    case("2^63 - 1", header(BINARY, u64::MAX >> 1), 1009);
    case("2^32", header(BINARY, 1 << 32), 1009);
    case("a text over the limit", header(TEXT, MAX_MESSAGE as u64 + 1), 1009);
    case("a binary over the limit", header(BINARY, MAX_MESSAGE as u64 + 1), 1009);
    let full = masked(FIRST_BINARY, &[b'a'; MAX_MESSAGE]);
    case("a fragment over the limit", [full, header(MORE, 1)].concat(), 1009);
    let almost = masked(FIRST_TEXT, b"a");
    case("2^63 - 1 after another", [almost, header(LAST, u64::MAX >> 1)].concat(), 1009);

    for control in [CLOSE, PING, PONG] {
        case("a long control frame", header(control, 126), 1002);
        case("a control frame of 64 bits", header(control, 1 << 40), 1002);
        case("a control frame in fragments", masked(control & 0x0F, b""), 1002);
    }
    case("a continuation of nothing", masked(LAST, b"{}"), 1002);
    case("more of nothing", masked(MORE, b""), 1002);
    case("a text inside of a text", [masked(FIRST_TEXT, b"{"), masked(TEXT, b"{}")].concat(), 1002);
    case("a binary inside of a text", [masked(FIRST_TEXT, b"{"), masked(FIRST_BINARY, b"")].concat(), 1002);

    case("a close of one byte", masked(CLOSE, b"\x03"), 1002);
    for code in [0_u16, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65_535] {
        case(&format!("close code {code}"), masked(CLOSE, &code.to_be_bytes()), 1002);
    }
    case("a close reason that is not UTF-8", masked(CLOSE, b"\x03\xE8\xC3"), 1007);
    cases
}

fn name(code: u16) -> &'static str {
    match code {
        1002 => "protocol_error",
        1007 => "invalid_utf8",
        1009 => "too_big",
        _ => "?",
    }
}

pub(crate) fn broken_frames(address: SocketAddr) {
    for (what, bytes, code) in broken() {
        let mut client = Client::v1(address);
        client.send(&bytes);
        let before = client.closed().before;
        let last = &before.last().unwrap_or_else(|| panic!("{what}: not a word"))["close"];
        assert_eq!((&last["code"], &last["name"]), (&code.into(), &name(code).into()), "{what}");
        assert_eq!(before.len(), 1, "{what}: {before:?}");
    }
}

/// What came before is served, what comes after is not.
pub(crate) fn before_and_after(address: SocketAddr) {
    let ping = masked(TEXT, br#"{"id":5,"ping":{}}"#);
    let mut client = Client::v1(address);
    client.send(&[&ping[..], &masked(0x83, b""), &ping].concat());
    let before = client.closed_with(1002, "protocol_error");
    assert_eq!(before, [serde_json::json!({"id":5,"ok":{}})]);

    let mut client = Client::v1(address);
    client.send(&[masked(CLOSE, &3210_u16.to_be_bytes()), ping].concat());
    assert_eq!(client.frame(), Some(Frame::Close(Some(3210))));
    assert_eq!(client.frame(), None);
}

pub(crate) fn all(address: SocketAddr) {
    broken_frames(address);
    before_and_after(address);
}

#[test]
fn frames_that_break_the_rfc_end_the_connection() {
    undisturbed(&[], |server| all(server.address));
}

#[test]
fn they_do_so_one_byte_at_a_time() {
    undisturbed(&[], |server| {
        for (what, bytes, code) in broken().into_iter().filter(|(_, bytes, _)| bytes.len() < 100) {
            let mut client = Client::open(server.address, "/echo");
            bytes.chunks(1).for_each(|byte| client.send(byte));
            assert_eq!(client.closed().code, Some(code), "{what}");
        }
    });
}

#[test]
fn the_limit_is_the_one_that_was_set() {
    undisturbed(&["--max-message", "1000"], |server| {
        let mut client = Client::open(server.address, "/echo");
        client.send(&masked(BINARY, &[7; 1000]));
        assert_eq!(client.frame(), Some(Frame::Binary(vec![7; 1000])));
        client.send(&[masked(FIRST_BINARY, &[7; 999]), masked(LAST, &[7; 1])].concat());
        assert_eq!(client.frame(), Some(Frame::Binary(vec![7; 1000])));
        client.send(&header(BINARY, 1001));
        assert_eq!(client.closed().code, Some(1009));
    });
}
