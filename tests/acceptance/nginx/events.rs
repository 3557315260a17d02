use std::time::Duration;

use serde_json::Value;

use crate::support::{App, Curl, Http, Line, Nginx, Reader};

/// curl's arguments for a request through nginx, over a version of HTTP.
fn through<'a>(nginx: &'a str, version: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = vec!["--cacert", nginx, version];
    arguments.extend(more);
    arguments
}

async fn publish(address: &str, topic: &str, data: &str) -> Value {
    let url = format!("http://{address}/publish?topic={topic}");
    let answer = Curl::answer(&["--data-raw", data, "--header", "Content-Type: text/plain", &url]).await;
    serde_json::from_str(&answer).unwrap_or_else(|_| panic!("{answer}"))
}

/// A stream's first bytes, and each event, come at once: with what the configuration says alone, and with what the
/// response's header says alone.
#[tokio::test]
async fn nothing_is_buffered() {
    let app = App::start_twice(&[]);
    let by_file = ("proxy_buffering off;", "proxy_buffering off; proxy_ignore_headers X-Accel-Buffering;");
    let by_header = ("proxy_buffering off;", "");
    for change in [by_file, by_header] {
        let upstreams = [&*app.addresses[0], &*app.addresses[1]];
        let Some(nginx) = Nginx::start_with(upstreams, &[change]) else { return };
        let chain = nginx.certificate.chain();
        for version in ["--http1.1", "--http2"] {
            let url = format!("https://{}/events?topic=t", nginx.address);
            let mut stream = Curl::start(&through(&chain, version, &[&url]));
            stream.after("retry:").await;
            for text in ["one", "two"] {
                publish(app.address(), "t", text).await;
                assert_eq!(stream.after("data:").await.trim(), text);
            }
        }
    }
}

#[tokio::test]
async fn comments_keep_a_silent_stream_open() {
    let app = App::start_twice(&["--ping", "400"]);
    let short = ("proxy_read_timeout 80s", "proxy_read_timeout 2s");
    let Some(nginx) = Nginx::start_with([&app.addresses[0], &app.addresses[1]], &[short]) else { return };
    let chain = nginx.certificate.chain();
    let url = format!("https://{}/events?topic=t", nginx.address);
    let mut stream = Curl::start(&through(&chain, "--http2", &[&url]));
    stream.after("retry:").await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    publish(app.address(), "t", "late").await;
    assert_eq!(stream.after("data:").await.trim(), "late");
}

#[tokio::test]
async fn streams_are_not_compressed() {
    let app = App::start_twice(&[]);
    let Some(nginx) = Nginx::start([&app.addresses[0], &app.addresses[1]]) else { return };
    let chain = nginx.certificate.chain();
    let url = format!("https://{}/events?topic=t", nginx.address);
    let mut stream = Curl::start(&through(&chain, "--http1.1", &["--compressed", "--include", &url]));
    let mut headers = String::new();
    loop {
        let line = stream.line().await.unwrap().to_lowercase();
        if line.is_empty() {
            break;
        }
        headers.push_str(&line);
        headers.push('\n');
    }
    assert!(headers.contains("content-type: text/event-stream"), "{headers}");
    assert!(!headers.contains("content-encoding"), "{headers}");
}

#[tokio::test]
async fn publishing_passes_and_the_clients_address_with_it() {
    let app = App::start_twice(&[]);
    let Some(nginx) = Nginx::start([&app.addresses[0], &app.addresses[1]]) else { return };
    let chain = nginx.certificate.chain();
    let events = format!("https://{}/events?topic=t&format=v1", nginx.address);
    let mut stream = Curl::start(&through(&chain, "--http2", &[&events]));
    stream.after("retry:").await;

    let url = format!("https://{}/publish?topic=t", nginx.address);
    let own = format!("Origin: https://{}", nginx.address);
    let data = [
        "--interface",
        "127.0.0.2",
        "--header",
        "X-Forwarded-For: 203.0.113.9",
        "--header",
        &own,
        "--json",
        "{\"n\":1}",
        "--write-out",
        "%{http_code}",
        &url,
    ];
    for version in ["--http1.1", "--http2"] {
        let answer = Curl::answer(&through(&chain, version, &data)).await;
        assert!(answer.trim().ends_with("202"), "{answer}");
        let message: Value = serde_json::from_str(&stream.after("data:").await).unwrap();
        assert_eq!(message["from"]["user"], "127.0.0.2", "{message}");
        assert_eq!(message["data"]["n"], 1);
    }

    let foreign =
        ["--header", "Origin: https://evil.example", "--json", "1", "--write-out", "%{http_code}", &url];
    let answer = Curl::answer(&through(&chain, "--http2", &foreign)).await;
    assert!(answer.trim().ends_with("403"), "{answer}");
}

