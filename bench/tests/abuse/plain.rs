//! Plain mode, where a refusal is an HTTP status.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::client::{Client, http, upgrade};
use crate::frame::{BINARY, Frame, TEXT, header, masked};
use crate::server::undisturbed;

/// A topic's last segment that nobody else has.
fn unused() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

pub(crate) fn all(address: SocketAddr) {
    let long = format!("/ws?topic={}", "a".repeat(256));
    for (path, status, code, over) in [
        ("/ws?topic=", 400, "invalid_topic", None),
        ("/ws?topic", 400, "invalid_topic", None),
        ("/ws?topic=a..b", 400, "invalid_topic", None),
        ("/ws?topic=a%20b", 400, "invalid_topic", None),
        ("/ws?topic=a+b", 400, "invalid_topic", None),
        ("/ws?topic=a%00", 400, "invalid_topic", None),
        ("/ws?topic=a*", 400, "invalid_topic", None),
        ("/ws?topic=%24SYS", 403, "forbidden", None),
        (&long, 400, "invalid_topic", Some((255, 256))),
    ] {
        let answer = http(address, upgrade(path).as_bytes());
        let error = &answer.body["error"];
        assert_eq!((answer.status, &error["code"]), (status, &code.into()), "{path}");
        assert_eq!(error["field"], "topic", "{path}");
        assert_eq!(error["limit"].as_u64().zip(error["value"].as_u64()), over, "{path}");
    }

    // Frames are payloads, whatever they look like.
    let mut client = Client::open(address, &format!("/ws?topic=plain.{}", unused()));
    for text in ["{", r#"{"subscribe":{"topic":"other"}}"#, ""] {
        client.text(text);
        assert_eq!(client.frame(), Some(Frame::Text(text.into())));
    }
    client.send(&masked(BINARY, b"\0\0\0\xFF"));
    assert_eq!(client.frame(), Some(Frame::Binary(b"\0\0\0\xFF".to_vec())));
    client.send(&masked(TEXT, b"\xC3"));
    assert_eq!(client.closed().code, Some(1007));
    let mut client = Client::open(address, "/ws?topic=plain");
    client.send(&header(BINARY, 65_537));
    assert_eq!(client.closed().code, Some(1009));
}

#[test]
fn plain_mode_refuses_by_status() {
    undisturbed(&[], |server| all(server.address));
}
