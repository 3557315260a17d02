//! A client that asks for too much.

use std::{collections::BTreeSet, num::NonZeroU32};

use fanfare::BrokerBuilder;
use serde_json::json;

use super::harness::{Backend, Client, Site};

/// How many commands a client may send at once, and how many a second more.
const BURST: u32 = 150;
const PER_SECOND: u32 = 20;

/// How many lines Ann types.
const LINES: u64 = 60;

/// How much the flooder sends, whatever it is told.
const FLOOD: u64 = 3000;

fn strict(builder: BrokerBuilder) -> BrokerBuilder {
    builder.limits(|limits| {
        limits.commands_burst = NonZeroU32::new(BURST).unwrap();
        limits.commands_per_second = NonZeroU32::new(PER_SECOND).unwrap();
    })
}

/// What became of a flood, by the numbers of its messages.
#[derive(Default)]
struct Flood {
    accepted: BTreeSet<u64>,
    refused: BTreeSet<u64>,
    code: Option<u16>,
    is_told_why: bool,
}

/// Publishes as fast as the socket takes it, until the server has had enough. The number of a message is that of its command.
async fn flood(mut client: Client) -> Flood {
    for n in 1..=FLOOD {
        let publish = json!({ "id": n, "publish": { "topic": "room", "data": { "flood": n } } });
        if !client.try_send(publish).await {
            break;
        }
    }
    let (code, frames) = client.ended().await;
    let mut flood = Flood { code, ..Flood::default() };
    for frame in frames {
        let id = frame["id"].as_u64();
        match id {
            Some(id) if frame.get("ok").is_some() => assert!(flood.accepted.insert(id)),
            Some(id) => {
                let error = &frame["error"];
                assert_eq!(
                    (&error["code"], &error["retry"]),
                    (&json!("rate_limited"), &json!(true)),
                    "{frame}"
                );
                assert!(error["limit"] == BURST && error["retry_ms"].as_u64() > Some(0), "{frame}");
                assert!(flood.refused.insert(id));
            }
            None => {
                assert_eq!(frame["close"]["code"], 4101, "{frame}");
                assert_eq!(frame["close"]["name"], "rate_limited");
                flood.is_told_why = true;
            }
        }
    }
    flood
}

/// Types line by line, and waits for each reply.
async fn types(mut ann: Client) {
    for line in 0..LINES {
        let reply = ann.publish("room", json!({ "line": line })).await;
        assert_eq!(reply, json!({}));
    }
    ann.publish("room", "last").await;
}

/// What a reader hears up to a word of somebody's: Ann's lines, and what of the flood.
async fn hears(reader: &mut Client, word: &str, heard: &mut Heard) {
    loop {
        let frame = reader.next().await;
        let data = &frame["data"];
        match (data["line"].as_u64(), data["flood"].as_u64()) {
            (Some(line), _) => heard.lines.push(line),
            (_, Some(n)) => heard.flood.push(n),
            _ => {
                assert_eq!(frame["data"], word, "{frame}");
                return;
            }
        }
    }
}

#[derive(Default)]
struct Heard {
    lines: Vec<u64>,
    flood: Vec<u64>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_floods_is_told_and_limited_and_the_others_notice_nothing() {
    let site = Site::start(Backend::Memory, strict).await.unwrap();
    let [ann, flooder, mut ben, mut cem] = site.people(["ann", "mal", "ben", "cem"]).await;
    for reader in [&mut ben, &mut cem] {
        reader.subscribe("room").await;
    }
    let (mut bens, mut cems) = (Heard::default(), Heard::default());
    let reading =
        async { tokio::join!(hears(&mut ben, "last", &mut bens), hears(&mut cem, "last", &mut cems)) };
    let (flood, (), _) = tokio::join!(flood(flooder), types(ann), reading);

    assert_eq!((flood.code, flood.is_told_why), (Some(4101), true));
    assert!(!flood.refused.is_empty(), "it was not told before");
    // Its `connect` was a command, too.
    assert!(flood.accepted.len() >= BURST as usize - 1, "{}", flood.accepted.len());

    // It comes back, and is a client like any other when it behaves.
    let mut back = site.node(0).client("mal").await;
    back.subscribe("room").await;
    back.publish("room", "sorry").await;
    back.expect("room", "sorry").await;

    for (reader, mut heard) in [(&mut ben, bens), (&mut cem, cems)] {
        assert_eq!(heard.lines, (0..LINES).collect::<Vec<_>>());
        // What of the flood has come after Ann's last line.
        hears(reader, "sorry", &mut heard).await;
        assert!(heard.flood.is_sorted_by(|one, next| one < next), "{:?}", heard.flood);
        let heard: BTreeSet<_> = heard.flood.into_iter().collect();
        assert!(heard.is_superset(&flood.accepted), "what was accepted was not said");
        assert!(heard.is_disjoint(&flood.refused), "what was refused was said all the same");
        assert!((heard.len() as u64) < FLOOD / 2, "{} were let through", heard.len());
    }
}

/// Too many tabs are told so before they cost anything, and nobody else's are counted against them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_with_too_many_connections_is_told_and_the_others_are_let_in() {
    let few = |builder: BrokerBuilder| builder.limits(|limits| limits.connections_per_user = 3);
    let site = Site::start(Backend::Memory, few).await.unwrap();
    let mut tabs = site.people(["mal", "mal", "mal"]).await;
    for _ in 0..20 {
        let mut one_more = Client::open(&site.node(0).address).await;
        one_more.command(json!({ "connect": { "token": "mal" } })).await;
        let (code, frames) = one_more.ended().await;
        assert_eq!(code, Some(4102));
        assert_eq!(frames.last().unwrap()["close"]["name"], "connection_limit", "{frames:?}");
    }
    let mut ann = site.node(0).client("ann").await;
    ann.subscribe("room").await;
    for tab in &mut tabs {
        tab.publish("room", "here").await;
        ann.expect("room", "here").await;
    }
}
