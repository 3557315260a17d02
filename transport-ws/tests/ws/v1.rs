//! The wire format v1 between two clients.

use serde_json::json;

use crate::support::app;

#[tokio::test]
async fn a_message_goes_from_one_client_to_another() {
    let app = app().await;
    let (mut ann, mut bob) = (app.client().await, app.client().await);
    assert_eq!(ann.ask(r#"{"id":1,"subscribe":{"topic":"chat"}}"#).await, json!({"id":1,"ok":{}}));
    assert_eq!(bob.ask(r#"{"id":7,"publish":{"topic":"chat","data":{"text":"hi"}}}"#).await["ok"], json!({}));
    let message = ann.frame().await;
    assert_eq!((&message["topic"], &message["data"]), (&json!("chat"), &json!({"text":"hi"})));
}
