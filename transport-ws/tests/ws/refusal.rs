//! Handshakes that are refused, by HTTP or by a close code.

use fanfare_core::{Broker, policy::Open};
use fanfare_ws::Config;
use http::header::{HeaderName, ORIGIN, SEC_WEBSOCKET_PROTOCOL};
use tokio_tungstenite::tungstenite::{self, client::IntoClientRequest};

use crate::{
    policy::Tokens,
    support::{App, Client, app, app_with},
};

async fn with_header(app: &App, name: HeaderName, value: &str) -> Result<Client, tungstenite::Error> {
    let mut request = format!("ws://{}/ws", app.address).into_client_request().unwrap();
    request.headers_mut().insert(name, value.parse().unwrap());
    tokio_tungstenite::connect_async(request).await.map(|(stream, _)| Client(stream))
}

#[tokio::test]
async fn a_foreign_page_is_refused() {
    let app = app().await;
    let Err(tungstenite::Error::Http(response)) = with_header(&app, ORIGIN, "https://evil.example").await
    else {
        panic!("let in");
    };
    assert_eq!(response.status(), 403);
    with_header(&app, ORIGIN, &format!("http://{}", app.address)).await.unwrap();
}

#[tokio::test]
async fn an_unknown_subprotocol_is_accepted_and_closed() {
    let app = app().await;
    let mut client = with_header(&app, SEC_WEBSOCKET_PROTOCOL, "fanfare.v9").await.unwrap();
    let (code, last) = client.closed().await;
    assert_eq!((code, &last["close"]["name"]), (4002, &"unsupported_version".into()));
    let mut client = with_header(&app, SEC_WEBSOCKET_PROTOCOL, "fanfare.v9, fanfare.v1").await.unwrap();
    assert_eq!(client.ask(r#"{"id":1,"ping":{}}"#).await["id"], 1);
}

#[tokio::test]
async fn a_policys_no_is_a_close_code() {
    let app = app_with(Broker::builder().policy(Tokens), Config::new()).await;
    let mut client = app.open("/ws?token=wrong").await.unwrap();
    assert_eq!(client.closed().await.0, 4001);
    let mut client = app.open("/ws?token=mallory").await.unwrap();
    let (code, last) = client.closed().await;
    assert_eq!((code, &last["close"]["message"]), (4003, &"you are known here".into()));
    let mut client = app.client().await;
    client.send(r#"{"id":1,"connect":{"token":"wrong"}}"#).await;
    assert_eq!(client.closed().await.0, 4001);
}

#[tokio::test]
async fn a_full_server_answers_503_and_a_full_address_closes() {
    let builder = Broker::builder().policy(Open).limits(|limits| limits.connections = 1);
    let app = app_with(builder, Config::new()).await;
    let first = app.client().await;
    let (status, body) = app.refusal("/ws").await;
    assert_eq!((status, &body["error"]["limit"]), (503, &1.into()));
    drop(first);

    let builder = Broker::builder().policy(Open).limits(|limits| limits.connections_per_address = Some(1));
    let app = app_with(builder, Config::new()).await;
    let _first = app.client().await;
    assert_eq!(app.client().await.closed().await.0, 4102);
    assert_eq!(app.refusal("/ws?topic=t").await.0, 429);
}

#[tokio::test]
async fn a_place_is_free_again_when_its_client_has_left() {
    let builder = Broker::builder().policy(Open).limits(|limits| limits.connections = 1);
    let app = app_with(builder, Config::new()).await;
    for _ in 0..20 {
        let mut client = app.client().await;
        client.0.close(None).await.unwrap();
        assert!(client.next().await.is_close());
        while app.broker.stats().connections > 0 {
            tokio::task::yield_now().await;
        }
    }
}
