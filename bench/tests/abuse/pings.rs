//! Floods of pings, by a client that reads its pongs. For one that does not, see [`stalled`](crate::stalled).

use std::net::SocketAddr;

use crate::client::Client;
use crate::frame::{FIRST_TEXT, Frame, LAST, PING, PONG, TEXT, masked};
use crate::server::undisturbed;

/// Each is answered with its own payload.
pub(crate) fn all(address: SocketAddr) {
    let mut client = Client::v1(address);
    for n in 0..20_u8 {
        client.send(&masked(PING, &[n; 125]).repeat(100));
        for _ in 0..100 {
            assert_eq!(client.frame(), Some(Frame::Pong(vec![n; 125])));
        }
    }
    // Pongs that nobody asked for are not answered.
    client.send(&masked(PONG, &[1; 125]).repeat(1000));
    client.is_well();
    // Between fragments, too.
    let command = br#"{"id":77,"ping":{}}"#;
    let (front, back) = command.split_at(7);
    client.send(&[masked(FIRST_TEXT, front), masked(PING, b"x").repeat(100), masked(LAST, back)].concat());
    for _ in 0..100 {
        assert_eq!(client.frame(), Some(Frame::Pong(b"x".to_vec())));
    }
    assert_eq!(client.json()["id"], 77);
    client.send(&[masked(PING, b""), masked(TEXT, command)].concat());
    assert_eq!(client.frame(), Some(Frame::Pong(Vec::new())));
    assert_eq!(client.json()["id"], 77);
}

#[test]
fn a_flood_of_pings_is_answered() {
    undisturbed(&[], |server| all(server.address));
}
