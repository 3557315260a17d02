//! 10,000 streams that are opened and abruptly closed leave nothing behind. A program of its own: what it counts is the
//! process's.
#![allow(missing_docs, clippy::unwrap_used)]

use std::{fs, time::Duration};

use axum::{Router, routing::get_service};
use fanfare_core::{Broker, policy::Open, topic::TopicConfig};
use fanfare_http::Server;
use fanfare_sse::EventStream;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    runtime::Handle,
    task::JoinSet,
    time::timeout,
};

const STREAMS: usize = 10_000;
const AT_ONCE: usize = 250;

fn sockets() -> usize {
    let links = fs::read_dir("/proc/self/fd").unwrap().flatten().map(|entry| fs::read_link(entry.path()));
    links.flatten().filter(|link| link.to_string_lossy().starts_with("socket:")).count()
}

fn tasks() -> usize {
    Handle::current().metrics().num_alive_tasks()
}

#[tokio::test]
async fn ten_thousand_streams_leave_nothing() {
    let builder = Broker::builder().policy(Open).topic("log", TopicConfig::new().history(10));
    let broker = builder.start().await.unwrap();
    let router = Router::new().route("/events", get_service(EventStream::new(&broker).unwrap()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(Server::new().serve(listener, router));
    tokio::task::yield_now().await;
    let (sockets_before, tasks_before) = (sockets(), tasks());

    let mut opened = JoinSet::new();
    for n in 0..STREAMS {
        if opened.len() == AT_ONCE {
            opened.join_next().await.unwrap().unwrap();
        }
        if n % 100 == 0 {
            broker.publish("log", "x".repeat(1000)).await.unwrap();
        }
        opened.spawn(async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            if n % 2 == 0 {
                // Reset instead of an end in good order.
                socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
            }
            let query = ["topic=log", "topic=log&topic=a.*&topic=b", "topic=log&last=5"][n % 3];
            let request = format!("GET /events?{query} HTTP/1.1\r\nHost: x\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            if n % 5 > 0 {
                // Some are gone before the answer.
                let mut answer = [0; 15];
                stream.read_exact(&mut answer).await.unwrap();
                assert_eq!(&answer, b"HTTP/1.1 200 OK");
            }
        });
    }
    while let Some(done) = opened.join_next().await {
        done.unwrap();
    }
    let left = || {
        let stats = broker.stats();
        let held = (stats.connections, stats.subscriptions, stats.queued, stats.queued_bytes, stats.topics);
        (held, sockets() - sockets_before, tasks().saturating_sub(tasks_before))
    };
    let settle = async {
        while left() != ((0, 0, 0, 0, 0), 0, 0) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(60), settle).await.unwrap_or_else(|_| panic!("left behind: {:?}", left()));
}
