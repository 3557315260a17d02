use serde_json::json;
use tokio_tungstenite::tungstenite::{Error, http::HeaderMap};

use crate::support::{App, Nginx, WebSocket};

async fn connect(nginx: &Nginx) -> WebSocket {
    WebSocket::secure(&nginx.address, &nginx.certificate, "127.0.0.1", HeaderMap::new()).await.unwrap()
}

#[tokio::test]
async fn messages_pass_in_both_directions() {
    let app = App::start_twice(&[]);
    let Some(nginx) = Nginx::start([&app.addresses[0], &app.addresses[1]]) else { return };
    let (mut ann, mut bob) = (connect(&nginx).await, connect(&nginx).await);
    assert_eq!(ann.ask(r#"{"id":1,"subscribe":{"topic":"t"}}"#).await, json!({"id":1,"ok":{}}));
    for n in 0..50 {
        bob.ask(&format!(r#"{{"id":2,"publish":{{"topic":"t","data":{n}}}}}"#)).await;
        assert_eq!(ann.next().await.unwrap()["data"], n);
    }
}

#[tokio::test]
async fn pings_keep_a_silent_connection_open() {
    let app = App::start_twice(&["--ping", "400"]);
    let short = ("proxy_read_timeout 80s", "proxy_read_timeout 2s");
    let Some(nginx) = Nginx::start_with([&app.addresses[0], &app.addresses[1]], &[short]) else { return };
    let mut client = connect(&nginx).await;
    client.ask(r#"{"id":1,"subscribe":{"topic":"t"}}"#).await;
    // Somebody has to answer the pings.
    let silent = tokio::spawn(async move { client.next().await });
    tokio::time::sleep(std::time::Duration::from_secs(5)).await;
    WebSocket::plain(app.address()).await.ask(r#"{"id":1,"publish":{"topic":"t","data":"late"}}"#).await;
    assert_eq!(silent.await.unwrap().unwrap()["data"], "late");
}

#[tokio::test]
async fn the_clients_address_arrives_and_its_own_word_on_it_does_not() {
    let app = App::start_twice(&[]);
    let Some(nginx) = Nginx::start([&app.addresses[0], &app.addresses[1]]) else { return };
    let mut headers = HeaderMap::new();
    headers.insert("x-forwarded-for", "203.0.113.9".parse().unwrap());
    let opened = WebSocket::secure(&nginx.address, &nginx.certificate, "127.0.0.2", headers).await;
    let connected = opened.unwrap().ask(r#"{"id":1,"connect":{}}"#).await;
    assert_eq!(connected["ok"]["user"], "127.0.0.2");
}

#[tokio::test]
async fn pages_of_the_same_host_are_let_in_and_no_others() {
    let app = App::start_twice(&[]);
    let Some(nginx) = Nginx::start([&app.addresses[0], &app.addresses[1]]) else { return };
    let origin =
        |origin: String| HeaderMap::from_iter([("origin".parse().unwrap(), origin.parse().unwrap())]);
    let own = origin(format!("https://{}", nginx.address));
    let foreign = origin("https://evil.example".into());
    WebSocket::secure(&nginx.address, &nginx.certificate, "127.0.0.1", own).await.unwrap();
    let refused = WebSocket::secure(&nginx.address, &nginx.certificate, "127.0.0.1", foreign).await;
    let Err(Error::Http(response)) = refused else { panic!("a foreign page was let in") };
    assert_eq!(response.status(), 403);
}

#[tokio::test]
async fn who_loses_its_server_comes_back_on_the_other() {
    let mut apps = [App::start(&[]), App::start(&[])];
    let Some(nginx) = Nginx::start([apps[0].address(), apps[1].address()]) else { return };
    // Turn by turn: of two connections one is on each.
    let mut clients = [connect(&nginx).await, connect(&nginx).await];
    for client in &mut clients {
        client.ask(r#"{"id":1,"subscribe":{"topic":"t"}}"#).await;
    }
    apps[0].kill();
    let mut survivor = WebSocket::plain(apps[1].address()).await;
    survivor.ask(r#"{"id":1,"publish":{"topic":"t","data":1}}"#).await;
    let mut lost = 0;
    for client in &mut clients {
        lost += usize::from(client.next().await.is_none());
    }
    assert_eq!(lost, 1);
    // Whichever turn it is.
    for _ in 0..4 {
        let mut back = connect(&nginx).await;
        back.ask(r#"{"id":1,"subscribe":{"topic":"t"}}"#).await;
        survivor.ask(r#"{"id":1,"publish":{"topic":"t","data":2}}"#).await;
        assert_eq!(back.next().await.unwrap()["data"], 2);
    }
}

#[tokio::test]
async fn a_server_that_drains_sends_its_clients_to_the_other() {
    let mut apps = [App::start(&[]), App::start(&[])];
    let Some(nginx) = Nginx::start([apps[0].address(), apps[1].address()]) else { return };
    let mut clients = [connect(&nginx).await, connect(&nginx).await];
    for client in &mut clients {
        client.ask(r#"{"id":1,"subscribe":{"topic":"t"}}"#).await;
    }
    apps[0].terminate();
    assert!(apps[0].ended().await.success());
    WebSocket::plain(apps[1].address()).await.ask(r#"{"id":1,"publish":{"topic":"t","data":1}}"#).await;
    let mut told = 0;
    for client in &mut clients {
        let frame = client.next().await.unwrap();
        if frame["close"]["code"] == 4200 {
            assert!(frame["close"]["retry_ms"].is_u64(), "{frame}");
            told += 1;
        } else {
            assert_eq!(frame["data"], 1);
        }
    }
    assert_eq!(told, 1);
    connect(&nginx).await.ask(r#"{"id":1,"ping":{}}"#).await;
}
