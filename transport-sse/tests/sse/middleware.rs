//! The endpoint within others: compression that must not hold events back, and CORS.

use axum::{
    Router,
    routing::{get, get_service},
};
use fanfare_core::{Broker, policy::Open};
use fanfare_sse::{Config, EventStream};
use http::Request;
use http_body_util::{BodyExt, Empty};
use tower_http::{compression::CompressionLayer, cors::CorsLayer};

use crate::support::{App, Version, router, send, serve};

#[tokio::test]
async fn compression_holds_nothing_back() {
    let broker = Broker::builder().policy(Open).start().await.unwrap();
    let router = router(&broker, Config::new())
        .route("/page", get(|| async { "compress me ".repeat(1000) }))
        .layer(CompressionLayer::new());
    let app = App { address: serve(router).await, broker };
    let asking = |path: &str| {
        let request = Request::get(format!("http://{}{path}", app.address)).header("Accept-Encoding", "gzip");
        send(Version::One, app.address, request.body(Empty::new()).unwrap())
    };
    let (page, _connection) = asking("/page").await;
    assert_eq!(page.headers()["content-encoding"], "gzip", "the layer is at work");
    let (events, _connection) = asking("/events?topic=t").await;
    assert!(!events.headers().contains_key("content-encoding"));
    let mut reader = app.reader("topic=t").await;
    reader.begun().await;
    app.broker.publish("t", "small").await.unwrap();
    assert_eq!(reader.pair().await.1, "small");
}

#[tokio::test]
async fn cors_is_towers() {
    let broker = Broker::builder().policy(Open).start().await.unwrap();
    let origin = "https://app.example".parse::<http::HeaderValue>().unwrap();
    let router = router(&broker, Config::new()).layer(CorsLayer::new().allow_origin(origin));
    let app = App { address: serve(router).await, broker };
    for (origin, allowed) in [("https://app.example", true), ("https://other.example", false)] {
        let request = Request::get(format!("http://{}/events?topic=t", app.address)).header("Origin", origin);
        let (response, _connection) =
            send(Version::One, app.address, request.body(Empty::new()).unwrap()).await;
        let header = response.headers().get("access-control-allow-origin");
        assert_eq!(header.is_some_and(|header| header == origin), allowed, "{origin}");
    }
}

#[tokio::test]
async fn each_way_of_axum_works() {
    let mount = |router: fn(EventStream) -> Router| async move {
        let broker = Broker::builder().policy(Open).start().await.unwrap();
        let events = EventStream::new(&broker).unwrap();
        let app = App { address: serve(router(events)).await, broker };
        let mut reader = app.reader("topic=t").await;
        reader.begun().await;
        app.broker.publish("t", "x").await.unwrap();
        assert_eq!(reader.pair().await.1, "x");
    };
    mount(|events| Router::new().route_service("/events", events)).await;
    mount(|events| Router::new().route("/events", get_service(events))).await;
    #[cfg(feature = "axum")]
    mount(|events| Router::new().route("/events", get(events))).await;
}

/// A stream of one topic takes its connection over from HTTP where it is asked for in HTTP/1.1 and the server grants it; a layer
/// that makes another response of it keeps it from that, and changes nothing else.
#[tokio::test]
async fn past_http_or_not_the_events_are_the_same() {
    let direct = crate::support::app().await;
    let broker = Broker::builder().policy(Open).start().await.unwrap();
    let forgetful = axum::middleware::map_response(|mut response: axum::response::Response| async move {
        response.extensions_mut().clear();
        response
    });
    let router = router(&broker, Config::new()).layer(forgetful);
    let by_http = App { address: serve(router).await, broker };
    for (app, is_taken) in [(direct, true), (by_http, false)] {
        let mut reader = app.reader("topic=t").await;
        let is_closed = reader.headers.get("connection").is_some_and(|value| value == "close");
        assert_eq!(is_closed, is_taken, "{:?}", reader.headers);
        reader.begun().await;
        for payload in ["small", "", &"x".repeat(20_000)] {
            app.broker.publish("t", payload).await.unwrap();
            assert_eq!(reader.pair().await.1, payload);
        }
        app.broker.drain(crate::support::PATIENCE).await;
        assert_eq!(reader.next().await.name, "$close");
        reader.ended().await;
    }
}

/// A layer that reads the body in a task of its own hands on what it read: the events pass through it, and not by it.
#[tokio::test]
async fn a_layer_that_reads_the_body_elsewhere_is_not_passed_by() {
    let broker = Broker::builder().policy(Open).start().await.unwrap();
    let shouting = axum::middleware::map_response(|response: axum::response::Response| async {
        let (parts, mut body) = response.into_parts();
        let (sender, receiver) = tokio::sync::mpsc::channel(1);
        tokio::spawn(async move {
            // As a layer does that waits for something of its own: the head is written meanwhile.
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            while let Some(Ok(frame)) = body.frame().await {
                let shouted = frame.into_data().unwrap().to_ascii_uppercase();
                let shouted = String::from_utf8(shouted).unwrap().replace("DATA:", "data:").into_bytes();
                if sender.send(shouted).await.is_err() {
                    return;
                }
            }
        });
        let read = futures_util::stream::unfold(receiver, |mut receiver| async move {
            let piece: Vec<u8> = receiver.recv().await?;
            Some((Ok::<_, std::convert::Infallible>(piece), receiver))
        });
        axum::response::Response::from_parts(parts, axum::body::Body::from_stream(read))
    });
    let router = router(&broker, Config::new()).layer(shouting);
    let app = App { address: serve(router).await, broker };
    let mut reader = app.reader("topic=t").await;
    reader.read().await;
    app.broker.publish("t", "quiet").await.unwrap();
    assert_eq!(reader.pair().await.1, "QUIET");
}

/// The comment of a stream that fan-out writes.
#[tokio::test]
async fn a_silent_stream_past_http_says_that_it_is_there() {
    let ping = std::time::Duration::from_millis(300);
    let app =
        crate::support::app_with(Broker::builder().policy(Open).ping_interval(ping), Config::new()).await;
    let mut reader = app.reader("topic=t").await;
    while reader.parser.comments < 2 {
        reader.read().await;
    }
    assert_eq!(app.broker.stats().connections, 1);
}
