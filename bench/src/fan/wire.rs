//! The dialects of the servers that `fan` can load: where to connect, what to send, and what the frames
//! mean that are not deliveries.

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::frame;
use super::options::WireMode;

/// Name of topic `index`.
pub(super) fn topic_name(index: u32) -> String {
    format!("t{index}")
}

/// The server's address and dialect.
#[derive(Clone, Debug)]
pub(super) struct Endpoint {
    /// `HOST:PORT`, as in the URL.
    pub(super) authority: String,
    path: Option<String>,
    mode: WireMode,
}

impl Endpoint {
    pub(super) fn parse(url: &str, mode: WireMode) -> Result<Self> {
        let rest = url.strip_prefix("ws://").context("--url must begin with ws://")?;
        let (authority, path) = match rest.find('/') {
            Some(at) if at + 1 < rest.len() => (&rest[..at], Some(rest[at..].to_owned())),
            Some(at) => (&rest[..at], None),
            None => (rest, None),
        };
        if authority.is_empty() {
            bail!("--url has no host");
        }
        let authority =
            if authority.contains(':') { authority.to_owned() } else { format!("{authority}:80") };
        Ok(Self { authority, path, mode })
    }

    /// The request that opens a subscriber's connection; `topic` is its first.
    pub(super) fn subscriber_request(&self, topic: u32) -> String {
        let name = topic_name(topic);
        match self.mode {
            WireMode::V1 => self.request(self.path.as_deref().unwrap_or("/ws")),
            WireMode::Plain => {
                self.request(&format!("{}?topic={name}", self.path.as_deref().unwrap_or("/ws")))
            }
            WireMode::Raw => self.request(&format!("{}/sub/{name}", self.path.as_deref().unwrap_or(""))),
        }
    }

    /// The request that opens a publisher's connection.
    pub(super) fn publisher_request(&self) -> String {
        match self.mode {
            WireMode::V1 | WireMode::Plain => self.request(self.path.as_deref().unwrap_or("/ws")),
            WireMode::Raw => self.request(&format!("{}/pub", self.path.as_deref().unwrap_or(""))),
        }
    }

    fn request(&self, path: &str) -> String {
        format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n",
            self.authority
        )
    }

    /// Appends the frames that subscribe to `topics` and returns how many replies they will have.
    pub(super) fn subscribe(&self, out: &mut Vec<u8>, topics: impl Iterator<Item = u32>) -> u32 {
        if self.mode != WireMode::V1 {
            return 0; // The path said it all.
        }
        let mut replies = 0;
        for topic in topics {
            replies += 1;
            let command = format!(r#"{{"id":{replies},"subscribe":{{"topic":"{}"}}}}"#, topic_name(topic));
            frame::encode(out, frame::TEXT, &[command.as_bytes()]);
        }
        replies
    }

    /// Appends the frame that publishes `payload` to `topic`.
    pub(super) fn publish(&self, out: &mut Vec<u8>, topic: u32, payload: &[u8]) {
        let name = topic_name(topic);
        let name = name.as_bytes();
        match self.mode {
            WireMode::V1 | WireMode::Plain => {
                let parts = [&br#"{"publish":{"topic":""#[..], name, br#"","data":""#, payload, br#""}}"#];
                frame::encode(out, frame::TEXT, &parts);
            }
            WireMode::Raw => frame::encode(out, frame::TEXT, &[name, b"|", payload]),
        }
    }

    /// What a message without a stamp says; `None` for what this program does not need to know.
    pub(super) fn control(&self, message: &[u8]) -> Option<Control> {
        let said: Said = serde_json::from_slice(message).ok()?;
        match said {
            Said { error: Some(error), .. } => {
                Some(Control::Refused(format!("{}: {}", error.code, error.message)))
            }
            Said { gap: Some(gap), .. } => Some(Control::Gap { missed: gap.missed }),
            Said { id: Some(_), ok: Some(_), .. } => Some(Control::Done),
            _ => None,
        }
    }
}

/// A server's answer or notice.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Control {
    /// A command was carried out.
    Done,
    /// A command was refused: code and message.
    Refused(String),
    /// The server tells this subscriber that it lost messages; how many, when it knows.
    Gap { missed: Option<u64> },
}

#[derive(Deserialize)]
struct Said {
    id: Option<u64>,
    ok: Option<serde::de::IgnoredAny>,
    error: Option<SaidError>,
    gap: Option<SaidGap>,
}

#[derive(Deserialize)]
struct SaidError {
    code: String,
    #[serde(default)]
    message: String,
}

