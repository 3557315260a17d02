//! The endpoint within others: compression that must not hold events back, and CORS.

use axum::{
    Router,
    routing::{get, get_service},
};
use fanfare_core::{Broker, policy::Open};
use fanfare_sse::{Config, EventStream};
use http::Request;
use http_body_util::Empty;
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
