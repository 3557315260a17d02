//! Handshakes that are wrong.

use std::net::SocketAddr;

use crate::client::{Client, UPGRADE, http, upgrade};
use crate::frame::{TEXT, header, masked};
use crate::server::undisturbed;

/// A handshake with other headers.
fn with(address: SocketAddr, lines: &[&str]) -> crate::client::Answer {
    http(address, format!("GET /ws HTTP/1.1\r\n{}\r\n", lines.concat()).as_bytes())
}

/// The handshake with one header replaced.
fn replaced(line: &str) -> Vec<&str> {
    let same = |other: &str| name(other) == name(line);
    UPGRADE.into_iter().filter(|other| !same(other)).chain([line]).collect()
}

/// A header's name as errors give it.
fn name(line: &str) -> String {
    line.split(':').next().unwrap().to_ascii_lowercase()
}

pub(crate) fn missing_or_doubled_headers(address: SocketAddr) {
    for line in UPGRADE {
        let without: Vec<&str> = UPGRADE.into_iter().filter(|other| *other != line).collect();
        let twice: Vec<&str> = UPGRADE.into_iter().chain([line]).collect();
        for lines in [without, twice] {
            let answer = with(address, &lines);
            assert_eq!(answer.status, 400, "{lines:?}");
            assert_eq!(answer.body["error"]["code"], "bad_request", "{lines:?}");
            assert_eq!(answer.body["error"]["field"], name(line), "{lines:?}");
        }
    }
    let origin = "Origin: http://x\r\n";
    let answer = with(address, &[&UPGRADE[..], &[origin, origin]].concat());
    assert_eq!((answer.status, &answer.body["error"]["field"]), (400, &"origin".into()));
}

pub(crate) fn wrong_headers(address: SocketAddr) {
    for line in [
        "Upgrade: h2c\r\n",
        "Connection: keep-alive\r\n",
        "Sec-WebSocket-Key: \r\n",
        "Sec-WebSocket-Key: short\r\n",
        // 15 bytes, 17 bytes, and 24 characters that are no base64.
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAA\r\n",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAAA=\r\n",
        "Sec-WebSocket-Key: !!!!!!!!!!!!!!!!!!!!!!==\r\n",
    ] {
        let answer = with(address, &replaced(line));
        assert_eq!(answer.status, 400, "{line}");
        assert_eq!(answer.body["error"]["field"], name(line), "{line}");
    }
    for line in ["Sec-WebSocket-Version: 8\r\n", "Sec-WebSocket-Version: 13, 8\r\n"] {
        let answer = with(address, &replaced(line));
        assert_eq!(answer.status, 426, "{line}");
        assert!(answer.head.contains("sec-websocket-version: 13\r\n"), "{}", answer.head);
        assert_eq!(answer.body["error"]["field"], "sec-websocket-version");
    }
}

pub(crate) fn wrong_requests(address: SocketAddr) {
    let posted = http(address, upgrade("/ws").replace("GET", "POST").as_bytes());
    assert_eq!((posted.status, &posted.body["error"]["field"]), (405, &"method".into()));
    assert!(posted.head.contains("allow: get\r\n"), "{}", posted.head);
    let old = http(address, upgrade("/ws").replace("HTTP/1.1", "HTTP/1.0").as_bytes());
    assert_eq!(old.status, 400, "{old:?}");
    for nonsense in [
        &b"hello\r\n\r\n"[..],
        b"GET /ws\r\n\r\n",
        b"GET /ws HTTP/9.9\r\n\r\n",
        b"GET /ws HTTP/1.1\r\nNo colon\r\n\r\n",
        b"GET /ws HTTP/1.1\r\nHost: \0\r\n\r\n",
        // A TLS hello, what is nearly HTTP/2, and a frame before the handshake.
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xFC\x03\x03\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
        &masked(TEXT, b"{}\r\n\r\n"),
    ] {
        let answer = http(address, nonsense);
        assert!([0, 400].contains(&answer.status), "{}: {answer:?}", nonsense.escape_ascii());
    }
}

pub(crate) fn foreign_origins(address: SocketAddr) {
    for origin in ["https://evil.example", "http://x.evil.example", "http://x:81", "null", "", "x", "http://"]
    {
        let answer = with(address, &[&UPGRADE[..], &[&format!("Origin: {origin}\r\n")]].concat());
        assert_eq!(answer.status, 403, "{origin}");
        assert_eq!(answer.body["error"]["code"], "forbidden", "{origin}");
        assert_eq!(answer.body["error"]["field"], "origin", "{origin}");
    }
    assert_eq!(with(address, &[&UPGRADE[..], &["Origin: http://x\r\n"]].concat()).status, 101);
}

pub(crate) fn unknown_subprotocols(address: SocketAddr) {
    let mut client = Client::tcp(address);
    let request = upgrade("/ws").replace("Host", "Sec-WebSocket-Protocol: fanfare.v9, chat\r\nHost");
    client.send(request.as_bytes());
    client.upgraded();
    client.closed_with(4002, "unsupported_version");
}

/// Frames that come with the request, before the server has answered: as good and as bad as later ones.
pub(crate) fn frames_with_the_request(address: SocketAddr) {
    let mut client = Client::tcp(address);
    let ping = masked(TEXT, br#"{"id":1,"ping":{}}"#);
    client.send(&[upgrade("/ws").as_bytes(), &ping.repeat(50), &ping[..7]].concat());
    client.upgraded();
    for _ in 0..50 {
        assert_eq!(client.json()["id"], 1);
    }
    client.send(&ping[7..]);
    assert_eq!(client.json()["id"], 1);

    let mut client = Client::tcp(address);
    client.send(&[upgrade("/ws").as_bytes(), &header(TEXT, 65_537)].concat());
    client.upgraded();
    client.closed_with(1009, "too_big");
}

pub(crate) fn all(address: SocketAddr) {
    missing_or_doubled_headers(address);
    wrong_headers(address);
    wrong_requests(address);
    foreign_origins(address);
    unknown_subprotocols(address);
    frames_with_the_request(address);
}

#[test]
fn a_handshake_that_is_wrong_is_refused() {
    undisturbed(&[], |server| all(server.address));
}

#[test]
fn a_list_of_origins_is_exact() {
    let options = ["--origin", "https://app.example", "--origin", "http://localhost:5173"];
    undisturbed(&options, |server| {
        let status = |origin: &str| {
            let line = format!("Origin: {origin}\r\n");
            with(server.address, &[&UPGRADE[..], &[&line]].concat()).status
        };
        for origin in ["https://app.example", "https://app.example:443", "http://localhost:5173"] {
            assert_eq!(status(origin), 101, "{origin}");
        }
        for origin in
            ["http://app.example", "https://sub.app.example", "http://localhost", "http://x", "null"]
        {
            assert_eq!(status(origin), 403, "{origin}");
        }
    });
}
