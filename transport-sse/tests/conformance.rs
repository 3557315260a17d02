//! The transport passes the suite, over both versions of HTTP.
#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

use std::{collections::VecDeque, net::SocketAddr, time::Duration};

use async_trait::async_trait;
use axum::Router;
use bytes::Bytes;
use fanfare_core::Broker;
use fanfare_http::Server;
use fanfare_sse::{Config, EventStream};
use fanfare_testkit::{
    transport::{Client, Event, Harness, Refused, Wanted},
    v1::{Frame, V1},
};
use http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// A loaded machine may take its time before a stalled client is read again.
fn config() -> Config {
    Config::new().write_timeout(Duration::from_secs(20))
}

struct Sse<const HTTP: u8> {
    address: SocketAddr,
    server: JoinHandle<()>,
}

#[async_trait]
impl<const HTTP: u8> Harness for Sse<HTTP> {
    async fn serve(broker: &Broker) -> Self {
        let router =
            Router::new().route_service("/events", EventStream::new(broker).unwrap().config(config()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move { drop(Server::new().serve(listener, router).await) });
        Self { address, server }
    }

    async fn connect(&self, wanted: &Wanted) -> Result<Box<dyn Client>, Refused> {
        let topics: Vec<_> = wanted.topics.iter().map(|topic| format!("topic={topic}")).collect();
        let token = wanted.token.as_ref().map_or_else(String::new, |token| format!("&token={token}"));
        let address = self.address;
        let uri = format!("http://{address}/events?format=v1&{}{token}", topics.join("&"));
        let mut request = Request::get(uri).header("host", address.to_string());
        if let Some(resume) = &wanted.resume {
            request = request.header("Last-Event-ID", resume);
        }
        let request = request.body(Empty::new()).unwrap();
        let refused = |error: hyper::Error| Refused(error.to_string());
        let (response, connection) = send::<HTTP>(address, request).await.map_err(refused)?;
        if response.status() != 200 {
            return Err(Refused(response.status().to_string()));
        }
        let resume = wanted.resume.clone();
        let body = response.into_body();
        let mut client = SseClient {
            body,
            connection,
            text: String::new(),
            events: VecDeque::new(),
            resume,
            v1: V1::new(),
        };
        // The first thing that comes, before all events, says that the subscriptions are in force.
        client.read().await;
        Ok(Box::new(client))
    }
}

impl<const HTTP: u8> Drop for Sse<HTTP> {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn send<const HTTP: u8>(
    address: SocketAddr,
    request: Request<Empty<Bytes>>,
) -> hyper::Result<(Response<Incoming>, JoinHandle<()>)> {
    let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
    if HTTP == 1 {
        let (mut sender, connection) = http1::handshake(stream).await?;
        let connection = tokio::spawn(async move { drop(connection.await) });
        Ok((sender.send_request(request).await?, connection))
    } else {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder.initial_stream_window_size(256 << 10).initial_connection_window_size(256 << 10);
        let (mut sender, connection) = builder.handshake(stream).await?;
        let connection = tokio::spawn(async move { drop(connection.await) });
        Ok((sender.send_request(request).await?, connection))
    }
}

struct SseClient {
    body: Incoming,
    connection: JoinHandle<()>,
    /// What is not a whole event yet.
    text: String,
    events: VecDeque<Event>,
    /// The last event's id, which an `EventSource` sends when it comes back.
    resume: Option<String>,
    v1: V1,
}

impl SseClient {
    /// Reads what comes; false at the end.
    async fn read(&mut self) -> bool {
        let Some(Ok(frame)) = self.body.frame().await else { return false };
        let Ok(data) = frame.into_data() else { return true };
        // Events end at blank lines, and a character is never between two of the server's frames.
        self.text.push_str(std::str::from_utf8(&data).unwrap());
        while let Some(end) = self.text.find("\n\n") {
            let event: String = self.text.drain(..end + 2).collect();
            self.event(&event);
        }
        true
    }

    fn event(&mut self, event: &str) {
        let mut data = Vec::new();
        for line in event.lines() {
            match line.split_once(": ") {
                Some(("data", text)) => data.push(text),
                Some(("id", id)) => self.resume = Some(id.to_owned()),
                _ => {}
            }
        }
        if data.is_empty() {
            return;
        }
        if let Frame::Event(event) = self.v1.read(&data.join("\n")) {
            self.events.push_back(event);
        }
    }
}

#[async_trait]
impl Client for SseClient {
    async fn next(&mut self) -> Option<Event> {
        while self.events.is_empty() {
            if !self.read().await {
                return None;
            }
        }
        self.events.pop_front()
    }

    fn resume(&self) -> Option<String> {
        self.resume.clone()
    }
}

impl Drop for SseClient {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

mod http1_1 {
    fanfare_testkit::transport_tests!(super::Sse<1>);
}

mod http2_0 {
    fanfare_testkit::transport_tests!(super::Sse<2>);
}
