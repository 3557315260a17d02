//! Binary payloads, byte for byte.

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use serde_json::{Value, json};

use super::harness::{Backend, Client, Site, Told, on_every_backend};

on_every_backend! {
    an_image_arrives_byte_for_byte_over_websocket_and_events
}

/// A PNG, and all bytes in all orders of two.
fn images() -> [Vec<u8>; 2] {
    let png = include_bytes!("image.png").to_vec();
    let pairs = (0..=u8::MAX).flat_map(|one| (0..120).flat_map(move |two| [one, two ^ one]));
    [png, pairs.collect()]
}

/// The message in binary which comes next.
async fn image(client: &mut Client) -> (Value, Vec<u8>) {
    match client.told().await {
        Told::Binary(header, payload) => (header, payload),
        other => panic!("no binary frame: {other:?}"),
    }
}

async fn an_image_arrives_byte_for_byte_over_websocket_and_events(backend: Backend) {
    let Some(site) = Site::start(backend, |builder| builder).await else { return };
    let [mut ann, mut ben] = site.people(["ann", "ben"]).await;
    for person in [&mut ann, &mut ben] {
        person.subscribe("camera").await;
    }
    let mut messages = site.node(0).events("cem", "format=v1&topic=camera").await;
    let mut payloads = site.node(1).events("dee", "topic=camera").await;
    let mut plain = Client::plain(&site.node(1).address, "token=eve&topic=camera").await;
    for (number, bytes) in images().into_iter().enumerate() {
        let command = ann.numbered(json!({ "publish": { "topic": "camera", "event": "image" } }));
        let id = command["id"].as_u64().unwrap();
        ann.send_binary(command, &bytes).await;
        ann.reply(id).await.unwrap();
        for person in [&mut ann, &mut ben] {
            let (header, payload) = image(person).await;
            assert_eq!((&header["topic"], &header["event"]), (&json!("camera"), &json!("image")));
            assert!(header.get("data").is_none(), "{header}");
            assert!(payload == bytes, "image {number} has changed on its way over a WebSocket");
        }
        assert!(plain.raw().await == bytes, "image {number} has changed on its way to a plain WebSocket");
        // Text cannot hold it: the message of v1 does, in either form of the stream.
        let message = messages.next().await;
        assert_eq!(message.name, "");
        let payload = payloads.next().await;
        assert_eq!(payload.name, "$message");
        for event in [message, payload] {
            let message: Value = serde_json::from_str(&event.data).unwrap();
            assert_eq!((&message["topic"], &message["event"]), (&json!("camera"), &json!("image")));
            let decoded = BASE64.decode(message["base64"].as_str().unwrap()).unwrap();
            assert!(decoded == bytes, "image {number} has changed on its way in a stream");
        }
    }
}
