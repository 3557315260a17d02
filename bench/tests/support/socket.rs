//! A small v1 server over WebSocket.

use std::net::SocketAddr;

use axum::Router;
use axum::extract::State;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::routing::any;
use serde_json::Value;
use tokio::sync::mpsc;

use super::hub::{Fault, Hub, Item};

const GAP: &str = r#"{"topic":"t0","gap":{"missed":1,"last":"a:4","next":"a:6","reason":"slow"}}"#;

/// Serves on a port of its own until the test's process ends.
pub(crate) fn serve(fault: Fault) -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let hub = Hub::new(fault, GAP);
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
            let router = Router::new().route("/ws", any(upgrade)).with_state(hub);
            axum::serve(tokio::net::TcpListener::from_std(listener).unwrap(), router).await.unwrap();
        });
    });
    address
}

async fn upgrade(upgrade: WebSocketUpgrade, State(hub): State<Hub>) -> axum::response::Response {
    upgrade.on_upgrade(move |socket| connection(socket, hub))
}

async fn connection(mut socket: WebSocket, hub: Hub) {
    let (sender, mut queue) = mpsc::channel(4096);
    loop {
        tokio::select! {
            biased;
            item = queue.recv() => {
                let Some(item) = item else { return };
                let message = match item {
                    Item::Message(text) => Message::text(text),
                    Item::Close => Message::Close(Some(CloseFrame { code: 4100, reason: "slow_consumer".into() })),
                };
                if socket.send(message).await.is_err() { return; }
            }
            input = socket.recv() => {
                let Some(Ok(Message::Text(text))) = input else { return };
                if let Some(reply) = command(&hub, &serde_json::from_str(&text).unwrap(), &sender)
                    && socket.send(Message::text(reply)).await.is_err() { return; }
            }
        }
    }
}

fn command(hub: &Hub, command: &Value, own: &mpsc::Sender<Item>) -> Option<String> {
    if let Some(subscribe) = command.get("subscribe") {
        hub.subscribe(subscribe["topic"].as_str().unwrap(), own);
        return Some(format!(r#"{{"id":{},"ok":{{}}}}"#, command["id"]));
    }
    let publish = &command["publish"];
    let name = publish["topic"].as_str().unwrap();
    let taken = hub.publish(name, format!(r#"{{"topic":"{name}","time":1,"data":{}}}"#, publish["data"]));
    let refusal = r#"{"error":{"code":"rate_limited","message":"slower","retry":true}}"#;
    (!taken).then(|| refusal.into())
}
