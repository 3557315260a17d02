//! Pages of other origins.

use fanfare_http::PublishConfig;

use crate::support::{App, app, app_with, open, post};

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
