//! How streams end.

use fanfare_core::{
    Broker,
    policy::Open,
    session::{CloseKind, CloseReason},
};
use fanfare_sse::Config;
use serde_json::Value;
use tokio::{sync::mpsc, time::timeout};

use crate::support::{App, PATIENCE, Version, app_with};

/// An app that says who comes and goes.
async fn watched()
-> (App, mpsc::UnboundedReceiver<fanfare_core::session::ClientId>, mpsc::UnboundedReceiver<CloseKind>) {
    let ((came, clients), (went, reasons)) = (mpsc::unbounded_channel(), mpsc::unbounded_channel());
    let builder = Broker::builder()
        .policy(Open)
        .on_connected(move |client| {
            assert_eq!(client.transport, "sse");
            let _ = came.send(client.id);
            async {}
        })
        .on_disconnected(move |_, reason| {
            let _ = went.send(reason.kind);
            async {}
        });
    (app_with(builder, Config::new()).await, clients, reasons)
}

#[tokio::test]
async fn draining_ends_streams_with_a_hint_when_to_come_back() {
    let (app, _clients, mut reasons) = watched().await;
    let mut readers = vec![app.reader("topic=a").await, app.open(Version::Two, "topic=a&topic=b", "").await];
    for reader in &mut readers {
        reader.begun().await;
    }
    app.broker.publish("a", "before").await.unwrap();
    let broker = app.broker.clone();
    let drained = tokio::spawn(async move { broker.drain(PATIENCE).await });
    for reader in &mut readers {
        assert_eq!(reader.next().await.name, "message", "what was accepted comes first");
        let close = reader.next().await;
        assert_eq!(close.name, "$close");
        let frame: Value = serde_json::from_str(&close.data).unwrap();
        assert_eq!((&frame["close"]["code"], &frame["close"]["name"]), (&4200.into(), &"draining".into()));
        reader.ended().await;
        assert_eq!(reader.parser.retry, frame["close"]["retry_ms"].as_u64());
    }
    assert!(timeout(PATIENCE, drained).await.unwrap().unwrap());
    assert_eq!(
        (reasons.recv().await, reasons.recv().await),
        (Some(CloseKind::Draining), Some(CloseKind::Draining))
    );
    let (status, error) = app.refusal("topic=a").await;
    assert_eq!((status, error["code"].as_str()), (503, Some("draining")));
}

#[tokio::test]
async fn the_server_ends_a_stream_and_says_why() {
    let (app, mut clients, mut reasons) = watched().await;
    let mut reader = app.reader("topic=a").await;
    let client = clients.recv().await.unwrap();
    let reason = CloseReason::with_message(CloseKind::Kicked, "go\nid: 1");
    assert!(app.broker.disconnect(client, reason));
    let close = reader.next().await;
    let frame: Value = serde_json::from_str(&close.data).unwrap();
    assert_eq!((&*close.name, &frame["close"]["message"]), ("$close", &"go\nid: 1".into()));
    reader.ended().await;
    assert_eq!(reasons.recv().await, Some(CloseKind::Kicked));
}

#[tokio::test]
async fn a_reader_that_leaves_is_missed_at_once() {
    let (app, _clients, mut reasons) = watched().await;
    for version in [Version::One, Version::Two] {
        let mut reader = app.open(version, "topic=a&topic=b", "").await;
        reader.begun().await;
        assert_eq!(app.broker.stats().subscriptions, 2);
        drop(reader);
        let reason = timeout(PATIENCE, reasons.recv()).await.expect("not missed");
        assert_eq!(reason, Some(CloseKind::Lost));
        app.until("gone", |stats| stats.connections == 0 && stats.subscriptions == 0 && stats.topics == 0)
            .await;
    }
}

/// Over HTTP/2 one stream can end while others of its connection go on.
#[tokio::test]
async fn a_stream_that_is_reset_ends_alone() {
    let (app, mut clients, mut reasons) = watched().await;
    let stream = tokio::net::TcpStream::connect(app.address).await.unwrap();
    let (sender, connection) = hyper::client::conn::http2::handshake(
        hyper_util::rt::TokioExecutor::new(),
        hyper_util::rt::TokioIo::new(stream),
    )
    .await
    .unwrap();
    let _connection = tokio::spawn(connection);
    let open = |topic: &str| {
        let request = http::Request::get(format!("http://{}/events?topic={topic}", app.address));
        sender.clone().send_request(request.body(http_body_util::Empty::<bytes::Bytes>::new()).unwrap())
    };
    let (first, mut second) = (open("a").await.unwrap(), open("b").await.unwrap());
    clients.recv().await.unwrap();
    clients.recv().await.unwrap();
    drop(first);
    assert_eq!(timeout(PATIENCE, reasons.recv()).await.expect("not ended"), Some(CloseKind::Lost));
    app.until("alone", |stats| stats.connections == 1).await;
    app.broker.publish("b", "still here").await.unwrap();
    let mut read = Vec::new();
    while !read.ends_with(b"data: still here\n\n") {
        let frame =
            timeout(PATIENCE, http_body_util::BodyExt::frame(second.body_mut())).await.expect("silent");
        read.extend_from_slice(&frame.unwrap().unwrap().into_data().unwrap());
    }
}

/// A body that is dropped before it was ever polled, as when the client leaves during the admission.
#[tokio::test]
async fn an_answer_that_is_never_sent_leaves_nothing() {
    let (app, _clients, mut reasons) = watched().await;
    let events = fanfare_sse::EventStream::new(&app.broker).unwrap();
    let request = || http::Request::get("/?topic=a").body(()).unwrap();
    drop(events.respond(request()).await);
    assert_eq!(reasons.recv().await, Some(CloseKind::Lost));
    // Nor does a request that is dropped halfway.
    let mut respond = Box::pin(events.respond(request()));
    let _ = std::future::poll_fn(|cx| std::task::Poll::Ready(respond.as_mut().poll(cx).is_ready())).await;
    drop(respond);
    app.until("gone", |stats| stats.connections == 0 && stats.subscriptions == 0).await;
}
