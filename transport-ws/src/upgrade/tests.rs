//! The takeover under each kind of HTTP server, with a client of another project and by hand.

use std::{convert::Infallible, net::SocketAddr};

use axum::{Router, response::IntoResponse, routing::any};
use bytes::BytesMut;
use futures_util::{SinkExt, StreamExt};
use http::{Request, Response};
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::TokioExecutor;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
    sync::mpsc,
};
use tokio_tungstenite::tungstenite::Message;

use super::*;
use crate::frame::{Event, Opcode, Parser, encode};

/// Answers a handshake and reports what became of the connection: whether it is the TCP socket, and the bytes that
/// hyper had read.
fn answer<B>(request: Request<B>, report: mpsc::Sender<(bool, usize)>) -> Response<Full<Bytes>> {
    let (mut parts, _) = request.into_parts();
    let (accepted, promise) = match accept(&mut parts, &Config::new()) {
        Ok(done) => done,
        Err(error) => return error.response(),
    };
    spawn(promise, move |socket| match socket {
        Socket::Tcp(stream, early) => {
            report.try_send((true, early.len())).unwrap();
            tokio::spawn(echo(stream, early));
        }
        Socket::Other(stream) => {
            report.try_send((false, 0)).unwrap();
            tokio::spawn(echo(stream, Bytes::new()));
        }
    });
    accepted.response()
}

async fn echo(mut stream: impl AsyncRead + AsyncWrite + Unpin, early: Bytes) {
    let mut parser = Parser::new(1 << 16);
    let mut buffer = early.to_vec();
    loop {
        let mut out = BytesMut::new();
        let mut input = buffer.as_mut_slice();
        while let Some(event) = parser.next(&mut input).unwrap() {
            match event {
                Event::Text(text) => encode::frame(Opcode::Text, text.as_bytes(), &mut out),
                Event::Binary(bytes) => encode::frame(Opcode::Binary, &bytes, &mut out),
                Event::Ping(bytes) => encode::frame(Opcode::Pong, &bytes, &mut out),
                Event::Pong(_) => {}
                Event::Close(_) => encode::close(1000, "", &mut out),
            }
        }
        stream.write_all(&out).await.unwrap();
        buffer.resize(4096, 0);
        match stream.read(&mut buffer).await {
            Ok(count @ 1..) => buffer.truncate(count),
            _ => return,
        }
    }
}

/// A server of each kind, on a port of its own.
async fn start(kind: &'static str) -> (SocketAddr, mpsc::Receiver<(bool, usize)>) {
    let (report, reports) = mpsc::channel(1);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    if kind == "axum" || kind == "fanfare" {
        let handler =
            move |request: axum::extract::Request| async move { answer(request, report).into_response() };
        let app = Router::new().route("/ws", any(handler));
        if kind == "axum" {
            tokio::spawn(axum::serve(listener, app).into_future());
        } else {
            tokio::spawn(fanfare_http::Server::new().serve(listener, app));
        }
        return (address, reports);
    }
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let report = report.clone();
            let service = service_fn(move |request| {
                let response = answer::<hyper::body::Incoming>(request, report.clone());
                async move { Ok::<_, Infallible>(response) }
            });
            tokio::spawn(async move {
                match kind {
                    "auto" => auto::Builder::new(TokioExecutor::new())
                        .serve_connection_with_upgrades(TokioIo::new(stream), service)
                        .await
                        .unwrap(),
                    "http1" => hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .with_upgrades()
                        .await
                        .unwrap(),
                    // A stream that is no TCP socket, as TLS is.
                    _ => {
                        let (reader, writer) = stream.into_split();
                        hyper::server::conn::http1::Builder::new()
                            .serve_connection(TokioIo::new(tokio::io::join(reader, writer)), service)
                            .with_upgrades()
                            .await
                            .unwrap()
                    }
                }
            });
        }
    });
    (address, reports)
}

#[tokio::test]
async fn takes_the_tcp_socket_back_from_each_server() {
    for kind in ["axum", "auto", "http1", "fanfare"] {
        let (address, mut reports) = start(kind).await;
        let (mut client, response) =
            tokio_tungstenite::connect_async(format!("ws://{address}/ws")).await.unwrap();
        assert_eq!(response.status(), 101);
        assert_eq!(reports.recv().await, Some((true, 0)), "{kind}");
        for length in [0, 125, 126, 65_535, 65_536] {
            let message = Message::text("é".repeat(length / 2));
            client.send(message.clone()).await.unwrap();
            assert_eq!(client.next().await.unwrap().unwrap(), message);
        }
        client.close(None).await.unwrap();
        assert!(client.next().await.unwrap().unwrap().is_close());
    }
}

#[tokio::test]
async fn serves_any_other_stream_as_it_is() {
    let (address, mut reports) = start("joined").await;
    let (mut client, _) = tokio_tungstenite::connect_async(format!("ws://{address}/ws")).await.unwrap();
    assert_eq!(reports.recv().await, Some((false, 0)));
    client.send(Message::text("hello")).await.unwrap();
    assert_eq!(client.next().await.unwrap().unwrap(), Message::text("hello"));
}

#[tokio::test]
async fn a_refusal_leaves_the_connection_to_http() {
    for kind in ["axum", "auto", "http1", "fanfare"] {
        let (address, _reports) = start(kind).await;
        let mut client = TcpStream::connect(address).await.unwrap();
        let wrong = HANDSHAKE.replace("Version: 13", "Version: 8");
        client.write_all(wrong.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"}}") {
            assert!(client.read_buf(&mut answer).await.unwrap() > 0, "{}", answer.escape_ascii());
        }
        let answer = String::from_utf8(answer).unwrap().to_ascii_lowercase();
        assert!(answer.starts_with("http/1.1 426 "), "{answer}");
        assert!(answer.contains("\r\nsec-websocket-version: 13\r\n"), "{answer}");
        // The same connection serves the next request.
        client.write_all(HANDSHAKE.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            assert!(client.read_buf(&mut answer).await.unwrap() > 0, "{kind}: {}", answer.escape_ascii());
        }
        assert!(answer.starts_with(b"HTTP/1.1 101 "));
    }
}

#[tokio::test]
async fn a_request_that_cannot_be_upgraded_is_refused() {
    let (mut parts, ()) = Request::get("/ws")
        .header("host", "x")
        .header("upgrade", "websocket")
        .header("connection", "upgrade")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .body(())
        .unwrap()
        .into_parts();
    let error = accept(&mut parts, &Config::new()).unwrap_err();
    assert_eq!((error.status().as_u16(), error), (426, HandshakeError::NotUpgradable));
}

const HANDSHAKE: &str = "GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

#[tokio::test]
async fn loses_nothing_that_came_with_the_handshake() {
    for kind in ["axum", "auto", "http1", "fanfare"] {
        let (address, mut reports) = start(kind).await;
        let mut client = TcpStream::connect(address).await.unwrap();
        // "Hello", masked, and the beginning of a second one (RFC 6455, section 5.7).
        let hello = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
        client.write_all(&[HANDSHAKE.as_bytes(), hello, &hello[..3]].concat()).await.unwrap();
        assert_eq!(reports.recv().await, Some((true, 14)), "{kind}");
        client.write_all(&hello[3..]).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n\x81\x05Hello\x81\x05Hello") {
            assert!(client.read_buf(&mut answer).await.unwrap() > 0, "{}", answer.escape_ascii());
        }
    }
}
