//! Subscribers that do not read, and what their queues do.

use std::net::SocketAddr;

use serde_json::Value;

use crate::client::Client;
use crate::frame::{TEXT, masked};
use crate::server::{Server, undisturbed};

const MIB: u64 = 1 << 20;

fn publish(topic: &str, n: usize, bytes: usize) -> Vec<u8> {
    let payload = "x".repeat(bytes);
    let key = n % 4;
    masked(
        TEXT,
        format!(
            r#"{{"id":{},"publish":{{"topic":"{topic}","key":"k{key}","data":[{n},"{payload}"]}}}}"#,
            n + 1
        )
        .as_bytes(),
    )
}

/// Publishes so many messages, and waits until each has been accepted.
fn publish_all(address: SocketAddr, topic: &str, count: usize, bytes: usize) {
    let mut publisher = Client::v1(address);
    for n in 0..count {
        publisher.send(&publish(topic, n, bytes));
        let reply = publisher.json();
        assert!(reply["ok"].is_object(), "{reply}");
    }
}

/// A subscriber that takes next to nothing.
fn stalled(address: SocketAddr, topic: &str) -> Client {
    let mut client = Client::v1(address);
    client.shrink();
    client.subscribe(topic);
    client
}

/// Leaves with messages in its queue.
pub(crate) fn leaves_unread(address: SocketAddr, round: usize) {
    let topic = format!("unread.{round}");
    let client = stalled(address, &topic);
    publish_all(address, &topic, 10, 50_000);
    if round.is_multiple_of(2) { client.reset() } else { drop(client) }
}

/// What a subscriber that reads again is told.
struct Told {
    received: Vec<usize>,
    gaps: Vec<Value>,
}

/// Reads up to message `count`; each is there or in a gap that stands in its place.
fn catch_up(client: &mut Client, count: usize) -> Told {
    let mut told = Told { received: Vec::new(), gaps: Vec::new() };
    let mut next = 0;
    while next < count {
        let frame = client.json();
        if frame["gap"].is_object() {
            next += usize::try_from(frame["gap"]["missed"].as_u64().unwrap()).unwrap();
            told.gaps.push(frame["gap"].clone());
        } else if let Some(n) = frame["data"][0].as_u64() {
            assert_eq!(n, next as u64, "a message is missing, or too many are");
            told.received.push(next);
            next += 1;
        }
    }
    assert_eq!(next, count);
    told
}

fn options<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&["--commands-per-second", "1000000", "--queue", "8"], more].concat()
}

#[test]
fn the_oldest_are_dropped_and_told() {
    undisturbed(&options(&[]), |server| {
        let mut client = stalled(server.address, "t");
        publish_all(server.address, "t", 200, 30_000);
        let told = catch_up(&mut client, 200);
        assert_eq!(told.gaps.len(), 1, "{:?}", told.gaps);
        assert_eq!(told.gaps[0]["reason"], "slow");
        // What the kernels held, then the newest.
        assert!(told.received.len() < 100, "{}", told.received.len());
        assert_eq!(told.received[told.received.len() - 8..], [192, 193, 194, 195, 196, 197, 198, 199]);
        client.is_well();
    });
}

#[test]
fn the_newest_are_dropped_and_told() {
    undisturbed(&options(&["--overflow", "drop-newest"]), |server| {
        let mut client = stalled(server.address, "t");
        publish_all(server.address, "t", 200, 30_000);
        let told = catch_up(&mut client, 200);
        assert_eq!(told.gaps.len(), 1, "{:?}", told.gaps);
        let received = told.received.len();
        assert!((8..100).contains(&received), "{received}");
        assert_eq!(told.received, (0..received).collect::<Vec<_>>());
        client.is_well();
    });
}

#[test]
fn the_newest_of_each_key_is_kept() {
    undisturbed(&options(&["--overflow", "conflate-by-key"]), |server| {
        let mut client = stalled(server.address, "t");
        publish_all(server.address, "t", 200, 30_000);
        let mut received = Vec::new();
        while received.last() != Some(&199) {
            if let Some(n) = client.json()["data"][0].as_u64() {
                received.push(n);
            }
        }
        assert!(received.is_sorted() && received.len() < 100, "{received:?}");
        assert_eq!(received[received.len() - 4..], [196, 197, 198, 199]);
        client.is_well();
    });
}

#[test]
fn who_is_to_be_disconnected_is_told_why() {
    undisturbed(&options(&["--overflow", "disconnect"]), |server| {
        let client = stalled(server.address, "t");
        publish_all(server.address, "t", 200, 30_000);
        let before = client.closed_with(4100, "slow_consumer");
        assert!(before.len() < 100, "{}", before.len());
    });
}

#[test]
fn what_is_retained_is_recovered() {
    undisturbed(&options(&["--history", "1000"]), |server| {
        let mut client = stalled(server.address, "t");
        // Within the 4 MiB that a topic retains.
        publish_all(server.address, "t", 100, 30_000);
        let told = catch_up(&mut client, 100);
        assert_eq!((told.received.len(), told.gaps.len()), (100, 0), "{:?}", told.gaps);
    });
}

#[test]
fn what_is_not_retained_any_more_is_a_gap() {
    undisturbed(&options(&["--history", "20"]), |server| {
        let mut client = stalled(server.address, "t");
        publish_all(server.address, "t", 200, 30_000);
        let told = catch_up(&mut client, 200);
        assert!(!told.gaps.is_empty() && told.received.len() < 120, "{}", told.received.len());
        assert!(told.received.ends_with(&(180..200).collect::<Vec<_>>()), "{:?}", told.received);
    });
}

/// 30 MB go by, and the queues of eight who do not read stay what they may be: 1 MiB each.
#[test]
fn memory_is_bounded() {
    let server = Server::spawn(&["--commands-per-second", "1000000"]);
    publish_all(server.address, "t", 100, 30_000);
    let before = server.resident();
    let mut clients: Vec<Client> = (0..8).map(|_| stalled(server.address, "t")).collect();
    publish_all(server.address, "t", 1000, 30_000);
    let grown = server.resident().saturating_sub(before);
    assert!(grown < 16 * MIB, "{grown} bytes");
    std::thread::scope(|threads| {
        for client in &mut clients {
            threads.spawn(|| {
                let told = catch_up(client, 1000);
                // The queue's bytes bound it before its 256 messages do.
                assert!(told.received.len() < 100, "{}", told.received.len());
            });
        }
    });
}
