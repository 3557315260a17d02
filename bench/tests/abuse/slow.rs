//! Handshakes that do not come to an end.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::client::{Client, answer, upgrade};
use crate::server::undisturbed;

const TIMEOUT: Duration = Duration::from_millis(500);
const OPTIONS: [&str; 2] = ["--handshake-timeout", "0.5"];

/// Says `first`, and then a byte of `rest` each 50 ms; how long the server has listened.
fn patience(address: SocketAddr, first: &[u8], rest: &[u8]) -> Duration {
    let began = Instant::now();
    let mut client = Client::tcp(address);
    client.send(first);
    for byte in rest.chunks(1) {
        if client.ends_within(Duration::from_millis(50)) {
            return began.elapsed();
        }
        client.send(byte);
    }
    // Answered 408 or cut.
    let rest = client.rest();
    assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 408 "), "{}", rest.escape_ascii());
    began.elapsed()
}

#[test]
fn a_handshake_has_a_deadline() {
    undisturbed(&OPTIONS, |server| {
        let slow = "X-Slow: ".to_owned() + &"a".repeat(1000);
        let half = &upgrade("/ws")[..60];
        let cases: [(&[u8], &[u8]); 4] =
            [(b"", b""), (b"G", b""), (half.as_bytes(), b""), (half.as_bytes(), slow.as_bytes())];
        let address = server.address;
        std::thread::scope(|threads| {
            for (first, rest) in cases {
                threads.spawn(move || {
                    let waited = patience(address, first, rest);
                    assert!(waited > TIMEOUT / 2, "{first:?}: {waited:?}");
                    assert!(waited < 10 * TIMEOUT, "{first:?}: {waited:?}");
                });
            }
        });
    });
}

#[test]
fn so_has_what_follows_a_request_and_a_client_that_is_in_has_none() {
    undisturbed(&OPTIONS, |server| {
        let mut client = Client::v1(server.address);
        let mut next = Client::tcp(server.address);
        next.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
        assert_eq!(answer(&mut next).status, 200);
        next.rest();
        assert!(!client.ends_within(2 * TIMEOUT));
        client.is_well();
    });
}

#[test]
fn half_open_handshakes_block_nobody() {
    undisturbed(&OPTIONS, |server| {
        let half = &upgrade("/ws")[..60];
        let mut clients: Vec<Client> = (0..500)
            .map(|_| {
                let mut client = Client::tcp(server.address);
                client.send(half.as_bytes());
                client
            })
            .collect();
        Client::v1(server.address).is_well();
        for client in &mut clients {
            client.rest();
        }
    });
}
