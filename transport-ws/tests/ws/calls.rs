//! Calls over sockets, both ways.

use std::{
    future::IntoFuture,
    sync::{Arc, OnceLock},
    time::Duration,
};

use fanfare_core::{
    Broker,
    calls::{CallConfig, CallError},
    message::Payload,
    policy::Open,
    session::Refusal,
};
use fanfare_ws::Config;
use futures_util::{SinkExt, StreamExt, future::join_all};
use serde_json::{Value, json};
use tokio::{io::AsyncReadExt, time::timeout};
use tokio_tungstenite::tungstenite::Message;

use crate::{
    raw::frame,
    support::{App, Client, PATIENCE, app, app_with},
};

async fn serving() -> App {
    let concurrent = CallConfig::new().concurrent(64);
    let builder = Broker::builder()
        .policy(Open)
        .limits(|limits| limits.commands_burst = 2000.try_into().unwrap())
        .on_call_with("echo", concurrent, |call| async move {
            tokio::time::sleep(Duration::from_millis(call.payload.len() as u64 % 7)).await;
            Ok(call.payload)
        })
        .on_call("panic", |_| async { panic!("as a bug would") });
    app_with(builder, Config::new()).await
}

/// A binary frame: the length of the header, the header, the payload.
fn binary(header: &Value, payload: &[u8]) -> Message {
    let header = header.to_string();
    let length = u32::try_from(header.len()).unwrap().to_be_bytes();
    Message::binary([&length, header.as_bytes(), payload].concat())
}

/// The header and the payload of the binary frame that comes next.
async fn next_binary(client: &mut Client) -> (Value, Vec<u8>) {
    let Message::Binary(bytes) = client.next().await else { panic!("no binary frame") };
    let (length, rest) = bytes.split_first_chunk().unwrap();
    let (header, payload) = rest.split_at(u32::from_be_bytes(*length) as usize);
    (serde_json::from_slice(header).unwrap(), payload.to_vec())
}