#[derive(Deserialize)]
struct SaidGap {
    missed: Option<u64>,
}

/// The example of RFC 6455 section 1.3; a load generator needs no nonce.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &[u8] = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// Reads the answer to an upgrade: its size in bytes once it is complete, an error when it is a refusal.
pub(super) fn upgrade_answer(bytes: &[u8]) -> Result<Option<usize>> {
    let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") else {
        if bytes.len() > 16 * 1024 {
            bail!("the answer to the upgrade has no end");
        }
        return Ok(None);
    };
    let head = &bytes[..end];
    if !head.starts_with(b"HTTP/1.1 101") {
        let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
        bail!("the upgrade was refused: {}", String::from_utf8_lossy(line));
    }
    if memchr::memmem::find(head, ACCEPT).is_none() {
        bail!("the upgrade's Sec-WebSocket-Accept is missing or wrong");
    }
    Ok(Some(end + 4))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v1() -> Endpoint {
        Endpoint::parse("ws://127.0.0.1:9120", WireMode::V1).unwrap()
    }

    #[test]
    fn paths_of_the_dialects() {
        let line = |request: String| request.lines().next().unwrap().to_owned();
        let raw = Endpoint::parse("ws://localhost:1/", WireMode::Raw).unwrap();
        assert_eq!(line(raw.subscriber_request(3)), "GET /sub/t3 HTTP/1.1");
        assert_eq!(line(raw.publisher_request()), "GET /pub HTTP/1.1");
        let plain = Endpoint::parse("ws://localhost:1", WireMode::Plain).unwrap();
        assert_eq!(line(plain.subscriber_request(0)), "GET /ws?topic=t0 HTTP/1.1");
        assert_eq!(line(plain.publisher_request()), "GET /ws HTTP/1.1");
        assert_eq!(line(v1().subscriber_request(9)), "GET /ws HTTP/1.1");
        let elsewhere = Endpoint::parse("ws://localhost:1/live/ws", WireMode::V1).unwrap();
        assert_eq!(line(elsewhere.subscriber_request(9)), "GET /live/ws HTTP/1.1");
        assert!(Endpoint::parse("http://localhost:1", WireMode::V1).is_err());
    }

    #[test]
    fn frames_are_v1() {
        let mut out = Vec::new();
        assert_eq!(v1().subscribe(&mut out, [4, 5].into_iter()), 2);
        let text = String::from_utf8_lossy(&out).into_owned();
        assert!(text.contains(r#"{"id":1,"subscribe":{"topic":"t4"}}"#), "{text}");
        assert!(text.contains(r#"{"id":2,"subscribe":{"topic":"t5"}}"#), "{text}");
        out.clear();
        v1().publish(&mut out, 4, b"xyz");
        assert!(out.ends_with(br#"{"publish":{"topic":"t4","data":"xyz"}}"#));
    }

    #[test]
    fn what_a_v1_server_says() {
        let said = |text: &str| v1().control(text.as_bytes());
        assert_eq!(said(r#"{"id":1,"ok":{"pos":"a:1"}}"#), Some(Control::Done));
        assert_eq!(
            said(r#"{"topic":"t","gap":{"missed":7,"next":"k:5","reason":"slow"}}"#),
            Some(Control::Gap { missed: Some(7) })
        );
        assert_eq!(said(r#"{"topic":"t","gap":{"reason":"backend"}}"#), Some(Control::Gap { missed: None }));
        let refused = said(r#"{"id":9,"error":{"code":"forbidden","message":"no","retry":false}}"#);
        assert_eq!(refused, Some(Control::Refused("forbidden: no".into())));
        assert_eq!(said(r#"{"topic":"t","live":true,"pos":"k:61"}"#), None);
        assert_eq!(said("no json"), None);
    }

    #[test]
    fn upgrade_answers() {
        let good = format!(
            "HTTP/1.1 101 Switching Protocols\r\nsec-websocket-accept: {}\r\n\r\n\u{1}",
            String::from_utf8_lossy(ACCEPT)
        );
        assert_eq!(upgrade_answer(good.as_bytes()).unwrap(), Some(good.len() - 1));
        assert_eq!(upgrade_answer(&good.as_bytes()[..20]).unwrap(), None);
        assert!(upgrade_answer(b"HTTP/1.1 403 Forbidden\r\n\r\n").is_err());
        assert!(upgrade_answer(b"HTTP/1.1 101 Yes\r\nsec-websocket-accept: other\r\n\r\n").is_err());
    }
}
