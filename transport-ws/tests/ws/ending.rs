//! Every way for a connection to end, and what the client is told.

use std::time::Duration;

use fanfare_core::{Broker, policy::Open, session::CloseKind};
use fanfare_ws::Config;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, frame::coding::CloseCode};

use crate::{
    policy::Tokens,
    raw::frame,
    support::{PATIENCE, app, app_with},
};

#[tokio::test]
async fn a_close_is_answered_with_its_code() {
    let app = app().await;
    let mut client = app.client().await;
    let goodbye = CloseFrame { code: CloseCode::Library(3210), reason: "bye".into() };
    client.0.close(Some(goodbye)).await.unwrap();
    assert_eq!(u16::from(client.close_frame().await.code), 3210);
    let mut raw = app.raw("/ws").await;
    raw.send(&frame(0x88, b"")).await;
    assert_eq!(raw.rest().await, [0x88, 0]);
}

#[tokio::test]
async fn who_says_goodbye_is_told_apart_from_who_may_come_back() {
    let (reasons, mut reason) = mpsc::channel(1);
    let builder = Broker::builder().policy(Open).on_disconnected(move |_, reason| {
        let reasons = reasons.clone();
        async move { reasons.send(reason.kind).await.unwrap() }
    });
    let app = app_with(builder, Config::new()).await;
    let close = |code: u16| frame(0x88, &code.to_be_bytes());
    for (last, expected) in [
        (close(1000), CloseKind::Normal),
        (frame(0x88, b""), CloseKind::Normal),
        // A page that is left or loaded again, and a client that makes another connection.
        (close(1001), CloseKind::Away),
        (close(3000), CloseKind::Away),
        (Vec::new(), CloseKind::Lost),
    ] {
        let mut raw = app.raw("/ws").await;
        raw.send(&last).await;
        drop(raw);
        let said = tokio::time::timeout(PATIENCE, reason.recv()).await.unwrap();
        assert_eq!(said, Some(expected), "{}", last.escape_ascii());
    }
}

