//! Streams that have taken their connection over from HTTP, and those that may not.

use std::time::Duration;

use axum::{
    http::{HeaderName, HeaderValue},
    middleware::map_response,
    response::Response,
};
use fanfare_core::{Broker, policy::Open, topic::TopicConfig};
use fanfare_sse::Config;

use crate::support::{App, Reader, Version, router, serve};

/// More than the buffers of both kernels and of HTTP hold.
const MANY: usize = 3000;

async fn app(config: Config) -> App {
    let topics = TopicConfig::new().queue_messages(2 * MANY);
    let limits = |limits: &mut fanfare_core::Limits| limits.queue_bytes = 64 << 20;
    let builder = Broker::builder().policy(Open).default_topic(topics).limits(limits);
    crate::support::app_with(builder, config).await
}

/// Each message once, in order, while the reader is slower than they come and faster; and then the end.
async fn delivers_all(app: &App, mut reader: Reader) {
    reader.begun().await;
    let payload = |number: usize| format!("{number} {}", "x".repeat(if number < MANY { 3000 } else { 3 }));
    for number in 0..MANY {
        app.broker.publish("t", payload(number)).await.unwrap();
    }
    for number in 0..MANY {
        assert_eq!(data(&mut reader).await, payload(number));
    }
    for number in MANY..MANY + 100 {
        app.broker.publish("t", payload(number)).await.unwrap();
        assert_eq!(data(&mut reader).await, payload(number));
    }
    app.broker.drain(Duration::from_secs(5)).await;
    assert_eq!(reader.next().await.name, "$close");
    // With an error, the body would not have been complete.
    reader.ended_well().await;
}

/// The payload of the next event, in either form.
async fn data(reader: &mut Reader) -> String {
    let event = reader.next().await;
    assert_eq!(event.name, "message", "{event:?}");
    match serde_json::from_str::<serde_json::Value>(&event.data) {
        Ok(frame) if frame.is_object() => frame["data"].as_str().unwrap().to_owned(),
        _ => event.data,
    }
}

fn is_own(reader: &Reader) -> bool {
    assert_eq!(reader.headers["transfer-encoding"], "chunked");
    reader.headers.get("connection").is_some_and(|value| value == "close")
}

#[tokio::test]
async fn over_http_1_1_a_stream_has_its_connection() {
    for query in ["topic=t", "topic=t&format=v1", "topic=t&topic=other"] {
        let app = app(Config::new()).await;
        let reader = app.reader(query).await;
        assert!(is_own(&reader), "{query}");
        delivers_all(&app, reader).await;
    }
}

#[tokio::test]
async fn and_has_not_where_a_layer_has_changed_the_response() {
    for query in ["topic=t", "topic=t&format=v1"] {
        let App { broker, .. } = app(Config::new()).await;
        let change = |mut response: Response| async {
            let encoding = HeaderName::from_static("content-encoding");
            response.headers_mut().insert(encoding, HeaderValue::from_static("identity"));
            response
        };
        let router = router(&broker, Config::new()).layer(map_response(change));
        let app = App { address: serve(router).await, broker };
        let reader = app.reader(query).await;
        assert!(!is_own(&reader), "{query}");
        delivers_all(&app, reader).await;
    }
}

#[tokio::test]
async fn http_2_keeps_its_connection() {
    let app = app(Config::new()).await;
    let reader = app.open(Version::Two, "topic=t", "").await;
    assert!(!reader.headers.contains_key("connection"));
    delivers_all(&app, reader).await;
}
