//! Clients that do not read, over real sockets.

use std::time::Duration;

use fanfare_core::{Broker, policy::Open, session::CloseKind};
use fanfare_http::Server;
use fanfare_sse::Config;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::mpsc,
    time::timeout,
};

use crate::support::{App, PATIENCE, router};

const DEADLINE: Duration = Duration::from_millis(500);

struct Stalled {
    app: App,
    client: TcpStream,
    reasons: mpsc::UnboundedReceiver<CloseKind>,
}

/// A client that reads nothing, of an app on a server of its kind.
async fn stalled(serve: impl FnOnce(TcpListener, axum::Router)) -> Stalled {
    let (went, reasons) = mpsc::unbounded_channel();
    let builder = Broker::builder().policy(Open).on_disconnected(move |_, reason| {
        let _ = went.send(reason.kind);
        async {}
    });
    let broker = builder.start().await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    serve(listener, router(&broker, Config::new().write_timeout(DEADLINE)));
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut client = socket.connect(address).await.unwrap();
    client.write_all(b"GET /events?topic=t HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let app = App { broker, address };
    app.until("subscribed", |stats| stats.subscriptions == 1).await;
    Stalled { app, client, reasons }
}

/// Publishes until something waits for good, and then no more: a quiet topic frees no reader, either.
async fn fill(app: &App) {
    let mut waits = 0;
    while waits < 20 && app.broker.stats().connections > 0 {
        if app.broker.stats().queued >= 10 {
            waits += 1;
        } else {
            waits = 0;
            for _ in 0..20 {
                app.broker.publish("t", "x".repeat(50_000)).await.unwrap();
            }
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn under_any_server_nothing_of_the_stream_is_left() {
    let mut stalled = stalled(|listener, router| {
        tokio::spawn(axum::serve(listener, router).into_future());
    })
    .await;
    fill(&stalled.app).await;
    let reason = timeout(PATIENCE, stalled.reasons.recv()).await.expect("not cut");
    assert_eq!(reason, Some(CloseKind::SlowConsumer));
    stalled
        .app
        .until("freed", |stats| (stats.connections, stats.subscriptions, stats.queued) == (0, 0, 0))
        .await;
    // Who reads on after all finds what was on its way, and why it is over.
    let mut rest = Vec::new();
    timeout(PATIENCE, async {
        while !rest.ends_with(b"0\r\n\r\n") {
            assert!(stalled.client.read_buf(&mut rest).await.unwrap() > 0, "cut off");
        }
    })
    .await
    .expect("no end");
    let end = String::from_utf8_lossy(&rest[rest.len() - 200..]).into_owned();
    assert!(end.contains("event: $close") && end.contains("slow_consumer"), "{end}");
}

#[tokio::test]
async fn under_our_server_the_socket_is_gone_as_well() {
    let mut stalled = stalled(|listener, router| {
        tokio::spawn(Server::new().write_timeout(DEADLINE).serve(listener, router));
    })
    .await;
    fill(&stalled.app).await;
    timeout(PATIENCE, stalled.reasons.recv()).await.expect("not cut").unwrap();
    stalled
        .app
        .until("freed", |stats| (stats.connections, stats.subscriptions, stats.queued) == (0, 0, 0))
        .await;
    // What has arrived can be read, and then the connection turns out to be reset.
    let mut rest = Vec::new();
    let end = timeout(PATIENCE, stalled.client.read_to_end(&mut rest)).await.expect("kept open");
    assert_eq!(end.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
}

/// As the documentation of [`EventStream`](fanfare_sse::EventStream) recommends it for `axum::serve`.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn under_axums_server_tcp_gives_up() {
    use axum::serve::ListenerExt;

    let mut stalled = stalled(|listener, router| {
        let listener = listener.tap_io(|stream| {
            let socket = socket2::SockRef::from(&*stream);
            socket.set_tcp_nodelay(true).unwrap();
            socket.set_tcp_user_timeout(Some(DEADLINE)).unwrap();
        });
        tokio::spawn(axum::serve(listener, router).into_future());
    })
    .await;
    fill(&stalled.app).await;
    timeout(PATIENCE, stalled.reasons.recv()).await.expect("not cut").unwrap();
    stalled.app.until("freed", |stats| stats.connections == 0).await;
    // The client learns of it when it reads on; the kernel's table of sockets says it now.
    let (local, peer) = (stalled.app.address.port(), stalled.client.local_addr().unwrap().port());
    let is_held = || {
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let mut sockets = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let (local, peer) = (format!(":{local:04X}"), format!(":{peer:04X}"));
        sockets.any(|socket| socket[1].ends_with(&local) && socket[2].ends_with(&peer))
    };
    let gone = async {
        while is_held() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, gone).await.expect("kept open");
}

/// Over HTTP/2 a stream can be stalled while the socket is not.
#[tokio::test]
async fn a_stalled_stream_ends_alone() {
    let stalled = stalled(|listener, router| {
        tokio::spawn(Server::new().serve(listener, router));
    })
    .await;
    let mut reasons = stalled.reasons;
    drop(stalled.client);
    assert_eq!(reasons.recv().await, Some(CloseKind::Lost));
    let app = stalled.app;
    let stream = hyper_util::rt::TokioIo::new(TcpStream::connect(app.address).await.unwrap());
    let (sender, connection) =
        hyper::client::conn::http2::handshake(hyper_util::rt::TokioExecutor::new(), stream).await.unwrap();
    let _connection = tokio::spawn(connection);
    let open = |topic: &str| {
        let request = http::Request::get(format!("http://{}/events?topic={topic}", app.address));
        sender.clone().send_request(request.body(http_body_util::Empty::<bytes::Bytes>::new()).unwrap())
    };
    let (mut unread, mut read) = (open("t").await.unwrap(), open("other").await.unwrap());
    fill(&app).await;
    assert_eq!(timeout(PATIENCE, reasons.recv()).await.expect("not cut"), Some(CloseKind::SlowConsumer));
    app.until("alone", |stats| stats.connections == 1 && stats.queued == 0).await;
    app.broker.publish("other", "still here").await.unwrap();
    let mut seen = Vec::new();
    while !seen.ends_with(b"data: still here\n\n") {
        let frame = timeout(PATIENCE, http_body_util::BodyExt::frame(read.body_mut())).await.expect("silent");
        seen.extend_from_slice(&frame.unwrap().unwrap().into_data().unwrap());
    }
    let mut rest = Vec::new();
    while let Some(frame) =
        timeout(PATIENCE, http_body_util::BodyExt::frame(unread.body_mut())).await.expect("no end")
    {
        rest.extend_from_slice(&frame.unwrap().into_data().unwrap());
    }
    assert!(String::from_utf8_lossy(&rest[rest.len() - 200..]).contains("slow_consumer"));
}

/// Draining lets readers have what was accepted, for as long as they take it.
#[tokio::test]
async fn draining_does_not_wait_for_who_reads_nothing() {
    let serve: [fn(TcpListener, axum::Router); 2] = [
        |listener, router| drop(tokio::spawn(Server::new().serve(listener, router))),
        |listener, router| drop(tokio::spawn(axum::serve(listener, router).into_future())),
    ];
    for serve in serve {
        let mut stalled = stalled(serve).await;
        fill(&stalled.app).await;
        let drained = stalled.app.broker.drain(2 * PATIENCE);
        assert!(timeout(PATIENCE, drained).await.expect("it waits for the reader"));
        assert_eq!(timeout(PATIENCE, stalled.reasons.recv()).await.unwrap(), Some(CloseKind::SlowConsumer));
        stalled.app.until("freed", |stats| (stats.connections, stats.subscriptions) == (0, 0)).await;
    }
}
