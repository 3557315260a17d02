//! A small v1 server that does wrong on purpose.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::routing::any;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

/// What happens to the fifth message of each topic, for the topic's first subscriber.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fault {
    None,
    Lose,
    LoseAndTell,
    Double,
    /// It is sent after the sixth.
    Swap,
    /// Another topic's first subscriber gets it too.
    Misroute,
    Disconnect,
    /// The publish is answered with an error.
    Refuse,
}

#[derive(Clone)]
struct Hub {
    fault: Fault,
    topics: Arc<Mutex<HashMap<String, Topic>>>,
}

#[derive(Default)]
struct Topic {
    published: u32,
    held: Option<Message>,
    subscribers: Vec<mpsc::Sender<Message>>,
}

/// Serves on a port of its own until the test's process ends.
pub(crate) fn serve(fault: Fault) -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let hub = Hub { fault, topics: Arc::default() };
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
            message = queue.recv() => {
                let Some(message) = message else { return };
                if socket.send(message).await.is_err() { return; }
            }
            input = socket.recv() => {
                let Some(Ok(Message::Text(text))) = input else { return };
                if let Some(reply) = hub.command(&serde_json::from_str(&text).unwrap(), &sender)
                    && socket.send(Message::text(reply)).await.is_err() { return; }
            }
        }
    }
}

impl Hub {
    fn command(&self, command: &Value, own: &mpsc::Sender<Message>) -> Option<String> {
        let mut topics = self.topics.lock().unwrap();
        if let Some(subscribe) = command.get("subscribe") {
            let topic = topics.entry(subscribe["topic"].as_str().unwrap().to_owned()).or_default();
            topic.subscribers.push(own.clone());
            return Some(format!(r#"{{"id":{},"ok":{{}}}}"#, command["id"]));
        }
        let publish = &command["publish"];
        let name = publish["topic"].as_str().unwrap();
        let message = Message::text(format!(r#"{{"topic":"{name}","time":1,"data":{}}}"#, publish["data"]));
        let others: Vec<_> = topics
            .iter()
            .filter(|(other, _)| *other != name)
            .map(|(_, topic)| topic.subscribers[0].clone())
            .collect();
        let topic = topics.entry(name.to_owned()).or_default();
        topic.published += 1;
        let fault = if topic.published == 5 { self.fault } else { Fault::None };
        if fault == Fault::Refuse {
            return Some(r#"{"error":{"code":"rate_limited","message":"slower","retry":true}}"#.into());
        }
        for (at, subscriber) in topic.subscribers.iter().enumerate() {
            let send = |message: Message| {
                let sent = subscriber.try_send(message);
                assert!(!matches!(sent, Err(TrySendError::Full(_))), "the test publishes too much");
            };
            match if at == 0 { fault } else { Fault::None } {
                Fault::Lose => {}
                Fault::LoseAndTell => send(Message::text(
                    r#"{"topic":"t0","gap":{"missed":1,"last":"a:4","next":"a:6","reason":"slow"}}"#,
                )),
                Fault::Double => {
                    send(message.clone());
                    send(message.clone());
                }
                Fault::Swap => topic.held = Some(message.clone()),
                Fault::Misroute => {
                    send(message.clone());
                    others[0].try_send(message.clone()).unwrap();
                }
                Fault::Disconnect => {
                    send(Message::Close(Some(CloseFrame { code: 4100, reason: "slow_consumer".into() })));
                }
                Fault::None | Fault::Refuse => {
                    send(message.clone());
                    if at == 0
                        && let Some(held) = topic.held.take()
                    {
                        send(held);
                    }
                }
            }
        }
        None
    }
}
