//! Clients that do not read.

use std::time::Duration;

use fanfare_core::{Broker, policy::Open, session::CloseKind};
use fanfare_ws::Config;
use tokio::{io::AsyncWriteExt, sync::mpsc, time::timeout};

use crate::{
    raw::frame,
    support::{PATIENCE, app, app_with},
};

/// More than the kernels' buffers and a queue take together.
const MESSAGES: usize = 3000;

#[tokio::test]
async fn one_is_told_what_it_lost_and_the_others_lose_nothing() {
    let app = app().await;
    let (mut stalled, mut other) = (app.client().await, app.client().await);
    for client in [&mut stalled, &mut other] {
        client.ask(r#"{"id":1,"subscribe":{"topic":"t"}}"#).await;
    }
    let payload = "x".repeat(10_000);
    for n in 0..MESSAGES {
        app.broker.publish("t", format!("{n} {payload}")).await.unwrap();
        let message = other.frame().await;
        assert!(message["data"].as_str().unwrap().starts_with(&format!("{n} ")));
    }
    assert!(app.broker.stats().queued_bytes <= 2 << 20, "{:?}", app.broker.stats());

    // What was delivered comes first, then the gap, then the newest.
    let (mut next, mut missed) = (0, 0);
    while next < MESSAGES {
        let frame = stalled.frame().await;
        if let Some(gap) = frame.get("gap") {
            missed += gap["missed"].as_u64().unwrap() as usize;
            assert_eq!(gap["reason"], "slow");
            next += gap["missed"].as_u64().unwrap() as usize;
        } else {
            let data = frame["data"].as_str().unwrap();
            assert!(data.starts_with(&format!("{next} ")), "{} instead of {next}", &data[..8]);
            next += 1;
        }
    }
    assert!(missed > MESSAGES / 2, "{missed}");
}

#[tokio::test]
async fn rule_9_one_that_takes_nothing_for_too_long_is_cut() {
    let (reasons, mut reason) = mpsc::channel(1);
    let builder = Broker::builder().policy(Open).on_disconnected(move |_, reason| {
        let reasons = reasons.clone();
        async move { reasons.send(reason.kind).await.unwrap() }
    });
    let app = app_with(builder, Config::new().write_timeout(Duration::from_millis(300))).await;
    let mut stalled = app.client().await;
    stalled.ask(r#"{"id":1,"subscribe":{"topic":"t"}}"#).await;
    for _ in 0..MESSAGES {
        app.broker.publish("t", "x".repeat(10_000)).await.unwrap();
    }
    let reason = timeout(PATIENCE, reason.recv()).await.expect("not cut");
    assert_eq!(reason, Some(CloseKind::SlowConsumer));
}

#[tokio::test]
async fn one_that_floods_pings_is_not_read_on() {
    let app =
        app_with(Broker::builder().policy(Open), Config::new().write_timeout(Duration::from_secs(1))).await;
    let mut raw = app.raw("/ws").await;
    let pings = frame(0x89, &[7; 125]).repeat(1000);
    // The server's answers fill up first, then what it does not read.
    let flood = async {
        let mut sent = 0;
        while sent < 1 << 28 && raw.0.write_all(&pings).await.is_ok() {
            sent += pings.len();
        }
        sent
    };
    let sent = timeout(PATIENCE, flood).await.expect("neither read nor cut");
    assert!(sent < 1 << 28, "all was read");
    let mut other = app.client().await;
    assert_eq!(other.ask(r#"{"id":1,"ping":{}}"#).await["id"], 1);
}
