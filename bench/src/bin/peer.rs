//! A server to compare with: what people write today with axum's WebSocket and Server-Sent Events and tokio's
//! broadcast channel.
//!
//! Subscribers connect to `/sub/TOPIC` and get each payload as a text frame, or read `/sse/TOPIC` as an event stream;
//! publishers connect to `/pub` and send `TOPIC|PAYLOAD`. One task per connection selects between its broadcast
//! receiver and its socket. A subscriber that falls behind by more than `--channel` messages silently loses the
//! oldest, which is what such programs do. The event stream has no keep-alive, whose timer would make it slower.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};

use anyhow::Result;
use axum::Router;
use axum::extract::ws::{Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::extract::{Path, State};
use axum::response::Response;
use axum::response::sse::{Event, Sse};
use axum::routing::{any, get};
use axum::serve::ListenerExt;
use clap::Parser;
use futures_util::{Stream, stream};
use tokio::net::TcpListener;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

/// A fan-out server of axum's WebSocket and event streams and tokio's broadcast channel.
#[derive(Clone, Debug, Parser)]
#[command(name = "peer", version)]
struct Options {
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1:9103")]
    listen: SocketAddr,
    /// Worker threads of the runtime
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    threads: u16,
    /// Messages that a topic's channel holds for the slowest subscriber
    #[arg(long, default_value_t = 1024)]
    channel: usize,
    /// Read buffer of each connection in bytes (tungstenite's own default is 131072)
    #[arg(long, default_value_t = 131_072)]
    read_buffer: usize,
}

#[derive(Clone)]
struct App {
    topics: Arc<RwLock<HashMap<String, broadcast::Sender<Utf8Bytes>>>>,
    channel: usize,
    read_buffer: usize,
}

fn main() -> Result<()> {
    let options = Options::parse();
    bench::process::raise_file_limit();
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(usize::from(options.threads))
        .enable_all()
        .build()?
        .block_on(serve(options))
}

async fn serve(options: Options) -> Result<()> {
    let app =
        App { topics: Arc::default(), channel: options.channel.max(1), read_buffer: options.read_buffer };
    let router = Router::new()
        .route("/sub/{topic}", any(subscribe))
        .route("/sse/{topic}", get(events))
        .route("/pub", any(publish))
        .with_state(app);
    let listener = TcpListener::bind(options.listen).await?.tap_io(|stream| {
        // A socket that is gone already shows it when it is read.
        let _ = stream.set_nodelay(true);
    });
    Ok(axum::serve(listener, router).await?)
}

async fn subscribe(upgrade: WebSocketUpgrade, Path(topic): Path<String>, State(app): State<App>) -> Response {
    upgrade.read_buffer_size(app.read_buffer).on_upgrade(move |socket| deliver(socket, app.receiver(topic)))
}

async fn deliver(mut socket: WebSocket, mut messages: broadcast::Receiver<Utf8Bytes>) {
    loop {
        tokio::select! {
            message = messages.recv() => match message {
                Ok(payload) => {
                    if socket.send(Message::Text(payload)).await.is_err() {
                        return;
                    }
                }
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return,
            },
            input = socket.recv() => {
                if !matches!(input, Some(Ok(_))) {
                    return;
                }
            }
        }
    }
}

async fn events(
    Path(topic): Path<String>,
    State(app): State<App>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    Sse::new(stream::unfold(app.receiver(topic), |mut messages| async move {
        loop {
            match messages.recv().await {
                Ok(payload) => return Some((Ok(Event::default().data(payload.as_str())), messages)),
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return None,
            }
        }
    }))
}

async fn publish(upgrade: WebSocketUpgrade, State(app): State<App>) -> Response {
    upgrade.on_upgrade(move |mut socket| async move {
        while let Some(Ok(message)) = socket.recv().await {
            if let Message::Text(text) = message
                && let Some((topic, payload)) = text.as_str().split_once('|')
            {
                app.publish(topic, payload);
            }
        }
    })
}

impl App {
    fn receiver(&self, topic: String) -> broadcast::Receiver<Utf8Bytes> {
        let mut topics = self.topics.write().unwrap_or_else(PoisonError::into_inner);
        topics.entry(topic).or_insert_with(|| broadcast::channel(self.channel).0).subscribe()
    }

    fn publish(&self, topic: &str, payload: &str) {
        let topics = self.topics.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = topics.get(topic) {
            // Nobody is subscribed: nobody misses it.
            let _ = sender.send(Utf8Bytes::from(payload));
        }
    }
}
