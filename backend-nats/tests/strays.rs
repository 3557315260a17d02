//! What does not belong there: messages with places that nobody gave, and messages of any size.

mod support;

use std::time::Duration;

use async_nats::HeaderMap;
use fanfare_core::{
    backend::{Backend, BackendState, HistoryQuery},
    message::{MessageParts, Position},
    topic::TopicConfig,
};
use fanfare_nats::NatsBackend;
use fanfare_testkit::{
    faults::{LOGGED, Lone, Told, retention},
    server::Program,
};
use support::{PATIENCE, Setup, admin::Admin, lone, on_both, topic};
use tokio::time::{Instant, sleep};

on_both! {
    a_stray_message_tells_nothing_of_a_stream
    a_stream_that_seems_to_have_lost_its_end_is_set_aside
    messages_near_the_largest_are_taken_or_refused_alone
}

async fn publish(node: &Lone<NatsBackend>, text: &str, messages: usize) -> Position {
    let kept = retention(&TopicConfig::new().history(messages));
    node.hand_over(LOGGED, text, Some(kept)).await.expect("it is stored").position.expect("a position")
}

async fn texts(node: &Lone<NatsBackend>) -> Vec<String> {
    let page = node.history(LOGGED, HistoryQuery::After { offset: 0, limit: 100 }).await;
    page.messages.iter().map(|m| m.payload().as_str().unwrap_or_default().to_owned()).collect()
}

/// A message as if the stream had stored it at a place far beyond its end.
async fn stray(admin: &Admin, stream: &str, payload: Vec<u8>) {
    let mut headers = HeaderMap::new();
    headers.insert("Nats-Stream", stream);
    headers.insert("Nats-Sequence", "900000");
    headers.insert("Nats-Last-Sequence", "1");
    let subject = format!("fanfare.m.t.{LOGGED}");
    admin.app.publish_with_headers(subject, headers, payload.into()).await.expect("a connection");
    admin.app.flush().await.expect("a connection");
}

async fn a_stray_message_tells_nothing_of_a_stream(program: Program) {
    let Some(setup) = Setup::start(program).await else { return };
    let node = lone(setup.builder()).await;
    node.subscribe(LOGGED, Some(retention(&TopicConfig::new().history(10)))).await;
    let before = publish(&node, "1", 10).await;
    let admin = setup.admin().await;
    let stream = admin.log().await.config.name;
    stray(&admin, &stream, b"hello".to_vec()).await;
    let deadline = Instant::now() + PATIENCE;
    while node.backend.foreign_messages() == 0 {
        assert!(Instant::now() < deadline, "the stray message never comes");
        sleep(Duration::from_millis(5)).await;
    }
    // More is to be held: the stream is looked at.
    let after = publish(&node, "2", 1000).await;
    assert_eq!(after.epoch, before.epoch, "the log is the same");
    assert_eq!(admin.logs().await, [stream]);
    assert_eq!(texts(&node).await, ["1", "2"]);
    node.end().await;
}

/// What has been stored is not deleted, from 2.10 on: somebody may have said what is not so, or put a backup back.
async fn a_stream_that_seems_to_have_lost_its_end_is_set_aside(program: Program) {
    let Some(setup) = Setup::start(program).await else { return };
    let (node, reader) = (lone(setup.builder()).await, lone(setup.builder()).await);
    node.subscribe(LOGGED, Some(retention(&TopicConfig::new().history(10)))).await;
    let before = publish(&node, "1", 10).await;
    assert_eq!(texts(&reader).await, ["1"], "it knows the stream as well");
    let admin = setup.admin().await;
    let old = admin.log().await.config.name;
    let stored = admin.jetstream().get_stream(&old).await.expect("a stream");
    let copy = stored.get_raw_message(before.offset).await.expect("a message");
    stray(&admin, &old, copy.payload.to_vec()).await;
    // What follows on another topic comes after it.
    node.subscribe("marker", None).await;
    reader.hand_over("marker", "x", None).await.expect("it is carried");
    node.until("the marker", |told| told.contains(&Told::Message("marker".into(), "x".into()))).await;
    let after = publish(&node, "2", 1000).await;
    assert_ne!(after.epoch, before.epoch, "the places that follow may have been given");
    for node in [&node, &reader] {
        assert_eq!(texts(node).await, ["2"], "nobody goes on with the old log");
    }
    if !setup.is_debians() {
        let held = admin.count(&old, &format!("fanfare.l.t.{LOGGED}")).await;
        assert!(held >= 1, "the operator has what was stored");
    }
    for node in [node, reader] {
        node.end().await;
    }
}

async fn messages_near_the_largest_are_taken_or_refused_alone(program: Program) {
    const MOST: usize = 65_536;
    let Some(setup) = Setup::with(program, &["max_payload: 65536"]).await else { return };
    let node = lone(setup.builder()).await;
    // Names whose bytes are escaped.
    let long = format!("logged{}", ".a".repeat(120));
    let kept = retention(&TopicConfig::new().history(100).latest(10));
    let (mut taken, mut refused) = (0, 0);
    for index in 0..60 {
        for (id, key) in [(None, None), (Some("."), None), (None, Some("k")), (Some("."), Some("k"))] {
            let mut parts = MessageParts::new(topic(&long), "x".repeat(MOST - 40 * index));
            parts.message_id = id.map(|id| id.repeat(100 + index).into());
            parts.key = key.map(Into::into);
            match node.hand_over_parts(parts, Some(kept)).await {
                Ok(_) => taken += 1,
                Err(error) => {
                    refused += 1;
                    assert!(error.to_string().contains("max_payload"), "{}", support::chain(&error));
                }
            }
        }
    }
    assert!(taken > 10 && refused > 10, "{taken} {refused}");
    let error = node.backend.control(None, vec![0; MOST].into()).await.expect_err("too large");
    assert!(error.to_string().contains("max_payload"), "{error}");
    node.backend.control(None, vec![0; 60 << 10].into()).await.expect("it is told");
    let was_down = node.told().contains(&Told::State(BackendState::Down));
    assert!(!was_down, "the connection was lost");
    node.end().await;
}