#[tokio::test]
async fn what_is_too_large_is_refused_by_the_app_with_its_own_words() {
    let app = App::start_twice(&[]);
    let Some(nginx) = Nginx::start([&app.addresses[0], &app.addresses[1]]) else { return };
    let chain = nginx.certificate.chain();
    let url = format!("https://{}/publish?topic=t", nginx.address);
    let body = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(body.path(), "x".repeat(200_000)).unwrap();
    let data = format!("@{}", body.path().display());
    let request = [
        "--data-binary",
        &data,
        "--header",
        "Content-Type: text/plain",
        "--write-out",
        "\n%{http_code}",
        &url,
    ];
    for version in ["--http1.1", "--http2"] {
        let answer = Curl::answer(&through(&chain, version, &request)).await;
        let (error, status) = answer.trim().rsplit_once('\n').unwrap();
        assert_eq!(status, "413");
        let error: Value = serde_json::from_str(error).unwrap();
        assert_eq!(error["error"]["code"], "too_large");
        assert!(error["error"]["limit"].is_u64(), "{error}");
    }
}

#[tokio::test]
async fn tokens_are_not_in_the_log() {
    let app = App::start_twice(&[]);
    let Some(nginx) = Nginx::start([&app.addresses[0], &app.addresses[1]]) else { return };
    let chain = nginx.certificate.chain();
    let url = |token| format!("https://{}/events?topic=members.news&token={token}", nginx.address);
    let mut stream = Curl::start(&through(&chain, "--http2", &[&url("open-sesame")]));
    stream.after("retry:").await;
    drop(stream);
    let refused =
        Curl::answer(&through(&chain, "--http2", &["--write-out", "%{http_code}", &url("wrong-token")]))
            .await;
    assert!(refused.trim().ends_with("401"), "{refused}");
    let log = nginx.log_of(2).await;
    assert!(log.contains("GET /events HTTP/2.0"), "{log}");
    assert!(!log.contains("sesame") && !log.contains("wrong-token"), "{log}");
}

/// The largest cursor that a stream may have passes nginx's bounds for headers.
#[tokio::test]
async fn a_cursor_of_many_topics_passes() {
    let app = App::start_twice(&["--retry", "20"]);
    let Some(nginx) = Nginx::start([&app.addresses[0], &app.addresses[1]]) else { return };
    let topics: Vec<_> = (0..64).map(|n| format!("topic=logged.{n}")).collect();
    let url = format!("https://{}/events?{}", nginx.address, topics.join("&"));
    let chain = nginx.certificate.chain();
    for (version, http) in [("--http1.1", Http::One), ("--http2", Http::Two)] {
        let Some(mut reader) = Reader::httpx(http, Some(&chain), std::slice::from_ref(&url)) else { return };
        assert!(matches!(reader.next().await, Line::Open { .. }));
        publish(app.address(), "logged.0", version).await;
        let cursor = reader.message().await.id;
        let header = format!("Last-Event-ID: {cursor}");
        let mut stream = Curl::start(&through(&chain, version, &["--header", &header, &url]));
        publish(app.address(), "logged.63", "again").await;
        // Nothing but what came after the cursor.
        let message: Value = loop {
            let message: Value = serde_json::from_str(&stream.after("data:").await).unwrap();
            if message.get("live").is_none() {
                break message;
            }
        };
        assert_eq!(message["topic"], "logged.63", "{message}");
        reader.message().await;
    }
}

#[tokio::test]
async fn who_loses_its_server_comes_back_on_the_other() {
    let mut apps = [App::start(&["--retry", "50"]), App::start(&["--retry", "50"])];
    let Some(nginx) = Nginx::start([apps[0].address(), apps[1].address()]) else { return };
    let chain = nginx.certificate.chain();
    let url = [format!("https://{}/events?topic=logged.t", nginx.address)];
    // Turn by turn: of two streams one is on each.
    let mut readers = Vec::new();
    for _ in 0..2 {
        let Some(mut reader) = Reader::httpx(Http::Two, Some(&chain), &url) else { return };
        assert_eq!(reader.next().await, Line::Open { stream: 0, http: "HTTP/2".into() });
        readers.push(reader);
    }
    for app in &apps {
        publish(app.address(), "logged.t", "both").await;
    }
    for reader in &mut readers {
        assert_eq!(reader.message().await.data, "both");
    }
    apps[0].kill();
    // One of them is opened anew; both hear what the survivor says, the one that moved beside a gap: these
    // processes have no log in common, and that is told.
    let moved = async |reader: &mut Reader| {
        let line = reader.next().await;
        assert!(matches!(line, Line::Open { .. }), "{line:?}");
    };
    let (mut left, mut right) = (readers.remove(0), readers.remove(0));
    let (mut mover, mut stayer) = tokio::select! {
        () = moved(&mut left) => (left, right),
        () = moved(&mut right) => (right, left),
    };
    publish(apps[1].address(), "logged.t", "survived").await;
    assert_eq!(stayer.message().await.data, "survived");
    let mut told = false;
    loop {
        match mover.next().await {
            Line::Event { event, .. } if event == "$gap" => told = true,
            Line::Event { event, data, .. } if event == "message" && data == "survived" => break,
            _ => {}
        }
    }
    assert!(told, "another log, and no gap");
}

