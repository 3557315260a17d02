//! Clients that let the server wait for 10 s, the default, until it may write: they are cut.

use std::time::{Duration, Instant};

use crate::client::Client;
use crate::frame::{BINARY, PING, TEXT, masked};
use crate::server::{Server, undisturbed, until};

const DEADLINE: Duration = Duration::from_secs(10);
/// How much of a client's flood the kernels' buffers and the server may take when it does not read the answers.
const TAKEN_AT_MOST: usize = 16 << 20;

/// Sends until the server does not read any more.
fn flood(client: &mut Client, frame: &[u8]) {
    client.shrink();
    let some = frame.repeat(1 + 10_000 / frame.len());
    let mut sent = 0;
    while client.send_within(&some, Duration::from_secs(1)).is_ok() {
        sent += some.len();
        assert!(sent < TAKEN_AT_MOST, "the server reads on although its answers are not read");
    }
}

fn fill(server: &Server, topic: &str) -> Client {
    let mut client = Client::v1(server.address);
    client.shrink();
    client.subscribe(topic);
    let mut publisher = Client::v1(server.address);
    let data = "x".repeat(50_000);
    for _ in 0..50 {
        publisher.ask(&format!(r#"{{"id":1,"publish":{{"topic":"{topic}","data":"{data}"}}}}"#));
    }
    client
}

#[test]
fn who_does_not_read_is_not_read_and_then_cut() {
    undisturbed(&["--commands-per-second", "1000000"], |server| {
        let bystanders = server.connections();
        let resident = server.resident();
        let open = |path| Client::open(server.address, path);
        let began = Instant::now();
        let (mut pings, mut plain, mut echo) = (open("/ws"), open("/ws?topic=p"), open("/echo"));
        let (mut commands, subscriber) = (open("/ws"), fill(server, "s"));
        std::thread::scope(|threads| {
            threads.spawn(|| flood(&mut pings, &masked(PING, &[7; 125])));
            threads.spawn(|| flood(&mut plain, &masked(PING, b"")));
            threads.spawn(|| flood(&mut echo, &masked(BINARY, &[7; 50_000])));
            threads
                .spawn(|| flood(&mut commands, &masked(TEXT, br#"{"id":1,"unsubscribe":{"topic":"none"}}"#)));
        });
        let grown = server.resident().saturating_sub(resident);
        assert!(grown < 16 << 20, "{grown} bytes");
        until("all are cut", || server.connections() == bystanders);
        assert!(began.elapsed() > DEADLINE.mul_f64(0.9), "cut after {:?}", began.elapsed());
        for mut client in [pings, plain, echo, commands, subscriber] {
            // There may be words left of what was on its way, and no Close frame could follow.
            client.rest();
        }
    });
}
