//! A client that stops reading.

use std::num::NonZeroU32;

use fanfare::{BrokerBuilder, topic::TopicConfig};
use fanfare_testkit::proxy::{ChaosProxy, Direction};
use serde_json::{Value, json};

use super::harness::{Backend, Client, Site, Told};

/// How many messages are sent while one client reads none of them.
const MESSAGES: u32 = 600;

/// Bytes of each: all together more than the kernel's buffers hold.
const SIZE: usize = 40 << 10;

/// How many of the last messages a log keeps.
const KEPT: u32 = 100;

/// What a client hears, in order.
#[derive(Debug, PartialEq)]
enum Heard {
    Message(u32),
    /// A loss of so many, for a reason.
    Gap(u32, String),
}

fn site_config(builder: BrokerBuilder) -> BrokerBuilder {
    let all = TopicConfig::new().history(MESSAGES as usize + 1).history_bytes(64 << 20);
    let some = TopicConfig::new().history(KEPT as usize).history_bytes(64 << 20);
    let builder = builder.topic("log.all", all).topic("log.some", some);
    builder.limits(|limits| {
        // The tests publish faster than a person does.
        limits.commands_per_second = NonZeroU32::MAX;
        limits.commands_burst = NonZeroU32::MAX;
    })
}

/// The next thing that a client hears of the topic; nothing for the marker.
async fn hear(client: &mut Client) -> Option<Heard> {
    loop {
        match client.told().await {
            Told::Binary(_, payload) => {
                let (n, rest) = payload.split_first_chunk().unwrap();
                assert_eq!(rest.len(), SIZE);
                return Some(Heard::Message(u32::from_be_bytes(*n)));
            }
            Told::Text(frame) if frame.get("gap").is_some() => {
                let gap = &frame["gap"];
                let missed = gap["missed"].as_u64().unwrap_or_else(|| panic!("{frame}")) as u32;
                return Some(Heard::Gap(missed, gap["reason"].as_str().unwrap().to_owned()));
            }
            Told::Text(frame) if frame["data"] == "marker" => return None,
            // A cursor, or that all has come.
            Told::Text(frame) if frame.get("pos").is_some() && frame.get("data").is_none() => {}
            other => panic!("{other:?}"),
        }
    }
}

/// Publishes while one of four reads nothing, and no faster than the other three read; returns what the one hears that has stalled.
async fn stall(topic: &str) -> Vec<Heard> {
    let site = Site::start(Backend::Memory, site_config).await.unwrap();
    let proxy = ChaosProxy::start(site.node(0).address.parse().unwrap()).await.unwrap();
    let mut stalled = Client::of_user(&proxy.addr().to_string(), "mal").await;
    stalled.subscribe(topic).await;
    let [mut publisher, mut ben, mut cem, mut dee] = site.people(["ann", "ben", "cem", "dee"]).await;
    for reader in [&mut ben, &mut cem, &mut dee] {
        reader.subscribe(topic).await;
    }

    proxy.half_open(Direction::ToClient);
    for n in 0..MESSAGES {
        let payload = [&n.to_be_bytes()[..], &[7; SIZE]].concat();
        publisher.send_binary(json!({ "publish": { "topic": topic } }), &payload).await;
        for reader in [&mut ben, &mut cem, &mut dee] {
            assert_eq!(hear(reader).await, Some(Heard::Message(n)), "somebody else's loss");
        }
    }
    publisher.publish(topic, "marker").await;
    for reader in [&mut ben, &mut cem, &mut dee] {
        assert_eq!(hear(reader).await, None);
    }
    proxy.heal();
    let mut heard = Vec::new();
    while let Some(more) = hear(&mut stalled).await {
        heard.push(more);
    }
    // It is as good as any other again.
    publisher.publish(topic, Value::from("marker")).await;
    assert_eq!(hear(&mut stalled).await, None);
    heard
}

/// Each message is there once, in order, or within a gap that stands in its place; returns how many are missing, and why.
fn account(heard: &[Heard]) -> (u32, Vec<&str>) {
    let (mut next, mut missed, mut reasons) = (0, 0, Vec::new());
    for heard in heard {
        match heard {
            Heard::Message(n) => {
                assert_eq!(*n, next, "out of order, twice, or lost without a word");
                next += 1;
            }
            Heard::Gap(count, reason) => {
                next += count;
                missed += count;
                reasons.push(&reason[..]);
            }
        }
    }
    assert_eq!(next, MESSAGES, "the end is missing");
    (missed, reasons)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_client_has_a_gap_and_nobody_else_has() {
    let heard = stall("live").await;
    let (missed, reasons) = account(&heard);
    assert!(missed > 0, "the buffers were never full");
    assert!(reasons.iter().all(|reason| *reason == "slow"), "{reasons:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_client_of_a_log_gets_everything_when_it_reads_again() {
    let heard = stall("log.all").await;
    let (missed, reasons) = account(&heard);
    assert_eq!((missed, reasons), (0, vec![]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_client_of_a_log_loses_what_the_log_has_given_up_and_is_told() {
    let heard = stall("log.some").await;
    let (missed, reasons) = account(&heard);
    assert!(missed > 0, "the buffers were never full");
    assert_eq!(reasons.len(), 1, "{reasons:?}");
    // The marker is one of those that are kept.
    let last: Vec<_> = (MESSAGES - KEPT + 1..MESSAGES).map(Heard::Message).collect();
    assert!(heard.ends_with(&last));
}
