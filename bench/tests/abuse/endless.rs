//! Messages that never end.

use std::net::SocketAddr;

use crate::client::Client;
use crate::frame::{FIRST_BINARY, FIRST_TEXT, Frame, LAST, MORE, PING, masked};
use crate::server::undisturbed;

/// Fragments of one message, with the default limit of 64 KiB.
const FRAGMENTS: usize = 1024;

pub(crate) fn all(address: SocketAddr) {
    for payload in [&b""[..], b"a", &[b'a'; 64]] {
        let mut client = Client::v1(address);
        client.send(&[masked(FIRST_TEXT, payload), masked(MORE, payload).repeat(FRAGMENTS)].concat());
        client.closed_with(1009, "too_big");
    }
    // The length of all together is limited before their number.
    let mut client = Client::v1(address);
    client.send(&[masked(FIRST_BINARY, &[0; 1000]), masked(MORE, &[0; 1000]).repeat(65)].concat());
    client.closed_with(1009, "too_big");
    // What is between them does not make it end, nor does it make it longer.
    let mut client = Client::v1(address);
    let more = [masked(MORE, b""), masked(PING, b"")].concat();
    client.send(&[masked(FIRST_TEXT, b""), more.repeat(FRAGMENTS)].concat());
    client.closed_with(1009, "too_big");
}

#[test]
fn a_message_has_so_many_fragments_and_no_more() {
    undisturbed(&[], |server| {
        all(server.address);
        let mut client = Client::open(server.address, "/echo");
        let inner = masked(MORE, &[7; 64]).repeat(FRAGMENTS - 2);
        client.send(&[masked(FIRST_BINARY, &[7; 64]), inner, masked(LAST, &[7; 64])].concat());
        assert_eq!(client.frame(), Some(Frame::Binary(vec![7; 64 * FRAGMENTS])));
    });
}
