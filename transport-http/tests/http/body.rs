//! How a body comes in: announced, in chunks, slowly, too long.

use std::time::Duration;

use fanfare_http::PublishConfig;

use crate::support::{Client, app, app_with, next, open, post};

#[tokio::test]
async fn too_long_a_body_is_refused_before_any_of_it_is_sent() {
    let app = app().await;
    let mut client = Client::connect(app.address).await;
    client
        .send(
            post("topic=t").header("content-type", "text/plain").head("Content-Length: 65537\r\n").as_bytes(),
        )
        .await;
    let answer = client.answer().await;
    assert_eq!(answer.fault(), (413, "too_large", "data"));
    assert_eq!(
        (&answer.body["error"]["limit"], &answer.body["error"]["value"]),
        (&65536.into(), &65537.into())
    );
    // Nobody waits for the rest of it.
    client.closed().await;
}

/// A proxy sends the whole request before it looks for an answer, and takes a connection on which it cannot for a broken one.
#[tokio::test]
async fn who_goes_on_sending_too_long_a_body_is_not_cut_off() {
    let app = app().await;
    let mut client = Client::connect(app.address).await;
    let head = post("topic=t").header("content-type", "text/plain").head("Content-Length: 1000000\r\n");
    client.send(head.as_bytes()).await;
    assert_eq!(client.answer().await.fault(), (413, "too_large", "data"));
    for _ in 0..1000 {
        client.send(&[b'x'; 1000]).await;
    }
    client.closed().await;
}

#[tokio::test]
async fn a_body_in_chunks_is_counted_while_it_comes() {
    let app = app().await;
    let mut subscription = app.broker.subscribe("t").await.unwrap();
    let head = post("topic=t").header("content-type", "text/plain").head("Transfer-Encoding: chunked\r\n");
    let mut client = Client::connect(app.address).await;
    client.send(head.as_bytes()).await;
    client.send(b"5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nTrailer: x\r\n\r\n").await;
    assert_eq!(client.answer().await.status, 202);
    assert_eq!(next(&mut subscription).await.value.as_str(), Some("hello world"));

    client.send(head.as_bytes()).await;
    for _ in 0..65 {
        client.send(format!("400\r\n{}\r\n", "x".repeat(1024)).as_bytes()).await;
    }
    // The end of the body has not come, and is not waited for.
    let answer = client.answer().await;
    assert_eq!(answer.fault(), (413, "too_large", "data"));
    assert!(answer.body["error"]["value"].as_u64().unwrap() > 65536);
}

#[tokio::test]
async fn a_client_that_asks_first_is_told_to_go_on_or_refused() {
    let app = app().await;
    let ask = |length: usize| {
        let head = format!("Content-Length: {length}\r\nExpect: 100-continue\r\n");
        post("topic=t").header("content-type", "text/plain").head(&head)
    };
    let mut client = Client::connect(app.address).await;
    client.send(ask(5).as_bytes()).await;
    assert_eq!(client.answer().await.status, 100);
    client.send(b"hello").await;
    assert_eq!(client.answer().await.status, 202);
    // The first and only answer.
    client.send(ask(70_000).as_bytes()).await;
    assert_eq!(client.answer().await.status, 413);
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let config = PublishConfig::new().body_timeout(Duration::from_millis(200));
    let app = app_with(open(), config).await;
    let mut client = Client::connect(app.address).await;
    let head = post("topic=t").header("content-type", "text/plain").head("Content-Length: 5\r\n");
    client.send([head.as_bytes(), b"hell"].concat().as_slice()).await;
    let answer = client.answer().await;
    assert_eq!(answer.fault(), (408, "bad_request", "data"));
    assert_eq!(answer.body["error"]["retry"], true);
    client.closed().await;
}
