//! One cursor for both transports: a client that read up to a position over WebSocket goes on from there by events, and back.

use axum::routing::any_service;
use fanfare_core::{Broker, policy::Open, topic::TopicConfig};
use fanfare_sse::Config;
use fanfare_ws::WebSocket;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, tungstenite::Message};

use crate::support::{App, PATIENCE, router, serve};

struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Socket {
    /// Subscribes after a position; gives the reply.
    async fn open(app: &App, topic: &str, after: &str) -> (Self, Value) {
        let (stream, _) = tokio_tungstenite::connect_async(format!("ws://{}/ws", app.address)).await.unwrap();
        let mut socket = Self(stream);
        let mut subscribe = json!({"topic": topic});
        if !after.is_empty() {
            subscribe["after"] = after.into();
        }
        socket.0.send(Message::text(json!({"id": 1, "subscribe": subscribe}).to_string())).await.unwrap();
        let reply = socket.next().await;
        (socket, reply["ok"].clone())
    }

    async fn next(&mut self) -> Value {
        loop {
            let message = timeout(PATIENCE, self.0.next()).await.expect("nothing came").unwrap().unwrap();
            if let Message::Text(text) = message {
                return serde_json::from_str(&text).unwrap();
            }
        }
    }

    /// The next message's number, with its position; what is none is passed over.
    async fn number(&mut self) -> (u64, String) {
        loop {
            let frame = self.next().await;
            assert!(frame.get("gap").is_none(), "{frame}");
            if let Some(data) = frame["data"].as_str() {
                return (data.parse().unwrap(), frame["pos"].as_str().unwrap().to_owned());
            }
        }
    }
}

async fn app() -> App {
    let builder = Broker::builder().policy(Open).topic("log.*", TopicConfig::new().history(1000));
    let broker = builder.start().await.unwrap();
    let router = router(&broker, Config::new()).route("/ws", any_service(WebSocket::new(&broker).unwrap()));
    App { broker, address: serve(router).await }
}

#[tokio::test]
async fn one_topic_to_and_fro() {
    let app = app().await;
    let publisher = app.broker.clone();
    let publish = tokio::spawn(async move {
        for n in 0..600 {
            publisher.publish("log.a", n.to_string()).await.unwrap();
            tokio::task::yield_now().await;
        }
    });
    let (mut next, mut pos) = (0, String::new());
    let (socket, reply) = Socket::open(&app, "log.a", "").await;
    if let Some(begun) = reply["pos"].as_str() {
        // However far the publisher was.
        pos = format!("{}:0", begun.split_once(':').unwrap().0);
    }
    drop(socket);
    while next < 600 {
        let (mut socket, reply) = Socket::open(&app, "log.a", &pos).await;
        assert_eq!(reply["recovered"], true);
        for _ in 0..37.min(600 - next) {
            let (number, at) = socket.number().await;
            assert_eq!(number, next);
            (next, pos) = (next + 1, at);
        }
        drop(socket);
        let form = if next % 2 == 0 { "" } else { "&format=v1" };
        let mut reader = app.reader(&format!("topic=log.a&after={pos}{form}")).await;
        for _ in 0..41.min(600 - next) {
            let event = loop {
                let event = reader.next().await;
                assert_ne!(event.name, "$gap");
                if event.name == "message" {
                    break event;
                }
            };
            let data = if form.is_empty() {
                event.data
            } else {
                let frame: Value = serde_json::from_str(&event.data).unwrap();
                assert_eq!(frame["pos"].as_str(), Some(&*event.last_event_id));
                frame["data"].as_str().unwrap().to_owned()
            };
            assert_eq!(data.parse(), Ok(next));
            (next, pos) = (next + 1, event.last_event_id);
        }
    }
    publish.await.unwrap();
}

#[tokio::test]
async fn several_topics_by_the_positions_in_their_messages() {
    let app = app().await;
    let mut reader = app.reader("topic=log.a&topic=log.b").await;
    reader.begun().await;
    for n in 0..20 {
        app.broker.publish(["log.a", "log.b"][n % 2], (n / 2).to_string()).await.unwrap();
    }
    let mut last = std::collections::HashMap::new();
    for _ in 0..7 {
        let frame = reader.json().await;
        let at = (
            frame["data"].as_str().unwrap().parse::<u64>().unwrap(),
            frame["pos"].as_str().unwrap().to_owned(),
        );
        last.insert(frame["topic"].as_str().unwrap().to_owned(), at);
    }
    drop(reader);
    // Over WebSocket, and from there back by events.
    let mut query = String::new();
    for (topic, (number, pos)) in last {
        let (mut socket, _) = Socket::open(&app, &topic, &pos).await;
        let (next, pos) = socket.number().await;
        assert_eq!(next, number + 1);
        query += &format!("topic={topic}&after={pos}&");
        let mut reader = app.reader(&format!("topic={topic}&after={pos}")).await;
        assert_eq!(reader.pair().await.1, (number + 2).to_string());
    }
    let mut reader = app.reader(&query).await;
    let mut seen = std::collections::HashMap::<String, Vec<u64>>::new();
    while seen.values().map(Vec::len).sum::<usize>() < 20 - 7 - 2 {
        let event = reader.next().await;
        if event.name == "message" {
            let frame: Value = serde_json::from_str(&event.data).unwrap();
            let number = frame["data"].as_str().unwrap().parse().unwrap();
            seen.entry(frame["topic"].as_str().unwrap().to_owned()).or_default().push(number);
        }
    }
    for numbers in seen.values() {
        assert_eq!(*numbers, (numbers[0]..10).collect::<Vec<_>>());
    }
}

/// What is hidden from a reader moves its cursor, in the raw form without an event, and in v1 with the topic's position.
#[tokio::test]
async fn what_is_hidden_moves_the_cursor() {
    let (clients, mut client) = tokio::sync::mpsc::unbounded_channel();
    let builder = Broker::builder().policy(Open).topic("log.*", TopicConfig::new().history(10));
    let builder = builder.on_connected(move |client| {
        let clients = clients.clone();
        async move {
            let _ = clients.send(client.id);
        }
    });
    let broker = builder.start().await.unwrap();
    let app = App { address: serve(router(&broker, Config::new())).await, broker };
    for query in ["topic=log.a", "topic=log.a&topic=log.b"] {
        let mut reader = app.reader(query).await;
        reader.begun().await;
        let before = reader.parser.last_event_id.clone();
        let hidden_from = client.recv().await.unwrap();
        let hidden =
            app.broker.publish("log.a", "hidden").except(hidden_from).await.unwrap().position.unwrap();
        if query.contains('&') {
            let event = reader.next().await;
            assert_eq!(event.name, "$cursor");
            let frame: Value = serde_json::from_str(&event.data).unwrap();
            assert_eq!(frame, json!({"topic": "log.a", "pos": hidden.to_string()}));
        } else {
            while reader.parser.last_event_id == before {
                reader.read().await;
            }
            assert_eq!(reader.parser.last_event_id, hidden.to_string());
        }
        let mut again = app.resume(query, &reader.parser.last_event_id.clone()).await;
        let _ = client.recv().await;
        assert_eq!(again.next().await.name, "$live");
    }
}
