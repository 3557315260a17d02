//! Plain mode: frames are payloads.

use fanfare_core::{Broker, policy::Open, subscription::Delivery};
use fanfare_ws::Config;
use futures_util::SinkExt;
use tokio_tungstenite::tungstenite::Message;

use crate::{
    policy::Tokens,
    support::{app, app_with},
};

#[tokio::test]
async fn frames_are_payloads_in_both_directions() {
    let app = app().await;
    let mut reader = app.open("/ws?topic=news").await.unwrap();
    let mut writer = app.open("/ws?topic=news").await.unwrap();
    app.broker.publish("news", "from the app").await.unwrap();
    writer.send("text").await;
    writer.0.send(Message::binary(vec![1, 2, 3])).await.unwrap();
    for client in [&mut reader, &mut writer] {
        assert_eq!(client.next().await, Message::text("from the app"));
        assert_eq!(client.next().await, Message::text("text"));
        assert_eq!(client.next().await, Message::binary(vec![1, 2, 3]));
    }
}

#[tokio::test]
async fn what_is_for_the_client_itself_is_not_taken_for_the_topics() {
    let app = app().await;
    let mut plain = app.open("/ws?topic=news").await.unwrap();
    let mut v1 = app.open("/ws").await.unwrap();
    v1.send(r#"{"id":1,"ping":{}}"#).await;
    v1.next().await;
    app.broker.publish("$all", "for everybody").await.unwrap();
    app.broker.publish("news", "for the topic").await.unwrap();
    assert_eq!(plain.next().await, Message::text("for the topic"));
    let Message::Text(frame) = v1.next().await else { panic!("no text") };
    let frame: serde_json::Value = serde_json::from_str(&frame).unwrap();
    assert_eq!((&frame["topic"], &frame["data"]), (&"$all".into(), &"for everybody".into()));
}

#[tokio::test]
async fn a_topic_is_decoded_from_the_query() {
    let app = app().await;
    let mut messages = app.broker.subscribe("räume.eins+zwei").await.unwrap();
    let mut client = app.open("/ws?a=b&topic=r%C3%A4ume.eins%2Bzwei").await.unwrap();
    client.send("hi").await;
    let Some(Delivery::Message(message)) = messages.recv().await else { panic!("no message") };
    assert_eq!(message.value.as_str(), Some("hi"));
}

#[tokio::test]
async fn refusals_are_statuses() {
    let app = app_with(Broker::builder().policy(Tokens), Config::new()).await;
    for (path, status, code) in [
        ("/ws?topic=t", 401, "unauthenticated"),
        ("/ws?topic=t&token=wrong", 401, "unauthenticated"),
        ("/ws?topic=t&token=mallory", 403, "forbidden"),
        ("/ws?topic=secret&token=ann", 403, "forbidden"),
        ("/ws?topic=a..b&token=ann", 400, "invalid_topic"),
        ("/ws?topic=&token=ann", 400, "invalid_topic"),
    ] {
        let (found, body) = app.refusal(path).await;
        assert_eq!((found, &body["error"]["code"]), (status, &code.into()), "{path}");
    }
    assert_eq!(app.broker.stats().connections, 0);
    app.open("/ws?topic=t&token=ann").await.unwrap();
}

#[tokio::test]
async fn gaps_and_errors_are_not_shown() {
    let app = app_with(
        Broker::builder().policy(Open).limits(|limits| limits.max_message = 4),
        Config::new().max_message(1000),
    )
    .await;
    let mut client = app.open("/ws?topic=t").await.unwrap();
    client.send("too long").await;
    client.send("fits").await;
    assert_eq!(client.next().await, Message::text("fits"));
}
