//! Too many headers, and too large ones.

use std::net::SocketAddr;

use crate::client::{Client, UPGRADE, answer, http};
use crate::server::undisturbed;

fn status(address: SocketAddr, target: &str, more: &str) -> u16 {
    http(address, format!("GET {target} HTTP/1.1\r\n{}{more}\r\n", UPGRADE.concat()).as_bytes()).status
}

fn lines(count: usize, length: usize) -> String {
    (0..count).map(|n| format!("X-{n}: {}\r\n", "a".repeat(length))).collect()
}

pub(crate) fn all(address: SocketAddr) {
    // Five are the handshake's own.
    assert_eq!(status(address, "/ws", &lines(59, 1)), 101);
    assert_eq!(status(address, "/ws", &lines(60, 1)), 431);
    assert_eq!(status(address, "/healthz", &lines(60, 1)), 431);
    assert_eq!(status(address, "/ws", &lines(3, 5000)), 101);
    assert_eq!(status(address, "/ws", &lines(4, 5000)), 431);
    assert_eq!(status(address, "/ws", &lines(1, 20_000)), 431);
    assert_eq!(status(address, &format!("/ws?token={}", "a".repeat(17_000)), ""), 431);
    // Answered although the headers never end.
    let mut client = Client::tcp(address);
    client.send(format!("GET /ws HTTP/1.1\r\nX: {}", "a".repeat(17_000)).as_bytes());
    assert_eq!(answer(&mut client).status, 431);
    let mut client = Client::tcp(address);
    client.send(&[b'A'; 17_000]);
    assert!([0, 400, 431].contains(&answer(&mut client).status));
}

#[test]
fn headers_are_limited_in_number_and_bytes() {
    undisturbed(&[], |server| all(server.address));
}
