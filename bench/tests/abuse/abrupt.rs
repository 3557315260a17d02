//! Clients that leave in the middle of whatever it is.

use std::net::SocketAddr;

use crate::client::{Client, upgrade};
use crate::frame::{BINARY, CLOSE, FIRST_TEXT, PING, TEXT, header, masked};
use crate::server::undisturbed;
use crate::subscriptions::connect;

/// What was sent before leaving; the handshake is among it.
fn stages(round: usize) -> Vec<Vec<u8>> {
    let handshake = upgrade("/ws").into_bytes();
    let command = |text: &str| masked(TEXT, text.as_bytes());
    let publish = format!(r#"{{"id":1,"publish":{{"topic":"abrupt","data":"{}"}}}}"#, "x".repeat(10_000));
    // Topics of their own, with long names: what stays behind would be seen.
    let topics = connect(&format!("{}.{round}", "a".repeat(200)), 128);
    let after = [
        vec![],
        vec![TEXT],
        header(TEXT, 10),
        [header(BINARY, 60_000), vec![7; 30_000]].concat(),
        masked(FIRST_TEXT, b"{\"id\":1,"),
        [masked(FIRST_TEXT, &[b' '; 30_000]), masked(PING, b"")].concat(),
        masked(PING, &[7; 125]).repeat(500),
        command(r#"{"id":1,"ping":{}}"#).repeat(100),
        command(&publish).repeat(10),
        command(&topics),
        [
            command(r#"{"connect":{"subscribe":[{"topic":"abrupt"},{"topic":"*"}]}}"#),
            command(&publish).repeat(20),
        ]
        .concat(),
        command(r#"{"id":1,"subscribe":{"topic":"abrupt"}}{"#).repeat(100),
        masked(CLOSE, b""),
        masked(CLOSE, b"\x03"),
    ];
    let mut stages = vec![vec![], b"GET".to_vec(), handshake[..60].to_vec()];
    stages.extend(after.map(|after| [&handshake[..], &after].concat()));
    stages
}

/// In each stage: before the answer has come and after, by the end of the stream, by a reset, and by half.
pub(crate) fn round(address: SocketAddr, round: usize) {
    for (n, bytes) in stages(round).into_iter().enumerate() {
        let mut client = Client::tcp(address);
        client.send(&bytes);
        let upgraded = bytes.len() > 100;
        match (round + n) % 5 {
            0 => drop(client),
            1 => client.reset(),
            2 if upgraded => {
                client.upgraded();
                drop(client);
            }
            3 if upgraded => {
                client.upgraded();
                client.reset();
            }
            _ => {
                client.half_close();
                client.rest();
            }
        }
    }
}

#[test]
fn who_leaves_in_the_middle_leaves_nothing() {
    undisturbed(&[], |server| (0..50).for_each(|n| round(server.address, n)));
}
