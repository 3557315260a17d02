//! Clients that leave in the middle.

use std::time::Duration;

use fanfare_http::PublishConfig;

use crate::support::{Client, app_with, open, post};

/// The files that this process has open: sockets among them.
fn files() -> usize {
    std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

#[tokio::test]
async fn a_thousand_that_leave_within_their_body_leave_nothing() {
    let builder = open().limits(|limits| {
        limits.publishes_in_flight = 4;
        limits.commands_per_second = 1_000_000.try_into().unwrap();
        limits.commands_burst = 1_000_000.try_into().unwrap();
    });
    let app = app_with(builder, PublishConfig::new().at_once(8)).await;
    let mut log = app.broker.subscribe("log").await.unwrap();
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = (files(), tasks());
    let head = post("topic=log").header("content-type", "text/plain").head("Content-Length: 10000\r\n");
    for round in 0..1000 {
        let mut client = Client::connect(app.address).await;
        client.send(head.as_bytes()).await;
        client.send(&vec![b'x'; round * 9]).await;
        if round % 2 == 0 {
            // A reset in place of an orderly end.
            socket2::SockRef::from(&client.0).set_linger(Some(Duration::ZERO)).unwrap();
        }
        drop(client);
        // Of those at once there may be few: others are refused before their body.
        if round % 8 == 7 {
            while tasks() > before.1 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    }
    while (files(), tasks()) != before {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    for number in 0..8 {
        assert_eq!(post("topic=log").text(&number.to_string()).to(&app).await.status, 202);
        assert_eq!(crate::support::next(&mut log).await.value.as_str(), Some(&*number.to_string()));
    }
}
