//! A broker behind a real port, and readers of both versions of HTTP.

use std::{collections::VecDeque, net::SocketAddr, time::Duration};

use axum::Router;
use bytes::Bytes;
use fanfare_core::{Broker, BrokerBuilder, policy::Open};
use fanfare_http::Server;
use fanfare_sse::{Config, EventStream};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::timeout,
};

use crate::parser::{Event, Parser};

/// Nothing here takes this long unless it hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct App {
    pub(crate) broker: Broker,
    pub(crate) address: SocketAddr,
}

/// An app with everything open and all at its default.
pub(crate) async fn app() -> App {
    app_with(Broker::builder().policy(Open), Config::new()).await
}

pub(crate) async fn app_with(builder: BrokerBuilder, config: Config) -> App {
    let broker = builder.start().await.unwrap();
    let address = serve(router(&broker, config)).await;
    App { broker, address }
}

pub(crate) fn router(broker: &Broker, config: Config) -> Router {
    let events = EventStream::new(broker).unwrap().config(config);
    Router::new().route_service("/events", events)
}

pub(crate) async fn serve(router: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(Server::new().serve(listener, router));
    address
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Version {
    One,
    Two,
}

/// An answer whose body is read bit by bit. Dropped, its connection is closed.
pub(crate) struct Reader {
    pub(crate) headers: HeaderMap,
    body: Incoming,
    pub(crate) parser: Parser,
    events: VecDeque<Event>,
    connection: JoinHandle<()>,
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl App {
    pub(crate) async fn reader(&self, query: &str) -> Reader {
        self.resume(query, "").await
    }

    pub(crate) async fn resume(&self, query: &str, last_event_id: &str) -> Reader {
        self.open(Version::One, query, last_event_id).await
    }

    pub(crate) async fn open(&self, version: Version, query: &str, last_event_id: &str) -> Reader {
        let mut request = Request::get(format!("http://{}/events?{query}", self.address));
        if !last_event_id.is_empty() {
            request = request.header("Last-Event-ID", last_event_id);
        }
        let (response, connection) = send(version, self.address, request.body(Empty::new()).unwrap()).await;
        assert_eq!(response.status(), 200, "{query} {last_event_id}");
        let (head, body) = response.into_parts();
        assert_eq!(head.headers["content-type"], "text/event-stream");
        let parser = Parser::resuming(last_event_id);
        Reader { headers: head.headers, body, parser, events: VecDeque::new(), connection }
    }

    /// The status and body of a request that is refused.
    pub(crate) async fn refusal(&self, query: &str) -> (u16, Value) {
        let request = Request::get(format!("http://{}/events?{query}", self.address));
        self.ask(request.body(Empty::new()).unwrap()).await
    }

    pub(crate) async fn ask(&self, request: Request<Empty<Bytes>>) -> (u16, Value) {
        let (response, _connection) = send(Version::One, self.address, request).await;
        let status = response.status();
        assert_ne!(status, StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "application/json");
        let body = timeout(PATIENCE, response.into_body().collect()).await.unwrap().unwrap().to_bytes();
        let body: Value = serde_json::from_slice(&body).unwrap();
        (status.as_u16(), body["error"].clone())
    }

    /// Waits until something is so.
    pub(crate) async fn until(&self, what: &str, is: impl Fn(&fanfare_core::Stats) -> bool) {
        let wait = async {
            while !is(&self.broker.stats()) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("not {what}: {:?}", self.broker.stats()));
    }
}

pub(crate) async fn send(
    version: Version,
    address: SocketAddr,
    request: Request<Empty<Bytes>>,
) -> (Response<Incoming>, JoinHandle<()>) {
    let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let answer = async {
        match version {
            Version::One => {
                let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
                let connection = tokio::spawn(async move { drop(connection.await) });
                let (mut parts, body) = request.into_parts();
                parts.headers.insert("host", address.to_string().parse().unwrap());
                parts.uri = parts.uri.path_and_query().unwrap().as_str().parse().unwrap();
                let request = Request::from_parts(parts, body);
                (sender.send_request(request).await.unwrap(), connection)
            }
            Version::Two => {
                let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream);
                let (mut sender, connection) = handshake.await.unwrap();
                let connection = tokio::spawn(async move { drop(connection.await) });
                (sender.send_request(request).await.unwrap(), connection)
            }
        }
    };
    timeout(PATIENCE, answer).await.expect("no answer")
}

impl Reader {
    /// The next event; `None` at the end of the stream.
    pub(crate) async fn try_next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Some(event);
            }
            let frame = timeout(PATIENCE, self.body.frame()).await.expect("nothing came")?;
            let data = frame.ok()?.into_data().unwrap();
            self.events.extend(self.parser.push(&data));
        }
    }

    pub(crate) async fn next(&mut self) -> Event {
        self.try_next().await.expect("it has ended")
    }

    /// The next event, as name and data.
    pub(crate) async fn pair(&mut self) -> (String, String) {
        let event = self.next().await;
        (event.name, event.data)
    }

    /// The next event's data, which is JSON.
    pub(crate) async fn json(&mut self) -> Value {
        serde_json::from_str(&self.next().await.data).unwrap()
    }

    /// Waits until the stream has begun: what comes before all events was read.
    pub(crate) async fn begun(&mut self) {
        while self.parser.retry.is_none() {
            self.read().await;
        }
    }

    /// Reads whatever comes next.
    pub(crate) async fn read(&mut self) {
        let bytes = self.chunk().await;
        self.events.extend(self.parser.push(&bytes));
    }

    /// What comes next, for a parser of one's own.
    pub(crate) async fn chunk(&mut self) -> Bytes {
        let frame = timeout(PATIENCE, self.body.frame()).await.expect("nothing came").expect("it has ended");
        frame.unwrap().into_data().unwrap()
    }

    /// Nothing more comes but the end.
    pub(crate) async fn ended(&mut self) {
        assert_eq!(self.try_next().await, None);
    }

    /// The same, and the body is complete.
    pub(crate) async fn ended_well(&mut self) {
        assert!(self.events.is_empty(), "{:?}", self.events);
        let rest = timeout(PATIENCE, self.body.frame()).await.expect("no end");
        assert!(rest.is_none(), "{rest:?}");
    }
}
