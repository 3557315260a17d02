//! Each way for a request to be wrong, and what it is told.

use fanfare_http::PublishConfig;
use serde_json::json;

use crate::support::{Post, app, app_with, open, post};

#[tokio::test]
async fn each_fault_has_its_status_code_and_field() {
    let app = app().await;
    let long = "x".repeat(300);
    let faults: Vec<(Post, u16, &str, &str)> = vec![
        (post("topic=t").method("GET"), 405, "bad_request", "method"),
        (post("topic=t").method("PUT").text("x"), 405, "bad_request", "method"),
        (post("").text("x"), 400, "bad_request", "topic"),
        (post("topic=").text("x"), 400, "invalid_topic", "topic"),
        (post("topic=a..b").text("x"), 400, "invalid_topic", "topic"),
        (post("topic=a.*").text("x"), 400, "invalid_topic", "topic"),
        (post("topic=%FF").text("x"), 400, "bad_request", "topic"),
        (post(&format!("topic={long}")).text("x"), 400, "invalid_topic", "topic"),
        (post("topic=$all").text("x"), 403, "forbidden", "topic"),
        (post(&"topic=a&".repeat(17)).text("x"), 400, "limit_exceeded", "topics"),
        (post("topic=t&event=a&event=b").text("x"), 400, "bad_request", "event"),
        (post(&format!("topic=t&event={long}")).text("x"), 413, "too_large", "event"),
        (post("topic=t&event=$gap").text("x"), 400, "bad_request", "event"),
        (post("topic=t&event=a%0Ab").text("x"), 400, "bad_request", "event"),
        (post(&format!("topic=t&key={long}")).text("x"), 413, "too_large", "key"),
        (post("topic=t&report=perhaps").text("x"), 400, "bad_request", "report"),
        (post(&format!("topic=t&x={}", "x".repeat(9000))).text("x"), 414, "too_large", "query"),
        (
            post("topic=log").header("idempotency-key", "\"open").text("x"),
            400,
            "bad_request",
            "idempotency-key",
        ),
        (post("topic=log").header("idempotency-key", &long).text("x"), 413, "too_large", "message_id"),
        (post("topic=t"), 415, "bad_request", "content-type"),
        (
            post("topic=t").body("application/x-www-form-urlencoded", "a=b"),
            415,
            "bad_request",
            "content-type",
        ),
        (
            post("topic=t").body("multipart/form-data; boundary=x", "--x--"),
            415,
            "bad_request",
            "content-type",
        ),
        (post("topic=t").body("text/plain; charset=latin1", "x"), 415, "bad_request", "content-type"),
        (
            post("topic=t").header("content-encoding", "gzip").text("x"),
            415,
            "bad_request",
            "content-encoding",
        ),
        (post("topic=t").text("x").header("content-type", "text/html"), 400, "bad_request", "content-type"),
        (post("topic=t").body("application/json", "{"), 400, "invalid_payload", "data"),
        (post("topic=t").body("application/json", ""), 400, "invalid_payload", "data"),
        (
            post("topic=t").body("text/plain", "\u{fffd}".as_bytes()[..2].to_vec()),
            400,
            "invalid_payload",
            "data",
        ),
        (
            post("topic=t").body("application/json", "[".repeat(101) + &"]".repeat(101)),
            413,
            "too_large",
            "data",
        ),
    ];
    for (request, status, code, field) in faults {
        let sent = request.head("").lines().take(3).collect::<Vec<_>>().join(" | ");
        let answer = request.to(&app).await;
        assert_eq!(answer.fault(), (status, code, field), "{sent}: {}", answer.body);
        assert_eq!(answer.header("content-type"), Some("application/json"), "{sent}");
        assert_eq!(answer.body["error"]["retry"], false, "{sent}");
        match status {
            405 => assert_eq!(answer.header("allow"), Some("POST")),
            415 => assert!(answer.header("accept").unwrap().contains("application/json"), "{sent}"),
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_limit_is_told_with_the_value_that_passed_it() {
    let app = app_with(open().limits(|limits| limits.max_message = 100), PublishConfig::new()).await;
    let error = post("topic=t").text(&"x".repeat(101)).to(&app).await.body;
    let expected = json!({ "error": {
        "code": "too_large", "message": "the body is longer than a message may be", "field": "data",
        "limit": 100, "value": 101, "retry": false,
    }});
    assert_eq!(error, expected);
    assert_eq!(post("topic=t").text(&"x".repeat(100)).to(&app).await.status, 202);

    let topics = post(&"topic=a&".repeat(17)).text("x").to(&app).await.body["error"].clone();
    assert_eq!((&topics["limit"], &topics["value"]), (&json!(16), &json!(17)));
}

#[tokio::test]
async fn what_is_refused_is_not_published() {
    let app = app().await;
    let mut subscription = app.broker.subscribe("t").await.unwrap();
    post("topic=t").body("application/json", "{").to(&app).await;
    post("topic=t&event=$x").text("no").to(&app).await;
    post("topic=t").text("yes").to(&app).await;
    assert_eq!(crate::support::next(&mut subscription).await.value.as_str(), Some("yes"));
}
