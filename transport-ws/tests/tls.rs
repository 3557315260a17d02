//! The transport over TLS: the stream is no TCP socket, so its own task writes.
#![allow(missing_docs, clippy::unwrap_used)]

use std::{net::SocketAddr, sync::Arc, time::Duration};

use fanfare_core::{Broker, policy::Open, session::CloseKind};
use fanfare_ws::{Config, WebSocket};
use futures_util::{SinkExt, StreamExt};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rcgen::CertifiedKey;
use serde_json::{Value, json};
use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::timeout,
};
use tokio_rustls::{
    TlsAcceptor, TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore, ServerConfig,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName},
    },
};
use tokio_tungstenite::{WebSocketStream, tungstenite::Message};

/// Nothing here takes this long unless it hangs.
const PATIENCE: Duration = Duration::from_secs(10);

type Client = WebSocketStream<TlsStream<TcpStream>>;

struct App {
    address: SocketAddr,
    certificate: CertificateDer<'static>,
}

/// Serves the endpoint through its one function, on hyper alone.
async fn serve(websocket: WebSocket) -> App {
    let CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = cert.der().clone();
    let key = PrivateKeyDer::Pkcs8(signing_key.serialize_der().into());
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (acceptor, websocket) = (acceptor.clone(), websocket.clone());
            tokio::spawn(async move {
                let stream = acceptor.accept(stream).await.unwrap();
                let service = service_fn(move |request| {
                    let websocket = websocket.clone();
                    async move { Ok::<_, std::convert::Infallible>(websocket.upgrade(request).await) }
                });
                let http = hyper::server::conn::http1::Builder::new();
                http.serve_connection(TokioIo::new(stream), service).with_upgrades().await.unwrap();
            });
        }
    });
    App { address, certificate }
}

impl App {
    async fn client(&self) -> Client {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let stream = TcpStream::connect(self.address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
        tokio_tungstenite::client_async("wss://localhost/ws", stream).await.unwrap().0
    }
}

async fn next(client: &mut Client) -> Message {
    timeout(PATIENCE, client.next()).await.expect("nothing came").unwrap().unwrap()
}

async fn frame(client: &mut Client) -> Value {
    let message = next(client).await;
    serde_json::from_str(message.to_text().unwrap()).unwrap()
}

async fn ask(client: &mut Client, command: &str) -> Value {
    client.send(Message::text(command)).await.unwrap();
    frame(client).await
}

#[tokio::test]
async fn messages_arrive_in_order_and_replies_between_them() {
    let broker = Broker::builder().policy(Open).start().await.unwrap();
    let app = serve(WebSocket::new(&broker).unwrap()).await;
    let (mut ann, mut bob) = (app.client().await, app.client().await);
    assert_eq!(ask(&mut ann, r#"{"id":1,"subscribe":{"topic":"t"}}"#).await, json!({"id":1,"ok":{}}));
    for n in 0..100 {
        let published = ask(&mut bob, &format!(r#"{{"id":2,"publish":{{"topic":"t","data":{n}}}}}"#)).await;
        assert_eq!(published, json!({"id":2,"ok":{}}));
    }
    for n in 0..100 {
        assert_eq!(frame(&mut ann).await["data"], n);
    }
    assert_eq!(ask(&mut ann, r#"{"id":3,"unsubscribe":{"topic":"t"}}"#).await, json!({"id":3,"ok":{}}));
    ann.close(None).await.unwrap();
    assert!(next(&mut ann).await.is_close());
}

#[tokio::test]
async fn large_messages_arrive_whole() {
    let builder = Broker::builder().policy(Open).limits(|limits| limits.max_message = 4 << 20);
    let broker = builder.start().await.unwrap();
    let app = serve(WebSocket::new(&broker).unwrap()).await;
    let mut client = app.client().await;
    ask(&mut client, r#"{"id":1,"subscribe":{"topic":"t"}}"#).await;
    for length in [1 << 10, 1 << 16, 3 << 20] {
        broker.publish("t", "x".repeat(length)).await.unwrap();
        assert_eq!(frame(&mut client).await["data"].as_str().unwrap().len(), length);
    }
}

#[tokio::test]
async fn a_stalled_reader_is_told_what_it_lost() {
    let broker = Broker::builder().policy(Open).start().await.unwrap();
    let app = serve(WebSocket::new(&broker).unwrap()).await;
    let mut client = app.client().await;
    ask(&mut client, r#"{"id":1,"subscribe":{"topic":"t"}}"#).await;
    const MESSAGES: u64 = 3000;
    for n in 0..MESSAGES {
        broker.publish("t", format!("{n} {}", "x".repeat(10_000))).await.unwrap();
    }
    let (mut next, mut missed) = (0, 0);
    while next < MESSAGES {
        let frame = frame(&mut client).await;
        if let Some(gap) = frame.get("gap") {
            missed += gap["missed"].as_u64().unwrap();
            next += gap["missed"].as_u64().unwrap();
        } else {
            assert!(frame["data"].as_str().unwrap().starts_with(&format!("{next} ")), "{next}");
            next += 1;
        }
    }
    assert!(missed > 0);
}

#[tokio::test]
async fn the_deadlines_are_kept() {
    let (reasons, mut reason) = mpsc::channel(2);
    let builder = Broker::builder().policy(Open).ping_interval(Duration::from_millis(100));
    let builder = builder.on_disconnected(move |_, reason| {
        let reasons = reasons.clone();
        async move { reasons.send(reason.kind).await.unwrap() }
    });
    let broker = builder.start().await.unwrap();
    let config =
        Config::new().pong_timeout(Duration::from_millis(300)).write_timeout(Duration::from_millis(300));
    let app = serve(WebSocket::new(&broker).unwrap().config(config)).await;

    // Reads, but answers no ping.
    let silent = app.client().await;
    let mut stream = silent.into_inner();
    let mut all = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut all)).await.expect("no end").unwrap();
    assert!(all.starts_with(&[0x89, 0]), "{}", all.escape_ascii());
    assert!(all.ends_with(b"no answer to a ping"), "{}", all.escape_ascii());
    assert_eq!(reason.recv().await, Some(CloseKind::PongTimeout));

    // Reads nothing.
    let mut stalled = app.client().await;
    ask(&mut stalled, r#"{"id":1,"subscribe":{"topic":"t"}}"#).await;
    for _ in 0..2000 {
        broker.publish("t", "x".repeat(10_000)).await.unwrap();
    }
    assert_eq!(timeout(PATIENCE, reason.recv()).await.expect("not cut"), Some(CloseKind::SlowConsumer));
}

#[tokio::test]
async fn draining_says_when_to_come_back() {
    let broker = Broker::builder().policy(Open).start().await.unwrap();
    let app = serve(WebSocket::new(&broker).unwrap()).await;
    let mut client = app.client().await;
    ask(&mut client, r#"{"id":1,"ping":{}}"#).await;
    let drain = tokio::spawn(async move { broker.drain(PATIENCE).await });
    assert_eq!(frame(&mut client).await["close"]["code"], 4200);
    let Message::Close(Some(close)) = next(&mut client).await else { panic!("no close frame") };
    assert_eq!(u16::from(close.code), 4200);
    assert!(drain.await.unwrap());
}
