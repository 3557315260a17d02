//! The server itself: deadlines, limits, both versions of HTTP.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use axum::{Router, body::Body, routing::any_service};
use bytes::Bytes;
use fanfare_http::{Publish, Server};
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use crate::support::{App, Client, PATIENCE, app, open, post, serve};

const PREFACE: &str = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

#[tokio::test]
async fn a_request_that_does_not_come_is_not_waited_for() {
    let server = Server::new().header_timeout(Duration::from_millis(200));
    let address = serve(server, Router::new()).await;
    for begun in ["", "GET /ws HTTP/1.1\r\nHost: x\r\n", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "PRI", PREFACE]
    {
        let began = Instant::now();
        let mut client = Client::connect(address).await;
        client.send(begun.as_bytes()).await;
        client.closed().await;
        assert!(began.elapsed() >= Duration::from_millis(200), "{begun:?}");
    }
}

#[tokio::test]
async fn headers_beyond_the_limits_are_answered_431() {
    let address = serve(Server::new(), Router::new()).await;
    let headers: String = (0..65).map(|n| format!("x-{n}: 1\r\n")).collect();
    let long = format!("x: {}\r\n", "x".repeat(20_000));
    for headers in [headers, long] {
        let mut client = Client::connect(address).await;
        client.send(format!("GET / HTTP/1.1\r\n{headers}\r\n").as_bytes()).await;
        let answer = client.closed().await;
        assert!(answer.starts_with(b"HTTP/1.1 431 "), "{}", answer.escape_ascii());
    }
}

#[tokio::test]
async fn one_connection_too_many_is_told_so_and_another_takes_its_place() {
    let address = serve(Server::new().max_connections(2), Router::new()).await;
    let mut kept = Vec::new();
    for _ in 0..2 {
        let mut client = Client::connect(address).await;
        client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert_eq!(client.answer().await.status, 404);
        kept.push(client);
    }
    let refused = Client::connect(address).await.closed().await;
    assert!(refused.starts_with(b"HTTP/1.1 503 "), "{}", refused.escape_ascii());
    kept.pop();
    loop {
        let mut client = Client::connect(address).await;
        // One that is refused may be reset before it has written.
        if client.0.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.is_err() {
            continue;
        }
        let mut answer = [0; 12];
        if client.0.read_exact(&mut answer).await.is_ok() && &answer == b"HTTP/1.1 404" {
            break;
        }
    }
}

#[tokio::test]
async fn http2_is_spoken_on_the_same_port() {
    let app = app().await;
    let mut subscription = app.broker.subscribe("t").await.unwrap();
    let stream = TcpStream::connect(app.address).await.unwrap();
    let (mut client, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = |query: &str, origin: &str, body: &'static str| {
        Request::post(format!("http://app.example/publish?{query}"))
            .header("content-type", "application/json")
            .header("origin", origin)
            .body(Full::new(Bytes::from_static(body.as_bytes())))
            .unwrap()
    };
    let answer = client.send_request(request("topic=t", "https://app.example", "{}")).await.unwrap();
    assert_eq!(answer.status(), 202);
    assert_eq!(crate::support::next(&mut subscription).await.value.as_str(), Some("{}"));
    let refused = client.send_request(request("topic=t", "https://evil.example", "{}")).await.unwrap();
    assert_eq!(refused.status(), 403);
    let refused = client.send_request(request("topic=t", "https://app.example", "{")).await.unwrap();
    assert_eq!(refused.status(), 400);
    let body = refused.into_body().collect().await.unwrap().to_bytes();
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["error"]["code"], "invalid_payload");

    let long = "x".repeat(70_000).leak();
    let refused = client.send_request(request("topic=t", "https://app.example", long)).await.unwrap();
    assert_eq!(refused.status(), 413);
    // The connection is none the worse for it.
    let answer = client.send_request(request("topic=t", "https://app.example", "1")).await.unwrap();
    assert_eq!(answer.status(), 202);
}

/// A body without end.
struct Endless;

impl http_body::Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[b'x'; 16 * 1024])))))
    }
}

async fn endless(timeout: Duration) -> std::net::SocketAddr {
    let endless = any_service(tower_service_fn());
    serve(Server::new().write_timeout(timeout), Router::new().route("/", endless)).await
}

fn tower_service_fn() -> impl tower_service::Service<
    axum::extract::Request,
    Response = Response<Body>,
    Error = Infallible,
    Future = std::future::Ready<Result<Response<Body>, Infallible>>,
> + Clone {
    #[derive(Clone)]
    struct Serve;
    impl tower_service::Service<axum::extract::Request> for Serve {
        type Response = Response<Body>;
        type Error = Infallible;
        type Future = std::future::Ready<Result<Response<Body>, Infallible>>;
        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }
        fn call(&mut self, _: axum::extract::Request) -> Self::Future {
            std::future::ready(Ok(Response::new(Body::new(Endless))))
        }
    }
    Serve
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_reset() {
    let address = endless(Duration::from_millis(300)).await;
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    // It has a while to read nothing in; what the kernel has taken comes still, and then the reset.
    tokio::time::sleep(Duration::from_millis(1000)).await;
    let mut taken = 0;
    let mut buffer = vec![0; 1 << 16];
    let end = timeout(PATIENCE, async {
        loop {
            match client.read(&mut buffer).await {
                Ok(0) => break Ok(()),
                Ok(count) => taken += count,
                Err(error) => break Err(error),
            }
            assert!(taken < 64 << 20, "it was not cut");
        }
    })
    .await
    .expect("kept open");
    assert_eq!(end.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_client_that_reads_slowly_but_steadily_is_served() {
    let address = endless(Duration::from_millis(500)).await;
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut buffer = vec![0; 1 << 20];
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(1500) {
        let mut read = 0;
        // As much as makes the kernel take more.
        while read < 512 * 1024 {
            read += client.read(&mut buffer).await.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn sockets_are_prepared_for_messages() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    fanfare_http::set_options(&client).unwrap();
    assert!(client.nodelay().unwrap());
    #[cfg(target_os = "linux")]
    assert_eq!(socket2::SockRef::from(&client).tcp_notsent_lowat().unwrap(), 64 * 1024);
}

#[tokio::test]
async fn without_a_known_address_it_works_as_well() {
    let broker = open().start().await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let app = App { address: listener.local_addr().unwrap(), broker };
    let router = Router::new().route("/publish", any_service(Publish::new(&app.broker)));
    tokio::spawn(axum::serve(listener, router).into_future());
    assert_eq!(post("topic=t").text("x").to(&app).await.status, 202);
}

#[tokio::test]
async fn a_deadline_may_be_never() {
    let never = Duration::MAX;
    let server = Server::new().header_timeout(never).write_timeout(never).stop_timeout(never);
    let address = serve(server, Router::new()).await;
    let mut client = Client::connect(address).await;
    client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(client.answer().await.status, 404);
    let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let (mut client, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    tokio::spawn(connection);
    let request = Request::get("http://x/").body(Full::new(Bytes::new())).unwrap();
    assert_eq!(client.send_request(request).await.unwrap().status(), 404);
}
