//! What is refused, and how that is said.

use fanfare_core::{Broker, policy::Rules, topic::TopicConfig};
use fanfare_sse::Config;
use http::Request;
use http_body_util::Empty;
use serde_json::{Value, json};

use crate::support::{App, Version, app, app_with, send};

async fn strict() -> App {
    let rules = Rules::new().subscribe("open.>").unwrap();
    let builder = Broker::builder().policy(rules).topic("open.log", TopicConfig::new().history(10));
    app_with(builder, Config::new().max_topics(3)).await
}

fn said(error: &Value) -> (&str, &str) {
    (error["code"].as_str().unwrap(), error["field"].as_str().unwrap_or_default())
}

#[tokio::test]
async fn a_request_that_makes_no_sense_is_told_which_field() {
    let app = strict().await;
    for (query, field) in [
        ("", "topic"),
        ("token=x", "topic"),
        ("topic=open.a&topic=open.a", "topic"),
        ("topic=open.a&format=v2", "format"),
        ("topic=open.log&last=0", "last"),
        ("topic=open.log&last=-1", "last"),
        ("topic=open.log&last=x", "last"),
        ("topic=open.log&latest=perhaps", "latest"),
        ("topic=open.log&last=1&latest=true", "latest"),
        ("topic=open.log&after=nonsense", "after"),
        ("topic=open.log&after=", "after"),
        ("topic=open.log&after=k:1&after=k:2", "after"),
        ("after=k:1&topic=open.log&topic=open.a", "after"),
        ("topic=open.a&latest=true", "topic"),
        ("topic=open.*&last=3", "topic"),
        ("topic=open.*&after=k:1", "topic"),
    ] {
        let (status, error) = app.refusal(query).await;
        assert_eq!((status, said(&error)), (400, ("bad_request", field)), "{query}: {error}");
    }
    for (query, code, status) in [
        ("topic=", "invalid_topic", 400),
        ("topic=open..a", "invalid_topic", 400),
        ("topic=open.%20", "invalid_topic", 400),
        ("topic=secret", "forbidden", 403),
        ("topic=%24client.x", "forbidden", 403),
        ("topic=%3E", "forbidden", 403),
    ] {
        let (answered, error) = app.refusal(query).await;
        assert_eq!((answered, said(&error)), (status, (code, "topic")), "{query}: {error}");
    }
    assert_eq!(app.broker.stats().subscriptions, 0);
}

#[tokio::test]
async fn limits_are_told_with_what_passed_them() {
    let app = strict().await;
    let (status, error) = app.refusal("topic=open.a&topic=open.b&topic=open.c&topic=open.d").await;
    assert_eq!((status, said(&error)), (400, ("limit_exceeded", "topic")));
    assert_eq!((&error["limit"], &error["value"]), (&json!(3), &json!(4)));

    let long = "a".repeat(5000);
    let (status, error) = app.refusal(&format!("topic=open.a&after={long}")).await;
    assert_eq!((status, said(&error)), (400, ("too_large", "after")));
    assert!(error["limit"].as_u64().unwrap() < 200 && error["value"] == 5000, "{error}");

    let (status, error) = app.refusal(&format!("topic={}", "a".repeat(300))).await;
    assert_eq!((status, said(&error)), (400, ("invalid_topic", "topic")));
    assert_eq!((&error["limit"], &error["value"]), (&json!(255), &json!(300)));
}

#[tokio::test]
async fn one_bad_topic_refuses_all_and_is_named() {
    let app = strict().await;
    let (status, error) = app.refusal("topic=open.a&topic=secret.x&topic=open.b").await;
    assert_eq!((status, said(&error)), (403, ("forbidden", "topic")));
    assert!(error["message"].as_str().unwrap().starts_with("secret.x: "), "{error}");
    app.until("rolled back", |stats| stats.subscriptions == 0 && stats.connections == 0).await;
}

#[tokio::test]
async fn a_last_event_id_that_was_never_given_out_is_refused() {
    let app = strict().await;
    for (query, id) in
        [("topic=open.log", "nonsense"), ("topic=open.log", "AQ"), ("topic=open.log&topic=open.a", "k3f9:4")]
    {
        let request =
            Request::get(format!("http://{}/events?{query}", app.address)).header("Last-Event-ID", id);
        let (status, error) = app.ask(request.body(Empty::new()).unwrap()).await;
        assert_eq!((status, said(&error)), (400, ("bad_request", "Last-Event-ID")), "{id}");
    }
    let request = Request::get(format!("http://{}/events?topic=open.log", app.address));
    let request = request.header("Last-Event-ID", &b"\xff"[..]).body(Empty::new()).unwrap();
    assert_eq!(said(&app.ask(request).await.1).1, "Last-Event-ID");
}

