//! Clients that ask for nothing.

use std::time::{Duration, Instant};

use crate::client::Client;
use crate::frame::{PING, masked};
use crate::server::{Server, undisturbed};

const TIMEOUT: Duration = Duration::from_millis(500);

#[test]
fn a_client_that_asks_for_nothing_is_closed() {
    // The bystander's subscriber asks for nothing either.
    let server = Server::spawn(&["--idle-timeout", "0.5"]);
    let began = Instant::now();
    let (silent, mut pinging) = (Client::v1(server.address), Client::v1(server.address));
    let (mut asking, mut plain) = (Client::v1(server.address), Client::open(server.address, "/ws?topic=t"));
    plain.send(&masked(PING, b""));
    let pings = std::thread::spawn(move || {
        while !pinging.ends_within(Duration::from_millis(50)) {
            pinging.send(&masked(PING, b""));
        }
    });
    while began.elapsed() < 3 * TIMEOUT {
        asking.is_well();
        // A command now and then, well within the budget.
        assert!(!asking.ends_within(Duration::from_millis(50)));
    }
    drop(asking);
    silent.closed_with(1000, "normal");
    assert_eq!(plain.closed().code, Some(1000));
    pings.join().unwrap();
    server.forgets_all();
}

#[test]
fn nobody_is_closed_unless_so_configured() {
    undisturbed(&[], |server| {
        let mut client = Client::v1(server.address);
        assert!(!client.ends_within(3 * TIMEOUT));
        client.is_well();
    });
}