/// Every byte, in an order that is no text.
fn image() -> Vec<u8> {
    (0..60_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

#[tokio::test]
async fn a_thousand_calls_at_once_are_answered_each_under_its_number() {
    let app = serving().await;
    let mut client = app.client().await;
    for id in 1..=1000 {
        let data = "x".repeat(id % 13);
        client
            .send(&json!({"id": id, "call": {"method": "echo", "data": {"id": id, "pad": data}}}).to_string())
            .await;
    }
    let mut seen = vec![false; 1001];
    for _ in 0..1000 {
        let reply = client.frame().await;
        let id = reply["id"].as_u64().unwrap() as usize;
        assert_eq!(reply["ok"]["data"]["id"], id, "{reply}");
        assert!(!std::mem::replace(&mut seen[id], true), "{id} is answered twice");
    }
}

#[tokio::test]
async fn an_image_goes_both_ways_byte_for_byte() {
    let app = serving().await;
    let mut client = app.client().await;
    client.0.send(binary(&json!({"id": 1, "call": {"method": "echo"}}), &image())).await.unwrap();
    assert_eq!(next_binary(&mut client).await, (json!({"id": 1, "ok": {}}), image()));

    let call = tokio::spawn(app.broker.clients().call("draw", image()).timeout(PATIENCE).into_future());
    let (header, payload) = next_binary(&mut client).await;
    assert_eq!((&header["call"]["method"], payload), (&json!("draw"), image()));
    let id = &header["call"]["call_id"];
    client.0.send(binary(&json!({"answer": {"call_id": id}}), &image())).await.unwrap();
    assert_eq!(call.await.unwrap().unwrap().one().unwrap(), image().into());
}

#[tokio::test]
async fn a_method_that_panics_leaves_the_connection_alive() {
    let app = serving().await;
    let mut client = app.client().await;
    let reply = client.ask(r#"{"id":1,"call":{"method":"panic"}}"#).await;
    assert_eq!(reply["error"]["code"], "internal");
    let reply = client.ask(r#"{"id":2,"call":{"method":"echo","text":true,"data":"alive"}}"#).await;
    assert_eq!(reply, json!({"id": 2, "ok": {"text": true, "data": "alive"}}));
}

#[tokio::test]
async fn of_a_topic_so_many_have_answered() {
    let app = app().await;
    let mut clients = join_all((0..4).map(|_| app.client())).await;
    for client in &mut clients {
        client.ask(r#"{"id":1,"subscribe":{"topic":"t"}}"#).await;
    }
    // In plain mode there is no way to answer.
    let mut plain = app.open("/ws?topic=t").await.unwrap();
    let timeout = Duration::from_millis(1500);
    let call = app.broker.clients().topic("t").call("ready", Payload::parsed_json(r#"{"round":3}"#).unwrap());
    let call = tokio::spawn(call.timeout(timeout).into_future());
    for (number, client) in clients.iter_mut().enumerate() {
        let frame = client.frame().await;
        assert_eq!(frame["call"]["data"], json!({"round": 3}));
        assert_eq!(frame["call"]["timeout_ms"], 1500);
        let id = &frame["call"]["call_id"];
        match number {
            0 | 1 => client.send(&json!({"answer": {"call_id": id, "data": number}}).to_string()).await,
            2 => {
                client.send(&json!({"answer": {"call_id": id, "error": {"code": "busy"}}}).to_string()).await
            }
            _ => {}
        }
    }
    let answered = call.await.unwrap().unwrap();
    assert_eq!((answered.answered(), answered.asked), (3, 5));
    assert_eq!(answered.answers.iter().filter(|(_, result)| result.is_err()).count(), 1);
    app.broker.publish("t", "still here").await.unwrap();
    assert_eq!(plain.next().await, Message::text("still here"));
}

#[tokio::test]
async fn an_answer_that_breaks_the_connection_is_none_at_once() {
    let app = app_with(Broker::builder().policy(Open), Config::new().max_message(1000)).await;
    let not_utf8 = frame(0x81, b"{\"answer\":{\"call_id\":\"s1\",\"data\":\"\xff\"}}");
    let too_long = b"\x82\xFE\x03\xE9\x00\x00\x00\x00".to_vec();
    for bytes in [not_utf8, too_long] {
        let mut raw = app.raw("/ws").await;
        let call = tokio::spawn(app.broker.clients().call("seen", "?").into_future());
        let mut heard = Vec::new();
        while !heard.windows(9).any(|part| part == b"\"call_id\"") {
            assert!(raw.0.read_buf(&mut heard).await.unwrap() > 0, "{}", heard.escape_ascii());
        }
        raw.send(&bytes).await;
        let answered = tokio::time::timeout(PATIENCE, call).await.unwrap().unwrap().unwrap();
        assert_eq!((answered.answered(), answered.asked), (0, 1));
        assert!(matches!(answered.one(), Err(CallError::NoAnswer)));
    }
}

/// Serves `back`, which calls its caller and answers with what that one said.
async fn calling_back(config: CallConfig, patience: Duration) -> App {
    let builder = Broker::builder().policy(Open).on_call_with("back", config, move |call| async move {
        let asked = call.broker.clients().client(call.client.id).call("sure", "?").timeout(patience).await;
        Ok(match asked.map(|answers| answers.one()) {
            Ok(Ok(said)) => said,
            other => Payload::text(format!("{other:?}")),
        })
    });
    app_with(builder, Config::new()).await
}

#[tokio::test]
async fn a_method_that_calls_its_caller_back_gets_the_answer() {
    let app = calling_back(CallConfig::new(), PATIENCE).await;
    let mut client = app.client().await;
    for id in [1, 3] {
        client.send(&json!({"id": id, "call": {"method": "back"}}).to_string()).await;
        let asked = client.frame().await;
        assert_eq!(asked["call"]["method"], "sure", "{asked}");
        // Who only asks whether anybody is there is in nobody's way.
        client.send(&json!({"id": id + 1, "ping": {}}).to_string()).await;
        let answer = json!({"answer": {"call_id": asked["call"]["call_id"], "data": "yes"}});
        client.send(&answer.to_string()).await;
        assert_eq!(client.frame().await["id"], id + 1);
        assert_eq!(client.frame().await, json!({"id": id, "ok": {"data": "yes"}}));
    }
}

#[tokio::test]
async fn an_answer_behind_commands_that_wait_for_the_method_gets_through_and_they_keep_their_order() {
    for config in [CallConfig::new(), CallConfig::new().concurrent(2)] {
        let app = calling_back(config, PATIENCE).await;
        let mut client = app.client().await;
        client.ask(r#"{"id":1,"subscribe":{"topic":"t"}}"#).await;
        client.send(r#"{"id":2,"call":{"method":"back"}}"#).await;
        let asked = client.frame().await;
        for id in 3..=12 {
            client.send(&json!({"id": id, "publish": {"topic": "t", "data": id}}).to_string()).await;
        }
        let answer = json!({"answer": {"call_id": asked["call"]["call_id"], "data": "yes"}});
        client.send(&answer.to_string()).await;
        client.send(r#"{"id":13,"publish":{"topic":"t","data":13}}"#).await;
        let (mut replies, mut heard) = (Vec::new(), Vec::new());
        while replies.len() < 12 || heard.len() < 11 {
            let frame = client.frame().await;
            match frame["id"].as_u64() {
                Some(2) => assert_eq!(frame["ok"]["data"], "yes", "{frame}"),
                Some(_) => assert!(frame["error"].is_null(), "{frame}"),
                None => heard.push(frame["data"].as_u64().unwrap()),
            }
            replies.extend(frame["id"].as_u64());
        }
        assert_eq!(heard, (3..=13).collect::<Vec<_>>(), "in the client's order, each once");
        replies.retain(|id| *id != 2);
        assert_eq!(replies, (3..=13).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_ping_behind_a_command_that_waits_for_the_method_does_not_wait() {
    let app = calling_back(CallConfig::new(), PATIENCE).await;
    let mut client = app.client().await;
    client.send(r#"{"id":1,"call":{"method":"back"}}"#).await;
    let asked = client.frame().await;
    client.send(r#"{"id":2,"publish":{"topic":"t","data":1}}"#).await;
    assert_eq!(client.ask(r#"{"id":3,"ping":{}}"#).await, json!({"id": 3, "ok": {}}));
    client.0.send(Message::Ping("here?".into())).await.unwrap();
    let pong = timeout(PATIENCE, client.0.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(pong, Message::Pong("here?".into()));
    let answer = json!({"answer": {"call_id": asked["call"]["call_id"], "data": "yes"}});
    client.send(&answer.to_string()).await;
    assert_eq!(client.frame().await["id"], 1);
    assert_eq!(client.frame().await["id"], 2);
}

#[tokio::test]
async fn a_hook_that_calls_the_publisher_back_gets_the_answer() {
    let handle: Arc<OnceLock<Broker>> = Arc::default();
    let inside = handle.clone();
    let builder = Broker::builder().policy(Open).on_publish("t", move |publish| {
        let broker = inside.get().unwrap().clone();
        async move {
            let sure = broker.clients().client(publish.client.id).call("sure", "?").timeout(PATIENCE);
            match sure.await.map(|answers| answers.one()) {
                Ok(Ok(_)) => Ok(publish),
                other => Err(Refusal::forbidden(format!("{other:?}"))),
            }
        }
    });
    let app = app_with(builder, Config::new()).await;
    handle.set(app.broker.clone()).unwrap();
    let mut client = app.client().await;
    client.send(r#"{"id":1,"publish":{"topic":"t","data":1}}"#).await;
    let asked = client.frame().await;
    let answer = json!({"id": 2, "answer": {"call_id": asked["call"]["call_id"], "data": "yes"}});
    client.send(&answer.to_string()).await;
    assert_eq!(client.frame().await, json!({"id": 2, "ok": {}}));
    assert_eq!(client.frame().await, json!({"id": 1, "ok": {}}));
}

#[tokio::test]
async fn what_is_sent_before_the_end_of_the_connection_is_served_although_it_waited() {
    let app = calling_back(CallConfig::new(), PATIENCE).await;
    let mut reader = app.client().await;
    reader.ask(r#"{"id":1,"subscribe":{"topic":"t"}}"#).await;
    let mut client = app.client().await;
    client.send(r#"{"id":1,"call":{"method":"back"}}"#).await;
    let asked = client.frame().await;
    client.send(r#"{"id":2,"publish":{"topic":"t","data":"last words"}}"#).await;
    let answer = json!({"answer": {"call_id": asked["call"]["call_id"], "data": "yes"}});
    client.send(&answer.to_string()).await;
    client.0.close(None).await.unwrap();
    assert_eq!(reader.frame().await["data"], "last words");
}

#[tokio::test]
async fn what_was_published_to_a_client_reaches_it_before_it_is_disconnected() {
    let app = app().await;
    let mut client = app.client().await;
    client.ask(r#"{"id":1,"subscribe":{"topic":"t"}}"#).await;
    app.broker.publish("t", "you are banned").await.unwrap();
    let kicked = fanfare_core::session::CloseKind::Kicked;
    app.broker.clients().topic("t").disconnect(kicked).await.unwrap();
    assert_eq!(client.frame().await["data"], "you are banned");
    assert_eq!(client.closed().await.0, 4005);
}
