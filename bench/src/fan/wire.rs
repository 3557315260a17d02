//! The dialects of the servers that `fan` can load: where to connect, what to send, and what the frames
//! mean that are not deliveries.

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::conn::{Input, Role};
use super::frame;
use super::http::Head;
use super::options::{Options, WireMode};

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
    posts: bool,
}

impl Endpoint {
    pub(super) fn parse(options: &Options) -> Result<Self> {
        let rest = options.url.strip_prefix("ws://").or_else(|| options.url.strip_prefix("http://"));
        let rest = rest.context("--url must begin with ws:// or http://")?;
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
        Ok(Self { authority, path, mode: options.wire, posts: options.post })
    }

    /// What the server will send on a connection.
    pub(super) fn input(&self, role: Role) -> Input {
        match role {
            Role::Subscriber(_) if self.is_sse() => Input::Events(None),
            Role::Publisher if self.posts => Input::Answers,
            Role::Subscriber(_) | Role::Publisher => Input::Frames,
        }
    }

    fn is_sse(&self) -> bool {
        matches!(self.mode, WireMode::Sse | WireMode::SseV1 | WireMode::SseRaw)
    }

    /// The request that opens the connection of a subscriber to `topics`.
    pub(super) fn subscriber_request(&self, topics: impl Iterator<Item = u32>) -> String {
        let path = |own| self.path.as_deref().unwrap_or(own);
        let names: Vec<String> = topics.map(topic_name).collect();
        let (first, query) = (&names[0], || format!("topic={}", names.join("&topic=")));
        match self.mode {
            WireMode::V1 => self.upgrade(path("/ws")),
            WireMode::Plain => self.upgrade(&format!("{}?{}", path("/ws"), query())),
            WireMode::Raw => self.upgrade(&format!("{}/sub/{first}", path(""))),
            WireMode::Sse => self.stream(&format!("{}?{}", path("/events"), query())),
            WireMode::SseV1 => self.stream(&format!("{}?{}&format=v1", path("/events"), query())),
            WireMode::SseRaw => self.stream(&format!("{}/{first}", path("/sse"))),
        }
    }

    /// The request that opens a publisher's connection; none where each publish is a request.
    pub(super) fn publisher_request(&self) -> Option<String> {
        let path = |own| self.path.as_deref().unwrap_or(own);
        match self.mode {
            _ if self.posts => None,
            WireMode::V1 | WireMode::Plain => Some(self.upgrade(path("/ws"))),
            WireMode::Raw => Some(self.upgrade(&format!("{}/pub", path("")))),
            WireMode::Sse | WireMode::SseV1 => Some(self.upgrade("/ws")),
            WireMode::SseRaw => Some(self.upgrade("/pub")),
        }
    }

