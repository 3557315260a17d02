//! The wire format v1 between two clients.

use std::time::Duration;

use fanfare_core::{Broker, policy::Open, topic::TopicConfig};
use fanfare_ws::Config;
use futures_util::SinkExt;
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use crate::{
    policy::Tokens,
    support::{app, app_with},
};

#[tokio::test]
async fn messages_go_from_one_client_to_another_in_order() {
    let app = app().await;
    let (mut ann, mut bob) = (app.client().await, app.client().await);
    assert_eq!(ann.ask(r#"{"id":1,"subscribe":{"topic":"chat"}}"#).await, json!({"id":1,"ok":{}}));
    for n in 0..100 {
        let published = bob.ask(&format!(r#"{{"id":7,"publish":{{"topic":"chat","data":{n}}}}}"#)).await;
        assert_eq!(published, json!({"id":7,"ok":{}}));
    }
    for n in 0..100 {
        let message = ann.frame().await;
        assert_eq!((&message["topic"], &message["data"]), (&json!("chat"), &json!(n)));
        assert!(message["from"]["client"].is_string());
    }
}

#[tokio::test]
async fn what_is_sent_at_once_is_answered_in_order() {
    let app = app().await;
    let mut client = app.client().await;
    for id in 1..=150 {
        let command = match id % 3 {
            0 => format!(r#"{{"id":{id},"ping":{{}}}}"#),
            1 => format!(r#"{{"id":{id},"unsubscribe":{{"topic":"t"}}}}"#),
            _ => format!(r#"{{"id":{id},"nonsense":{{}}}}"#),
        };
        client.0.feed(Message::text(command)).await.unwrap();
    }
    client.0.flush().await.unwrap();
    for id in 1..=150 {
        let reply = client.frame().await;
        assert_eq!(reply["id"], id);
        let code = &reply["error"]["code"];
        match id % 3 {
            0 => assert_eq!(reply["ok"], json!({})),
            1 => assert_eq!(code, "not_subscribed"),
            _ => assert_eq!(code, "unknown_method"),
        }
    }
}

#[tokio::test]
async fn nothing_of_a_topic_follows_the_reply_to_unsubscribe() {
    let app = app().await;
    let mut client = app.client().await;
    client.ask(r#"{"id":1,"subscribe":{"topic":"t"}}"#).await;
    app.broker.publish("t", "one").await.unwrap();
    assert_eq!(client.frame().await["data"], "one");
    assert_eq!(client.ask(r#"{"id":2,"unsubscribe":{"topic":"t"}}"#).await, json!({"id":2,"ok":{}}));
    app.broker.publish("t", "two").await.unwrap();
    assert_eq!(client.ask(r#"{"id":3,"ping":{}}"#).await, json!({"id":3,"ok":{}}));
}

#[tokio::test]
async fn frames_that_are_no_command_are_answered_and_the_connection_goes_on() {
    let app = app().await;
    let mut client = app.client().await;
    for (frame, code) in [
        ("", "bad_request"),
        ("{", "bad_request"),
        ("[]", "bad_request"),
        (r#"{"id":0,"ping":{}}"#, "bad_request"),
        (r#"{"subscribe":{"topic":"a..b"}}"#, "invalid_topic"),
        (r#"{"subscribe":{"topic":7}}"#, "bad_request"),
        (r#"{"fly":{}}"#, "unknown_method"),
    ] {
        let reply = client.ask(frame).await;
        assert_eq!(reply["error"]["code"], code, "{frame}: {reply}");
    }
    client.0.send(Message::binary(vec![0, 0, 0, 9, b'{'])).await.unwrap();
    assert_eq!(client.frame().await["error"]["code"], "bad_request");
    assert_eq!(client.ask(r#"{"id":3,"ping":{}}"#).await, json!({"id":3,"ok":{}}));
}

#[tokio::test]
async fn a_binary_payload_stays_one() {
    let app = app().await;
    let mut client = app.client().await;
    client.ask(r#"{"id":1,"subscribe":{"topic":"t"}}"#).await;
    let header = br#"{"publish":{"topic":"t","echo":true}}"#;
    let mut frame = (header.len() as u32).to_be_bytes().to_vec();
    frame.extend(header);
    frame.extend([0, 255, 1]);
    client.0.send(Message::binary(frame)).await.unwrap();
    let Message::Binary(bytes) = client.next().await else { panic!("no binary frame") };
    let length = u32::from_be_bytes(*bytes.first_chunk().unwrap()) as usize;
    assert_eq!(bytes[4 + length..], [0, 255, 1]);
}

#[tokio::test]
async fn a_reconnect_brings_what_was_missed() {
    let builder = Broker::builder().policy(Open).topic("t", TopicConfig::new().history(50));
    let app = app_with(builder, Config::new()).await;
    let mut client = app.client().await;
    let position = client.ask(r#"{"id":1,"subscribe":{"topic":"t"}}"#).await["ok"]["pos"].clone();
    drop(client);
    for n in 0..20 {
        app.broker.publish("t", n.to_string()).await.unwrap();
    }
    let mut client = app.client().await;
    let resume = json!({"id":1,"subscribe":{"topic":"t","after":position}}).to_string();
    assert_eq!(client.ask(&resume).await["ok"]["recovered"], true);
    for n in 0..20 {
        assert_eq!(client.frame().await["data"], n.to_string());
    }
    assert_eq!(client.frame().await["live"], true);
}

#[tokio::test]
async fn a_token_may_come_with_the_request_or_with_connect() {
    let app = app_with(Broker::builder().policy(Tokens), Config::new()).await;
    let mut early = app.open("/ws?token=ann").await.unwrap();
    assert_eq!(early.ask(r#"{"id":1,"ping":{}}"#).await, json!({"id":1,"ok":{}}));
    assert_eq!(early.ask(r#"{"id":2,"connect":{}}"#).await["ok"]["user"], "ann");
    let mut late = app.client().await;
    let before = late.ask(r#"{"id":1,"subscribe":{"topic":"t"}}"#).await;
    assert_eq!(before["error"]["code"], "unauthenticated");
    let connected = late.ask(r#"{"id":2,"connect":{"token":"bob","subscribe":[{"topic":"t"}]}}"#).await;
    assert_eq!((&connected["ok"]["user"], &connected["ok"]["ping_ms"]), (&json!("bob"), &json!(25_000)));
    app.broker.publish("t", "hello").await.unwrap();
    assert_eq!(late.frame().await["data"], "hello");
}

#[tokio::test]
async fn a_turn_that_waits_does_not_keep_messages_back() {
    let builder = Broker::builder().policy(Open).on_publish("slow", |publish| async move {
        tokio::time::sleep(Duration::from_secs(3600)).await;
        Ok(publish)
    });
    let app = app_with(builder, Config::new()).await;
    let mut client = app.client().await;
    client.ask(r#"{"id":1,"subscribe":{"topic":"t"}}"#).await;
    client.send(r#"{"id":2,"publish":{"topic":"slow","data":1}}"#).await;
    client.send(r#"{"id":3,"ping":{}}"#).await;
    app.broker.publish("t", "hello").await.unwrap();
    // The publish is not done, so the ping behind it is not answered; fan-out goes on.
    assert_eq!(client.frame().await["data"], "hello");
}
