//! Pages of other origins.

use axum::{Router, routing::any_service};
use fanfare_http::{Publish, PublishConfig, Server};
use http::{HeaderName, HeaderValue, Method, header};
use tower_http::cors::CorsLayer;

use crate::support::{App, app, app_with, open, post, serve};

async fn status(app: &App, headers: &[(&str, &str)]) -> (u16, String) {
    let request =
        headers.iter().fold(post("topic=t").text("x"), |request, (name, value)| request.header(name, value));
    let answer = request.to(app).await;
    let field = answer.fault().2.to_owned();
    (answer.status, field)
}

#[tokio::test]
async fn pages_of_the_same_host_alone_publish() {
    let app = app().await;
    let foreign = (403, "origin".to_owned());
    assert_eq!(status(&app, &[]).await.0, 202);
    assert_eq!(status(&app, &[("origin", "https://app.example")]).await.0, 202);
    let same = [("origin", "https://app.example"), ("sec-fetch-site", "same-origin")];
    assert_eq!(status(&app, &same).await.0, 202);
    assert_eq!(status(&app, &[("origin", "https://evil.example")]).await, foreign);
    assert_eq!(status(&app, &[("origin", "null")]).await, foreign);
    assert_eq!(status(&app, &[("sec-fetch-site", "cross-site")]).await, foreign);
}

#[tokio::test]
async fn a_list_of_origins_is_exact() {
    let config = PublishConfig::new().allow_origins(["https://other.example"]).unwrap();
    let app = app_with(open(), config).await;
    let crossing = [("origin", "https://other.example"), ("sec-fetch-site", "cross-site")];
    assert_eq!(status(&app, &crossing).await.0, 202);
    assert_eq!(status(&app, &[("origin", "https://app.example")]).await.0, 403);
    let app = app_with(open(), PublishConfig::new().allow_any_origin()).await;
    assert_eq!(status(&app, &[("origin", "https://evil.example")]).await.0, 202);
}

/// A page of an admitted origin asks first, as its content type is none of a form's, and has to be able to read what it is told.
#[tokio::test]
async fn a_cors_layer_answers_what_browsers_ask() {
    let broker = open().start().await.unwrap();
    let config = PublishConfig::new().allow_origins(["https://app.example"]).unwrap();
    let cors = CorsLayer::new()
        .allow_origin(HeaderValue::from_static("https://app.example"))
        .allow_methods([Method::POST])
        .allow_headers([header::CONTENT_TYPE, HeaderName::from_static("idempotency-key")]);
    let publish = any_service(Publish::new(&broker).config(config));
    let router = Router::new().route("/publish", publish).layer(cors);
    let app = App { address: serve(Server::new(), router).await, broker };
    let named = Some("https://app.example");
    for (origin, status) in [("https://app.example", 202), ("https://evil.example", 403)] {
        let asked = post("topic=t")
            .method("OPTIONS")
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "content-type");
        let answer = asked.to(&app).await;
        assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, named));
        let answer = post("topic=t").header("origin", origin).body("application/json", "{}").to(&app).await;
        assert_eq!((answer.status, answer.header("access-control-allow-origin")), (status, named));
    }
    let form = post("topic=t").header("origin", "https://app.example");
    let answer = form.body("application/x-www-form-urlencoded", "a=b").to(&app).await;
    assert_eq!(
        (answer.status, answer.header("access-control-allow-origin")),
        (415, named),
        "a refusal is read, too"
    );
}