    fn upgrade(&self, path: &str) -> String {
        format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n",
            self.authority
        )
    }

    fn stream(&self, path: &str) -> String {
        format!("GET {path} HTTP/1.1\r\nHost: {}\r\nAccept: text/event-stream\r\n\r\n", self.authority)
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

    /// Appends what publishes `payload` to `topic`: a frame or a request.
    pub(super) fn publish(&self, out: &mut Vec<u8>, topic: u32, payload: &[u8]) {
        let name = topic_name(topic);
        if self.posts {
            let head = format!(
                "POST /publish?topic={name} HTTP/1.1\r\nHost: {}\r\nContent-Type: text/plain\r\n\
                 Content-Length: {}\r\n\r\n",
                self.authority,
                payload.len()
            );
            out.extend_from_slice(head.as_bytes());
            out.extend_from_slice(payload);
            return;
        }
        let name = name.as_bytes();
        match self.mode {
            WireMode::V1 | WireMode::Plain | WireMode::Sse | WireMode::SseV1 => {
                let parts = [&br#"{"publish":{"topic":""#[..], name, br#"","data":""#, payload, br#""}}"#];
                frame::encode(out, frame::TEXT, &parts);
            }
            WireMode::Raw | WireMode::SseRaw => frame::encode(out, frame::TEXT, &[name, b"|", payload]),
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

/// How many messages the data of a `$gap` event says are missing: in the v1 message, or as it is.
pub(super) fn missed(data: &[u8]) -> Option<u64> {
    let said: SaidMissed = serde_json::from_slice(data).ok()?;
    said.gap.map_or(said.missed, |gap| gap.missed)
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

#[derive(Deserialize)]
struct SaidMissed {
    missed: Option<u64>,
    gap: Option<SaidGap>,
}

/// The example of RFC 6455 section 1.3; a load generator needs no nonce.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// Reads the answer to an upgrade: its size in bytes once it is complete, an error when it is a refusal.
pub(super) fn upgrade_answer(bytes: &[u8]) -> Result<Option<usize>> {
    let Some(head) = Head::parse(bytes)? else { return Ok(None) };
    if head.status != 101 {
        bail!("the upgrade was refused: {}", head.line);
    }
    if head.field("sec-websocket-accept") != Some(ACCEPT) {
        bail!("the upgrade's Sec-WebSocket-Accept is missing or wrong");
    }
    Ok(Some(head.size))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn endpoint(arguments: &[&str]) -> Endpoint {
        Endpoint::parse(&Options::parse_from([&["fan"], arguments].concat())).unwrap()
    }

    fn v1() -> Endpoint {
        endpoint(&[])
    }

    #[test]
    fn paths_of_the_dialects() {
        let lines = |arguments: &[&str]| {
            let endpoint = endpoint(arguments);
            let requests =
                [Some(endpoint.subscriber_request([3, 4].into_iter())), endpoint.publisher_request()];
            requests.map(|request| {
                let request = request?;
                let line = request.lines().next().unwrap();
                Some(line.strip_prefix("GET ").unwrap().strip_suffix(" HTTP/1.1").unwrap().to_owned())
            })
        };
        for (arguments, subscriber, publisher) in [
            (&[][..], "/ws", "/ws"),
            (&["--url", "ws://x:1/live/ws"], "/live/ws", "/live/ws"),
            (&["--wire", "plain"], "/ws?topic=t3&topic=t4", "/ws"),
            (&["--wire", "raw", "--url", "http://x:1/"], "/sub/t3", "/pub"),
            (&["--wire", "sse"], "/events?topic=t3&topic=t4", "/ws"),
            (&["--wire", "sse-v1"], "/events?topic=t3&topic=t4&format=v1", "/ws"),
            (&["--wire", "sse", "--url", "http://x:1/stream"], "/stream?topic=t3&topic=t4", "/ws"),
            (&["--wire", "sse-raw"], "/sse/t3", "/pub"),
            (&["--wire", "sse-raw", "--url", "http://x:1/sub"], "/sub/t3", "/pub"),
            (&["--wire", "sse", "--post"], "/events?topic=t3&topic=t4", ""),
        ] {
            let publisher = (!publisher.is_empty()).then(|| publisher.to_owned());
            assert_eq!(lines(arguments), [Some(subscriber.to_owned()), publisher], "{arguments:?}");
        }
        assert!(Endpoint::parse(&Options::parse_from(["fan", "--url", "https://x"])).is_err());
    }

    #[test]
    fn publishes_over_http() {
        let mut out = Vec::new();
        let post = endpoint(&["--post", "--url", "http://x:1"]);
        post.publish(&mut out, 4, b"xyz");
        let expected = "POST /publish?topic=t4 HTTP/1.1\r\nHost: x:1\r\nContent-Type: text/plain\r\n\
                        Content-Length: 3\r\n\r\nxyz";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn what_gaps_say() {
        assert_eq!(missed(br#"{"missed":7,"last":"k:1","reason":"slow"}"#), Some(7));
        assert_eq!(missed(br#"{"topic":"t","gap":{"missed":9}}"#), Some(9));
        assert_eq!(missed(br#"{"topic":"t","gap":{"reason":"backend"}}"#), None);
        assert_eq!(missed(b"no json"), None);
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
        let good =
            format!("HTTP/1.1 101 Switching Protocols\r\nsec-websocket-accept: {}\r\n\r\n\u{1}", ACCEPT);
        assert_eq!(upgrade_answer(good.as_bytes()).unwrap(), Some(good.len() - 1));
        assert_eq!(upgrade_answer(&good.as_bytes()[..20]).unwrap(), None);
        assert!(upgrade_answer(b"HTTP/1.1 403 Forbidden\r\n\r\n").is_err());
        assert!(upgrade_answer(b"HTTP/1.1 101 Yes\r\nsec-websocket-accept: other\r\n\r\n").is_err());
    }
}