#[tokio::test]
async fn frames_that_break_the_rfc_have_their_codes() {
    let app = app_with(Broker::builder().policy(Open), Config::new().max_message(1000)).await;
    let cases: [(&[u8], u16); 8] = [
        // Unmasked.
        (b"\x81\x02{}", 1002),
        // Reserved bits and opcodes.
        (&frame(0xC1, b"{}"), 1002),
        (&frame(0x83, b""), 1002),
        // A length that is not in its shortest form.
        (b"\x81\xFE\x00\x02", 1002),
        (b"\x82\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF", 1002),
        (&frame(0x81, b"\xC3"), 1007),
        // Found by the header: the body never comes.
        (b"\x82\xFE\x03\xE9\x00\x00\x00\x00", 1009),
        (&frame(0x88, &[0x03, 0xED]), 1002),
    ];
    let mut other = app.client().await;
    for (bytes, code) in cases {
        let mut raw = app.raw("/ws").await;
        raw.send(bytes).await;
        assert_eq!(raw.close_code().await, code, "{}", bytes.escape_ascii());
    }
    assert_eq!(other.ask(r#"{"id":1,"ping":{}}"#).await["id"], 1);
}

#[tokio::test]
async fn what_came_before_a_broken_frame_is_served() {
    let app = app().await;
    let mut raw = app.raw("/ws").await;
    raw.send(&[frame(0x81, br#"{"id":5,"ping":{}}"#), frame(0x83, b"")].concat()).await;
    let rest = raw.rest().await;
    assert!(rest.starts_with(b"\x81\x10{\"id\":5,\"ok\":{}}"), "{}", rest.escape_ascii());
}

#[tokio::test]
async fn rule_10_a_client_that_answers_no_ping_is_closed() {
    let (reasons, mut reason) = mpsc::channel(1);
    let builder = Broker::builder().policy(Open).ping_interval(Duration::from_millis(100));
    let builder = builder.on_disconnected(move |_, reason| {
        let reasons = reasons.clone();
        async move { reasons.send(reason.kind).await.unwrap() }
    });
    let app = app_with(builder, Config::new().pong_timeout(Duration::from_millis(100))).await;
    let mut raw = app.raw("/ws").await;
    let rest = raw.rest().await;
    assert!(rest.starts_with(&[0x89, 0]), "{}", rest.escape_ascii());
    let expected = &b"{\"close\":{\"code\":4202,\"name\":\"pong_timeout\"}}"[..];
    assert!(rest.windows(expected.len()).any(|window| window == expected), "{}", rest.escape_ascii());
    assert_eq!(reason.recv().await, Some(CloseKind::PongTimeout));
}

#[tokio::test]
async fn rule_10_a_client_that_answers_pings_stays() {
    let builder = Broker::builder().policy(Open).ping_interval(Duration::from_millis(1));
    let app = app_with(builder, Config::new().pong_timeout(Duration::from_millis(500))).await;
    let mut client = app.client().await;
    // Reading answers the pings.
    let silence = tokio::time::timeout(Duration::from_secs(3), client.next()).await;
    assert!(silence.is_err(), "{silence:?}");
}

#[tokio::test]
async fn draining_says_when_to_come_back() {
    let app = app().await;
    let mut client = app.client().await;
    client.ask(r#"{"id":1,"subscribe":{"topic":"t"}}"#).await;
    let broker = app.broker.clone();
    let drain = tokio::spawn(async move { broker.drain(PATIENCE).await });
    let (code, last) = client.closed().await;
    assert_eq!((code, &last["close"]["name"]), (4200, &"draining".into()));
    assert!(last["close"]["retry_ms"].is_u64(), "{last}");
    assert!(drain.await.unwrap(), "not all ended in time");
    assert_eq!(app.refusal("/ws").await.0, 503);
}

#[tokio::test]
async fn whoever_does_not_authenticate_is_closed() {
    let builder = Broker::builder().policy(Tokens);
    let app = app_with(builder, Config::new().connect_timeout(Duration::from_millis(100))).await;
    let mut client = app.client().await;
    assert_eq!(client.closed().await.0, 4103);
}

#[tokio::test]
async fn an_idle_client_is_closed_if_so_configured() {
    let app =
        app_with(Broker::builder().policy(Open), Config::new().idle_timeout(Duration::from_millis(100)))
            .await;
    let mut client = app.client().await;
    assert_eq!(client.closed().await.0, 1000);
}

#[tokio::test]
async fn a_flood_of_commands_is_closed() {
    let app = app().await;
    let mut raw = app.raw("/ws").await;
    raw.send(&frame(0x81, br#"{"id":1,"ping":{}}"#).repeat(1000)).await;
    assert_eq!(raw.close_code().await, 4101);
}

#[tokio::test]
async fn hooks_run_for_a_client_that_is_gone_without_a_word() {
    let (reasons, mut reason) = mpsc::channel(2);
    let builder = Broker::builder().policy(Open).on_disconnecting(move |_, topics, reason| {
        let reasons = reasons.clone();
        async move { reasons.send((topics, reason.kind)).await.unwrap() }
    });
    let app = app_with(builder, Config::new()).await;
    let mut client = app.client().await;
    client.ask(r#"{"id":1,"subscribe":{"topic":"t"}}"#).await;
    drop(client);
    assert_eq!(reason.recv().await, Some((vec!["t".to_owned()], CloseKind::Lost)));
    while app.broker.stats().connections > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn an_admission_that_ends_ends_the_connection() {
    let app = app_with(Broker::builder().policy(Tokens), Config::new()).await;
    // Each is told before, in time to bring another token.
    let mut at_once = app.open("/ws?token=brief").await.unwrap();
    assert!(at_once.frame().await["token"]["expires_ms"].as_u64().is_some_and(|left| left <= 200));
    assert_eq!(at_once.closed().await.0, 4004);
    let mut later = app.client().await;
    assert!(later.ask(r#"{"id":1,"connect":{"token":"brief"}}"#).await["ok"]["expires_ms"].is_u64());
    assert!(later.frame().await["token"]["expires_ms"].is_u64());
    assert_eq!(later.closed().await.0, 4004);
}

#[tokio::test]
async fn the_app_can_end_a_connection() {
    let app = app().await;
    let mut client = app.client().await;
    let name =
        client.ask(r#"{"id":1,"connect":{}}"#).await["ok"]["client"].as_str().unwrap().parse().unwrap();
    assert!(app.broker.disconnect(name, CloseKind::Kicked.into()));
    assert_eq!(client.closed().await.0, 4005);
}
