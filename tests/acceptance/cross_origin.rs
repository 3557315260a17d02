//! Pages of another origin, in Chromium, against tower-http's CORS.

use crate::support::{App, Curl, Http, Line, Reader};

/// Where the page is, and where the streams are: one host, two ports, which makes two origins.
struct Apps {
    page: App,
    streams: App,
}

impl Apps {
    /// The page of `page` may read from `streams`, or that of nobody.
    fn start(allowed: bool) -> Self {
        let page = App::start(&[]);
        let origin = format!("http://{}", page.address());
        let options = if allowed { &["--allow-origin", &origin][..] } else { &[] };
        Self { streams: App::start(options), page }
    }

    fn reader(&self, options: &[&str], topic: &str) -> Option<Reader> {
        let page = format!("http://{}/", self.page.address());
        let url = format!("http://{}/events?topic={topic}", self.streams.address());
        Reader::chromium(Http::One, &[&["--page", &page], options].concat(), &[url])
    }
}

const COOKIE: [&str; 2] = ["--cookie", "token=open-sesame"];

#[tokio::test]
async fn an_allowed_page_reads_with_its_users_cookie() {
    let apps = Apps::start(true);
    let options = [&COOKIE[..], &["--credentials"]].concat();
    let Some(mut reader) = apps.reader(&options, "members.news") else { return };
    assert!(matches!(reader.next().await, Line::Open { .. }));
    let url = format!("http://{}/publish?topic=members.news", apps.streams.address());
    let token = "Authorization: Bearer open-sesame";
    Curl::answer(&["--json", r#""for members""#, "--header", token, &url]).await;
    assert_eq!(reader.message().await.data, r#""for members""#);
}

#[tokio::test]
async fn without_credentials_no_cookie_is_sent() {
    let apps = Apps::start(true);
    let Some(mut reader) = apps.reader(&COOKIE, "members.news") else { return };
    assert_eq!(reader.next().await, Line::Closed { stream: 0 });
}

#[tokio::test]
async fn a_page_that_is_not_allowed_reads_nothing() {
    let apps = Apps::start(false);
    let Some(mut reader) = apps.reader(&[], "news") else { return };
    assert_eq!(reader.next().await, Line::Closed { stream: 0 });
}