#[tokio::test]
async fn other_methods_are_told_which_there_are() {
    let app = app().await;
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        let uri = format!("http://{}/events?topic=t", app.address);
        let request = Request::builder().method(method).uri(uri).body(Empty::new()).unwrap();
        let (response, _connection) = send(Version::One, app.address, request).await;
        assert_eq!(response.status(), 405);
        assert_eq!(response.headers()["allow"], "GET, HEAD");
    }
}

#[tokio::test]
async fn head_says_what_get_would_and_opens_nothing() {
    let app = strict().await;
    for version in [Version::One, Version::Two] {
        for (query, status) in [("topic=open.a", 200), ("topic=secret", 403), ("", 400)] {
            let request = Request::head(format!("http://{}/events?{query}", app.address));
            let (response, _connection) =
                send(version, app.address, request.body(Empty::new()).unwrap()).await;
            assert_eq!(response.status(), status, "{query}");
            if status == 200 {
                assert_eq!(response.headers()["content-type"], "text/event-stream");
                assert!(!response.headers().contains_key("content-length"));
            }
        }
    }
    app.until("closed", |stats| stats.connections == 0 && stats.subscriptions == 0).await;
}

#[tokio::test]
async fn headers_beyond_the_limits_are_answered_431() {
    let config = Config::new().max_headers(10, 2000);
    let app = app_with(Broker::builder().policy(fanfare_core::policy::Open), config).await;
    let request = || Request::get(format!("http://{}/events?topic=t", app.address));
    let many = (0..11).fold(request(), |request, n| request.header(format!("x-{n}"), "1"));
    let long = request().header("x", "1".repeat(3000));
    for (request, limit) in [(many, 10), (long, 2000)] {
        let (status, error) = app.ask(request.body(Empty::new()).unwrap()).await;
        assert_eq!((status, said(&error)), (431, ("too_large", "headers")));
        assert!(error["limit"] == limit && error["value"].as_u64().unwrap() > limit, "{error}");
    }
}

#[tokio::test]
async fn as_many_as_there_may_be_is_503_or_429() {
    let builder = Broker::builder().policy(fanfare_core::policy::Open);
    let app = app_with(builder.limits(|limits| limits.connections = 1), Config::new()).await;
    let held = app.reader("topic=t").await;
    let (status, error) = app.refusal("topic=t").await;
    assert_eq!((status, error["code"].as_str()), (503, Some("limit_exceeded")));
    drop(held);
    app.until("free again", |stats| stats.connections == 0).await;
    app.reader("topic=t").await;

    let builder = Broker::builder().policy(fanfare_core::policy::Open);
    let app =
        app_with(builder.limits(|limits| limits.connections_per_address = Some(1)), Config::new()).await;
    let _held = app.reader("topic=t").await;
    assert_eq!(app.refusal("topic=t").await.0, 429);
}

/// It would never come back after a 503, and page after page would fall silent when a server restarts.
#[tokio::test]
async fn an_event_source_is_asked_to_come_back_instead() {
    let builder = Broker::builder().policy(fanfare_core::policy::Open);
    let app = app_with(builder.limits(|limits| limits.connections = 1), Config::new()).await;
    let ask = async || {
        let request = Request::get(format!("http://{}/events?topic=t", app.address));
        let request = request.header("Accept", "text/event-stream").body(Empty::new()).unwrap();
        let (response, _connection) = send(Version::One, app.address, request).await;
        assert_eq!(
            (response.status().as_u16(), &response.headers()["content-type"]),
            (200, &"text/event-stream".parse().unwrap())
        );
        let body = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
        let mut parser = crate::parser::Parser::default();
        let events = parser.push(&body);
        assert_eq!((events.len(), &*events[0].name), (1, "$close"));
        let frame: Value = serde_json::from_str(&events[0].data).unwrap();
        assert_eq!(parser.retry, frame["close"]["retry_ms"].as_u64());
        assert!((1000..=3000).contains(&parser.retry.unwrap()));
        frame["close"]["name"].as_str().unwrap().to_owned()
    };
    let held = app.reader("topic=t").await;
    assert_eq!(ask().await, "connection_limit");
    drop(held);
    app.broker.drain(std::time::Duration::from_secs(1)).await;
    assert_eq!(ask().await, "draining");
    // Who can read a status gets one, and what lasts is a status for everybody.
    assert_eq!(app.refusal("topic=t").await.0, 503);
    let request =
        Request::get(format!("http://{}/events", app.address)).header("Accept", "text/event-stream");
    assert_eq!(app.ask(request.body(Empty::new()).unwrap()).await.0, 400);
}
