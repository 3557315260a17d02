//! What a browser gets: the page's files, what it has to know of the figures, and the events.

use std::time::{Duration, SystemTime};

use axum::{
    Json, Router,
    http::header::{CACHE_CONTROL, CONTENT_TYPE},
    response::IntoResponse,
    routing::{MethodRouter, any_service, get, get_service},
};
use fanfare::{
    Broker, TooManyFormats,
    http::Publish,
    sse::{Config, EventStream},
};
use serde::Serialize;

use crate::{
    figures::{CHARTS, Chart, TILES, Tile},
    publisher,
};

pub(crate) fn app(broker: &Broker) -> Result<Router, TooManyFormats> {
    let events = EventStream::new(broker)?.config(Config::new().retry(Duration::from_secs(1)));
    let script = |text| file("text/javascript", text);
    Ok(Router::new()
        .route("/events", get_service(events))
        .route("/publish", any_service(Publish::new(broker)))
        .route("/figures.json", get(about))
        .route("/", file("text/html; charset=utf-8", include_str!("../web/index.html")))
        .route("/style.css", file("text/css", include_str!("../web/style.css")))
        .route("/icon.svg", file("image/svg+xml", include_str!("../web/icon.svg")))
        .route("/dashboard.js", script(include_str!("../web/dashboard.js")))
        .route("/feed.js", script(include_str!("../web/feed.js")))
        .route("/model.js", script(include_str!("../web/model.js")))
        .route("/chart.js", script(include_str!("../web/chart.js")))
        .route("/tile.js", script(include_str!("../web/tile.js")))
        .route("/scale.js", script(include_str!("../web/scale.js")))
        .route("/svg.js", script(include_str!("../web/svg.js"))))
}

fn file(kind: &'static str, text: &'static str) -> MethodRouter {
    get(move || async move { ([(CONTENT_TYPE, kind), (CACHE_CONTROL, "no-cache")], text) })
}

/// What the page has to know before it draws.
#[derive(Serialize)]
struct About {
    host: String,
    /// The server's clock, so that the page can tell how old a value is: milliseconds since 1970.
    now_ms: u128,
    /// Where the values come from, and the samples.
    now: &'static str,
    past: &'static str,
    every_ms: u128,
    kept: usize,
    tiles: &'static [Tile],
    charts: &'static [Chart],
}

async fn about() -> impl IntoResponse {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let about = About {
        host: host.trim().to_owned(),
        now_ms: SystemTime::UNIX_EPOCH.elapsed().map_or(0, |time| time.as_millis()),
        now: publisher::NOW,
        past: publisher::PAST,
        every_ms: publisher::EVERY.as_millis(),
        kept: publisher::KEPT,
        tiles: TILES,
        charts: CHARTS,
    };
    ([(CACHE_CONTROL, "no-store")], Json(about))
}
