//! The transport passes the suite: over TCP, where the fan-out writes to the socket, and over another stream, which its own task
//! serves.
#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

use std::{collections::VecDeque, net::SocketAddr, time::Duration};

use async_trait::async_trait;
use axum::{Router, routing::any_service};
use fanfare_core::Broker;
use fanfare_testkit::{
    backend::Clock,
    transport::{Client, Event, Harness, Refused, Wanted},
    v1::{Frame, V1},
};
use fanfare_ws::{Config, WebSocket};
use futures_util::{SinkExt, StreamExt};
use hyper::server::conn::http1;
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinHandle,
};
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite::Message};

/// A loaded machine may take its time before a stalled client is read again.
fn config() -> Config {
    Config::new().write_timeout(Duration::from_secs(600))
}

/// Over TCP, in axum.
struct Tcp {
    address: SocketAddr,
    server: JoinHandle<()>,
}

#[async_trait]
impl Harness for Tcp {
    async fn serve(broker: &Broker) -> Self {
        let websocket = WebSocket::new(broker).unwrap().config(config());
        let router = Router::new().route("/ws", any_service(websocket));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, server }
    }

    async fn connect(&self, wanted: &Wanted) -> Result<Box<dyn Client>, Refused> {
        let stream = TcpStream::connect(self.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        WsClient::connect(stream, wanted).await
    }
}

impl Drop for Tcp {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Over a pipe within the process, in hyper.
struct Pipe {
    connect: mpsc::Sender<DuplexStream>,
    server: JoinHandle<()>,
}

#[async_trait]
impl Harness for Pipe {
    async fn serve(broker: &Broker) -> Self {
        let websocket = WebSocket::new(broker).unwrap().config(config());
        let (connect, mut connections) = mpsc::channel(1);
        let server = tokio::spawn(async move {
            while let Some(stream) = connections.recv().await {
                let service = TowerToHyperService::new(websocket.clone());
                let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                tokio::spawn(connection.with_upgrades());
            }
        });
        Self { connect, server }
    }

    async fn connect(&self, wanted: &Wanted) -> Result<Box<dyn Client>, Refused> {
        let (here, there) = tokio::io::duplex(64 << 10);
        self.connect.send(there).await.unwrap();
        WsClient::connect(here, wanted).await
    }

    fn clock() -> Clock {
        Clock::Paused
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.server.abort();
    }
}

struct WsClient<S> {
    stream: WebSocketStream<S>,
    v1: V1,
    /// What came before the last subscribe was answered.
    early: VecDeque<Event>,
    closed: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> WsClient<S> {
    async fn connect(stream: S, wanted: &Wanted) -> Result<Box<dyn Client>, Refused> {
        let token = wanted.token.as_ref().map_or_else(String::new, |token| format!("?token={token}"));
        let opened = client_async(format!("ws://localhost/ws{token}"), stream).await;
        let (stream, _) = opened.map_err(|error| Refused(error.to_string()))?;
        let v1 = V1::resuming(wanted.resume.as_deref().unwrap_or_default());
        let mut client = Self { stream, v1, early: VecDeque::new(), closed: false };
        for (id, topic) in (1..).zip(&wanted.topics) {
            client.subscribe(id, topic).await?;
        }
        Ok(Box::new(client))
    }

    async fn subscribe(&mut self, id: u64, topic: &str) -> Result<(), Refused> {
        let command = Message::text(self.v1.subscribe(id, topic));
        self.stream.send(command).await.map_err(|error| Refused(error.to_string()))?;
        loop {
            match self.frame().await {
                Some(Frame::Reply { result: Ok(ok), .. }) => {
                    self.v1.subscribed(topic, &ok);
                    return Ok(());
                }
                Some(Frame::Event(event @ Event::Closed { .. })) => {
                    return Err(Refused(format!("{event:?}")));
                }
                Some(Frame::Event(event)) => self.early.push_back(event),
                Some(other) => return Err(Refused(format!("{other:?}"))),
                None => return Err(Refused("the connection has ended".to_owned())),
            }
        }
    }

    async fn frame(&mut self) -> Option<Frame> {
        loop {
            match self.stream.next().await?.ok()? {
                Message::Text(text) => return Some(self.v1.read(&text)),
                Message::Binary(bytes) => return Some(self.v1.read_binary(&bytes)),
                _ => {}
            }
        }
    }
}

#[async_trait]
impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Client for WsClient<S> {
    async fn next(&mut self) -> Option<Event> {
        if let Some(event) = self.early.pop_front() {
            return Some(event);
        }
        while !self.closed {
            if let Frame::Event(event) = self.frame().await? {
                self.closed = matches!(event, Event::Closed { .. });
                return Some(event);
            }
        }
        None
    }

    fn resume(&self) -> Option<String> {
        self.v1.resume()
    }
}

mod tcp {
    fanfare_testkit::transport_tests!(super::Tcp);
}

mod pipe {
    fanfare_testkit::transport_tests!(super::Pipe);
}