#[tokio::test]
async fn a_server_that_drains_sends_its_readers_to_the_other() {
    let mut apps = [App::start(&["--retry", "50"]), App::start(&["--retry", "50"])];
    let Some(nginx) = Nginx::start([apps[0].address(), apps[1].address()]) else { return };
    let chain = nginx.certificate.chain();
    let url = [format!("https://{}/events?topic=t", nginx.address)];
    let mut readers = Vec::new();
    for _ in 0..2 {
        let Some(mut reader) = Reader::httpx(Http::One, Some(&chain), &url) else { return };
        assert_eq!(reader.next().await, Line::Open { stream: 0, http: "HTTP/1.1".into() });
        readers.push(reader);
    }
    apps[0].terminate();
    assert!(apps[0].ended().await.success());
    let (mut left, mut right) = (readers.remove(0), readers.remove(0));
    let (line, mut mover) = tokio::select! {
        line = left.next() => (line, left),
        line = right.next() => (line, right),
    };
    assert!(matches!(&line, Line::Event { event, .. } if event == "$close"), "{line:?}");
    assert!(matches!(mover.next().await, Line::Open { .. }));
    publish(apps[1].address(), "t", "here").await;
    assert_eq!(mover.message().await.data, "here");
}

/// As long as it drains, it still listens, and answers 503: that is nobody's last word.
#[tokio::test]
async fn who_comes_to_a_server_that_drains_is_served_by_the_other() {
    let apps = [App::start(&["--farewell", "60000"]), App::start(&[])];
    let Some(nginx) = Nginx::start([apps[0].address(), apps[1].address()]) else { return };
    // Its farewell keeps the drain going.
    let mut stream = Curl::start(&[&format!("http://{}/events?topic=t", apps[0].address())]);
    stream.after("retry:").await;
    apps[0].terminate();
    stream.after("event: $close").await;
    let direct = format!("http://{}/events?topic=t", apps[0].address());
    let refused = Curl::answer(&["--write-out", "%{http_code}", &direct]).await;
    assert!(refused.trim().ends_with("503"), "{refused}");

    let chain = nginx.certificate.chain();
    let url = format!("https://{}/events?topic=t", nginx.address);
    let mut streams = Vec::new();
    for _ in 0..4 {
        let mut stream = Curl::start(&through(&chain, "--http2", &[&url]));
        stream.after("retry:").await;
        streams.push(stream);
    }
    publish(apps[1].address(), "t", "here").await;
    for stream in &mut streams {
        assert_eq!(stream.after("data:").await.trim(), "here");
    }
}

/// An EventSource gives up when it is answered an error, as nginx would while nobody is there.
#[tokio::test]
async fn a_page_outlives_a_restart_of_the_only_server() {
    let app = App::start(&["--retry", "50"]);
    let address = app.address().to_owned();
    let quick = ("retry: 3000", "retry: 50");
    let Some(nginx) = Nginx::start_with([&address, &address], &[quick]) else { return };
    let url = [format!("https://{}/events?topic=t", nginx.address)];
    let Some(mut reader) = Reader::chromium(Http::Two, &[], &url) else { return };
    assert!(matches!(reader.next().await, Line::Open { .. }));
    drop(app);
    // The page, its stream, and some streams of nothing else.
    nginx.log_of(6).await;
    let app = App::run(&["--listen", &address], &["--retry", "50"]);
    let message = async {
        loop {
            publish(app.address(), "t", "again").await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::select! {
        () = message => {}
        message = reader.message() => assert_eq!(message.data, "again"),
    }
    // Others see what is the case.
    drop(app);
    let chain = nginx.certificate.chain();
    let refused = Curl::answer(&through(&chain, "--http2", &["--write-out", "%{http_code}", &url[0]])).await;
    assert!(refused.trim().ends_with("502"), "{refused}");
}
