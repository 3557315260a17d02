//! Draining the broker, and stopping the server.

use std::{sync::Arc, time::Duration};

use axum::{Router, routing::any_service};
use fanfare_http::{Publish, Server};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, oneshot},
    time::timeout,
};

use crate::support::{App, Client, PATIENCE, app, open, post};

#[tokio::test]
async fn a_draining_server_sends_publishers_elsewhere() {
    let app = app().await;
    let mut begun = Client::connect(app.address).await;
    let head = post("topic=log").header("content-type", "text/plain").head("Content-Length: 5\r\n");
    begun.send([head.as_bytes(), b"hell"].concat().as_slice()).await;
    assert!(app.broker.drain(Duration::from_secs(5)).await);
    begun.send(b"o").await;
    let late = begun.answer().await;
    let new = post("topic=log").text("x").to(&app).await;
    for refused in [late, new] {
        assert_eq!(refused.refusal(), (503, "draining"));
        assert_eq!(refused.header("retry-after"), Some("1"));
        assert_eq!(refused.body["error"]["retry"], true);
    }
}

/// A server that can be stopped, whose publishes wait until they may go on.
async fn stoppable(
    grace: Duration,
) -> (App, Arc<Semaphore>, oneshot::Sender<()>, tokio::task::JoinHandle<()>) {
    let gate = Arc::new(Semaphore::new(0));
    let held = gate.clone();
    let builder = open().limits(|limits| limits.publishes_in_flight = 1).on_publish("t", move |publish| {
        let held = held.clone();
        async move {
            held.acquire().await.unwrap().forget();
            Ok(publish)
        }
    });
    let broker = builder.start().await.unwrap();
    let router = Router::new().route("/publish", any_service(Publish::new(&broker)));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel();
    let server =
        Server::new().stop_timeout(grace).serve_until(listener, router, async { stopped.await.unwrap() });
    let server = tokio::spawn(async move { server.await.unwrap() });
    (App { broker, address }, gate, stop, server)
}

/// Ready when one request is within its hook: the only one of its address that there may be.
async fn begun(app: &App) {
    while post("topic=free").text("x").to(app).await.status == 202 {}
}

#[tokio::test]
async fn a_server_that_stops_lets_requests_end() {
    let (app, gate, stop, server) = stoppable(PATIENCE).await;
    let idle = Client::connect(app.address).await;
    let mut reused = Client::connect(app.address).await;
    reused.send(&post("topic=free").text("x").bytes()).await;
    assert_eq!(reused.answer().await.status, 202);
    let mut busy = Client::connect(app.address).await;
    busy.send(&post("topic=t").text("x").bytes()).await;
    begun(&app).await;

    stop.send(()).unwrap();
    // Those that have nothing to wait for are let go.
    assert!(idle.closed().await.is_empty());
    assert!(reused.closed().await.is_empty());
    assert!(!server.is_finished(), "a request has not ended");
    while TcpStream::connect(app.address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    gate.add_permits(1);
    assert_eq!(busy.answer().await.status, 202);
    timeout(PATIENCE, server).await.expect("the server does not end").unwrap();
}

#[tokio::test]
async fn a_request_that_does_not_end_is_cut() {
    let (app, _gate, stop, server) = stoppable(Duration::from_millis(100)).await;
    let mut busy = Client::connect(app.address).await;
    busy.send(&post("topic=t").text("x").bytes()).await;
    begun(&app).await;
    stop.send(()).unwrap();
    timeout(PATIENCE, server).await.expect("the server does not end").unwrap();
    assert!(busy.closed().await.is_empty());
}

#[tokio::test]
async fn connections_of_a_server_that_was_dropped_go_on() {
    let (app, _gate, _stop, server) = stoppable(PATIENCE).await;
    let mut client = Client::connect(app.address).await;
    client.send(&post("topic=free").text("x").bytes()).await;
    assert_eq!(client.answer().await.status, 202);
    server.abort();
    let _ = server.await;
    client.send(&post("topic=free").text("x").bytes()).await;
    assert_eq!(client.answer().await.status, 202);
}
