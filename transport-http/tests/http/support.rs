//! A broker behind a real port, and a client that sends exactly what a test wants to be sent.

use std::{net::SocketAddr, time::Duration};

use axum::{Router, routing::any_service};
use fanfare_core::{
    Broker, BrokerBuilder,
    policy::Open,
    subscription::{Delivery, Received, Subscription},
    topic::TopicConfig,
};
use fanfare_http::{Publish, PublishConfig, Server};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

/// Nothing here takes this long unless it hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct App {
    pub(crate) broker: Broker,
    pub(crate) address: SocketAddr,
}

/// An app with everything open and all at its default; the topic `log` has a history.
pub(crate) async fn app() -> App {
    app_with(open(), PublishConfig::new()).await
}

pub(crate) fn open() -> BrokerBuilder {
    Broker::builder().policy(Open).topic("log", TopicConfig::new().history(100))
}

pub(crate) async fn app_with(builder: BrokerBuilder, config: PublishConfig) -> App {
    let broker = builder.start().await.unwrap();
    let publish = Publish::new(&broker).config(config);
    let address = serve(Server::new(), Router::new().route("/publish", any_service(publish))).await;
    App { broker, address }
}

pub(crate) async fn serve(server: Server, router: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(server.serve(listener, router));
    address
}

/// A request as it goes out.
pub(crate) struct Post {
    method: &'static str,
    target: String,
    headers: String,
    body: Vec<u8>,
}

/// `POST /publish?QUERY`, without a body.
pub(crate) fn post(query: &str) -> Post {
    Post { method: "POST", target: format!("/publish?{query}"), headers: String::new(), body: Vec::new() }
}

impl Post {
    pub(crate) fn method(mut self, method: &'static str) -> Self {
        self.method = method;
        self
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers += &format!("{name}: {value}\r\n");
        self
    }

    pub(crate) fn body(mut self, kind: &str, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self.header("content-type", kind)
    }

    pub(crate) fn text(self, body: &str) -> Self {
        self.body("text/plain", body)
    }

    /// The head alone, with the body's length or whatever is given in its place.
    pub(crate) fn head(&self, length: &str) -> String {
        let Self { method, target, headers, .. } = self;
        format!("{method} {target} HTTP/1.1\r\nHost: app.example\r\n{headers}{length}\r\n")
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let head = self.head(&format!("Content-Length: {}\r\n", self.body.len()));
        [head.as_bytes(), &self.body].concat()
    }

    pub(crate) async fn to(self, app: &App) -> Answer {
        let mut client = Client::connect(app.address).await;
        client.send(&self.bytes()).await;
        client.answer().await
    }
}

pub(crate) struct Client(pub(crate) TcpStream, Vec<u8>);

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self(TcpStream::connect(address).await.unwrap(), Vec::new())
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.unwrap();
    }

    /// The next answer, whole.
    pub(crate) async fn answer(&mut self) -> Answer {
        timeout(PATIENCE, self.next_answer()).await.expect("no answer")
    }

    async fn next_answer(&mut self) -> Answer {
        loop {
            if let Some((answer, length)) = Answer::parse(&self.1) {
                self.1.drain(..length);
                return answer;
            }
            let count = self.0.read_buf(&mut self.1).await.unwrap();
            assert!(count > 0, "closed after {:?}", self.1.escape_ascii().to_string());
        }
    }

    /// Ready when the server has closed the connection; what it had sent before.
    pub(crate) async fn closed(mut self) -> Vec<u8> {
        let mut rest = std::mem::take(&mut self.1);
        // A reset is an end as well.
        let _ = timeout(PATIENCE, self.0.read_to_end(&mut rest)).await.expect("the connection is kept open");
        rest
    }
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Value,
}

impl Answer {
    fn parse(bytes: &[u8]) -> Option<(Self, usize)> {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
        let head = std::str::from_utf8(&bytes[..end]).unwrap();
        let mut lines = head.lines();
        let status = lines.next()?.split(' ').nth(1)?.parse().unwrap();
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let mut answer = Self { status, headers, body: Value::Null };
        let length: usize = answer.header("content-length").map_or(0, |length| length.parse().unwrap());
        let body = bytes.get(end..end + length)?;
        if !body.is_empty() {
            answer.body = serde_json::from_slice(body).unwrap();
        }
        Some((answer, end + length))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Status and code of a refusal.
    pub(crate) fn refusal(&self) -> (u16, &str) {
        (self.status, self.body["error"]["code"].as_str().unwrap_or_default())
    }

    /// Status, code and field of a refusal.
    pub(crate) fn fault(&self) -> (u16, &str, &str) {
        let (status, code) = self.refusal();
        (status, code, self.body["error"]["field"].as_str().unwrap_or_default())
    }
}

pub(crate) async fn next(subscription: &mut Subscription<str>) -> Received<fanfare_core::message::Payload> {
    match timeout(PATIENCE, subscription.recv()).await.expect("no message") {
        Some(Delivery::Message(message)) => message,
        other => panic!("{other:?}"),
    }
}
