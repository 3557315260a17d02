//! Readers that are not ours are cut off again and again, while messages are published, and miss none and get none twice.

use std::time::Duration;

use fanfare_testkit::proxy::ChaosProxy;
use serde_json::Value;

use crate::support::{App, Certificate, Http, Line, Nginx, Reader, WebSocket};

/// How many messages are published to each topic.
const MESSAGES: u64 = 300;

/// How often all connections are cut meanwhile.
const CUTS: u64 = 12;

/// What reads: one topic, whose events are payloads, and three with one cursor.
const PATHS: [&str; 2] = ["/events?topic=logged.a", "/events?topic=logged.a&topic=logged.b&topic=logged.c"];

const TOPICS: [&str; 3] = ["logged.a", "logged.b", "logged.c"];

/// An app that listens with and without TLS.
fn app(certificate: &Certificate) -> App {
    let (chain, key) = (certificate.chain(), certificate.key());
    let tls = ["--tls-listen", "127.0.0.1:0", "--certificate", &chain, "--key", &key];
    App::run(
        &["--listen", "127.0.0.1:0", "--listen", "127.0.0.1:0"],
        &[&tls[..], &["--retry", "30"]].concat(),
    )
}

fn urls(scheme: &str, proxy: &ChaosProxy) -> Vec<String> {
    PATHS.iter().map(|path| format!("{scheme}://{}{path}", proxy.addr())).collect()
}

/// Publishes and cuts, and holds what the reader says against it.
async fn survives(app: &App, proxy: &ChaosProxy, mut reader: Reader, http: &str) {
    let mut open = [false; PATHS.len()];
    while open.contains(&false) {
        match reader.next().await {
            Line::Open { stream, http: spoken } => {
                assert_eq!(spoken, http);
                open[stream] = true;
            }
            Line::Closed { .. } => panic!("refused"),
            Line::Event { .. } => {}
        }
    }

    let mut publisher = WebSocket::plain(app.address()).await;
    let publish = async {
        for n in 0..MESSAGES {
            for topic in TOPICS {
                let command = format!(r#"{{"id":1,"publish":{{"topic":"{topic}","data":{n}}}}}"#);
                assert!(publisher.ask(&command).await.get("ok").is_some());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
            if fastrand::u64(..MESSAGES) < CUTS || n == MESSAGES / 2 {
                proxy.reset();
            }
        }
    };
    let read = async {
        let (mut single, mut several) = (0, TOPICS.map(|_| 0));
        let mut reopened = 0;
        while single < MESSAGES || several.iter().any(|next| *next < MESSAGES) {
            match reader.next().await {
                Line::Open { .. } => reopened += 1,
                Line::Event { event, .. } if event == "$live" => {}
                Line::Event { stream: 0, event, data, .. } => {
                    assert_eq!((event, data), ("message".into(), single.to_string()));
                    single += 1;
                }
                Line::Event { event, data, .. } => {
                    assert_eq!(event, "message", "{data}");
                    let message: Value = serde_json::from_str(&data).unwrap();
                    let topic = TOPICS.iter().position(|topic| message["topic"] == *topic).unwrap();
                    assert_eq!(message["data"], several[topic], "{message}");
                    several[topic] += 1;
                }
                Line::Closed { stream } => panic!("stream {stream} was given up"),
            }
        }
        assert!(reopened > 0, "no cut was noticed");
    };
    tokio::join!(publish, read);
    // A last `$live` may follow, after a last cut.
    while let Some(line) = reader.within(Duration::from_millis(300)).await {
        let more = matches!(&line, Line::Event { event, .. } if event != "$live");
        assert!(!more, "one too many: {line:?}");
    }
}

async fn direct(http: Http, start: impl Fn(&Certificate, &[String]) -> Option<Reader>, spoken: &str) {
    let certificate = Certificate::new();
    let app = app(&certificate);
    // Without TLS over HTTP/1.1, with TLS over HTTP/2: as browsers do.
    let (scheme, port) = if http == Http::One { ("http", 0) } else { ("https", 2) };
    let proxy = ChaosProxy::start(app.addresses[port].parse().unwrap()).await.unwrap();
    let Some(reader) = start(&certificate, &urls(scheme, &proxy)) else { return };
    survives(&app, &proxy, reader, spoken).await;
}

/// Through nginx, with two servers in front of one log: a reader comes back on either.
async fn behind_nginx(start: impl Fn(&Certificate, &[String]) -> Option<Reader>, spoken: &str) {
    let app = app(&Certificate::new());
    let Some(nginx) = Nginx::start([&app.addresses[0], &app.addresses[1]]) else { return };
    let proxy = ChaosProxy::start(nginx.address.parse().unwrap()).await.unwrap();
    let Some(reader) = start(&nginx.certificate, &urls("https", &proxy)) else { return };
    survives(&app, &proxy, reader, spoken).await;
}

fn httpx(http: Http) -> impl Fn(&Certificate, &[String]) -> Option<Reader> {
    move |certificate, urls| Reader::httpx(http, Some(&certificate.chain()), urls)
}

fn chromium(http: Http) -> impl Fn(&Certificate, &[String]) -> Option<Reader> {
    move |_, urls| Reader::chromium(http, &[], urls)
}

#[tokio::test]
async fn httpx_over_http_1() {
    direct(Http::One, httpx(Http::One), "HTTP/1.1").await;
}

#[tokio::test]
async fn httpx_over_http_2() {
    direct(Http::Two, httpx(Http::Two), "HTTP/2").await;
}

#[tokio::test]
async fn httpx_behind_nginx_over_http_1() {
    behind_nginx(httpx(Http::One), "HTTP/1.1").await;
}

#[tokio::test]
async fn httpx_behind_nginx_over_http_2() {
    behind_nginx(httpx(Http::Two), "HTTP/2").await;
}

#[tokio::test]
async fn chromium_over_http_1() {
    direct(Http::One, chromium(Http::One), "http/1.1").await;
}

#[tokio::test]
async fn chromium_over_http_2() {
    direct(Http::Two, chromium(Http::Two), "h2").await;
}

#[tokio::test]
async fn chromium_behind_nginx_over_http_1() {
    behind_nginx(chromium(Http::One), "http/1.1").await;
}

#[tokio::test]
async fn chromium_behind_nginx_over_http_2() {
    behind_nginx(chromium(Http::Two), "h2").await;
}
