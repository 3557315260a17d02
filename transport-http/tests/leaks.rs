//! A thousand publishers that leave within their body leave nothing behind. A program of its own: what it counts is the
//! process's.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::{fs, net::SocketAddr, time::Duration};

use axum::{Router, routing::any_service};
use fanfare_core::{Broker, policy::Open, subscription::Delivery};
use fanfare_http::{Publish, PublishConfig, Server};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    runtime::Handle,
    time::{sleep, timeout},
};

/// Nothing here takes this long unless it hangs.
const PATIENCE: Duration = Duration::from_secs(60);

fn sockets() -> usize {
    let links = fs::read_dir("/proc/self/fd").unwrap().flatten().map(|entry| fs::read_link(entry.path()));
    links.flatten().filter(|link| link.to_string_lossy().starts_with("socket:")).count()
}

fn tasks() -> usize {
    Handle::current().metrics().num_alive_tasks()
}

/// Returns when there are no more sockets and tasks than these.
async fn settled(before: (usize, usize)) {
    let settle = async {
        while sockets() > before.0 || tasks() > before.1 {
            sleep(Duration::from_millis(1)).await;
        }
    };
    let left = || format!("{:?} sockets and tasks, of {before:?}", (sockets(), tasks()));
    timeout(PATIENCE, settle).await.unwrap_or_else(|_| panic!("left behind: {}", left()));
}

fn head(length: usize) -> String {
    format!(
        "POST /publish?topic=log HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n"
    )
}

/// Publishes as one does who stays for the answer, and returns its status line.
async fn publish(address: SocketAddr, text: &str) -> String {
    let mut client = TcpStream::connect(address).await.unwrap();
    let request = format!("{}Connection: close\r\n\r\n{text}", head(text.len()));
    client.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(PATIENCE, client.read_to_string(&mut answer)).await.expect("no answer").unwrap();
    answer.lines().next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_thousand_that_leave_within_their_body_leave_nothing() {
    let builder = Broker::builder().policy(Open).limits(|limits| {
        limits.publishes_in_flight = 4;
        limits.commands_per_second = 1_000_000.try_into().unwrap();
        limits.commands_burst = 1_000_000.try_into().unwrap();
    });
    let broker = builder.start().await.unwrap();
    let handler = Publish::new(&broker).config(PublishConfig::new().at_once(8));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(Server::new().serve(listener, Router::new().route("/publish", any_service(handler))));
    let mut log = broker.subscribe("log").await.unwrap();
    let before = (sockets(), tasks());

    let head = format!("{}\r\n", head(10_000));
    for round in 0..1000 {
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(head.as_bytes()).await.unwrap();
        client.write_all(&vec![b'x'; round * 9]).await.unwrap();
        if round % 2 == 0 {
            // A reset in place of an orderly end.
            socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
        }
        drop(client);
        // Of those at once there may be few: others are refused before their body.
        if round % 8 == 7 {
            settled(before).await;
        }
    }
    settled(before).await;

    // None of their places is taken: as many as there are in all, one after the other.
    for number in 0..8 {
        let number = number.to_string();
        let status = publish(address, &number).await;
        assert!(status.contains(" 202 "), "{status}");
        match timeout(PATIENCE, log.recv()).await.expect("no message") {
            Some(Delivery::Message(message)) => assert_eq!(message.value.as_str(), Some(&*number)),
            other => panic!("{other:?}"),
        }
    }
}
