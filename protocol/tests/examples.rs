//! Every example of PROTOCOL.md: what a client sends is decoded, and what the server sends is what [`encode`]
//! writes for the same frame, byte for byte.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::{borrow::Cow, sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::BytesMut;
use fanfare_core::{
    calls::OutgoingCall,
    message::{Frame, Gap, GapReason, LogPlace, Message, MessageParts, Payload, Publisher},
    presence::{Member, PresenceChanges, PresenceCounts, PresenceEvent, PresencePage},
    session::{
        CloseKind, CloseReason, CommandError, Connected, ErrorCode, HistoryPage, Published, Reply, RequestId,
        Subscribed,
    },
    topic::TopicName,
};
use fanfare_protocol::{Kind, decode_binary, decode_text, encode};
use serde::Deserialize;
use serde_json::value::RawValue;

/// What this server answers with `unknown_method`.
const NOT_SERVED: [&str; 1] = ["dance"];

#[test]
fn every_frame_of_a_client_is_decoded() {
    let lines = examples('C');
    assert!(lines.len() >= 25, "only {} examples were found", lines.len());
    for (line, binary) in &lines {
        let decoded = if *binary {
            let length = u32::try_from(line.len()).unwrap().to_be_bytes();
            decode_binary(&[&length, line.as_bytes(), b"\0payload\xff"].concat())
        } else {
            decode_text(line)
        };
        let served = !NOT_SERVED.iter().any(|name| line.contains(&format!("\"{name}\":{{")));
        match decoded {
            Ok(_) => assert!(served, "{line}"),
            Err(error) => {
                assert!(!served && error.error.code == ErrorCode::UnknownMethod, "{line}: {error:?}");
                assert_eq!(error.id.is_some(), line.contains("\"id\""), "{line}");
            }
        }
    }
    for method in [
        "connect",
        "subscribe",
        "unsubscribe",
        "publish",
        "history",
        "ping",
        "refresh",
        "call",
        "answer",
        "presence",
    ] {
        assert!(
            lines.iter().any(|(line, _)| line.contains(&format!("\"{method}\":{{"))),
            "no example of {method}"
        );
    }
}

#[test]
fn every_frame_of_the_server_is_what_encode_writes() {
    let lines = examples('S');
    assert!(lines.len() >= 40, "only {} examples were found", lines.len());
    for (line, binary) in &lines {
        let mut out = BytesMut::new();
        let kind = parse(line).encode(*binary, &mut out);
        if *binary {
            assert_eq!(kind, Kind::Binary, "{line}");
            assert_eq!(out[..4], u32::try_from(line.len()).unwrap().to_be_bytes(), "{line}");
            assert_eq!(std::str::from_utf8(&out[4..]).unwrap(), line);
        } else {
            assert_eq!(kind, Kind::Text, "{line}");
            assert_eq!(std::str::from_utf8(&out).unwrap(), line);
        }
    }
}

/// The lines of one side, and whether each is the header of a binary frame.
fn examples(side: char) -> Vec<(String, bool)> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../PROTOCOL.md");
    let page = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let mut block = None;
    let mut lines = Vec::new();
    for line in page.lines() {
        match (block, line) {
            (None, "```frames") => block = Some(false),
            (None, "```frames-binary") => block = Some(true),
            (Some(_), "```") => block = None,
            (Some(binary), line) => {
                let (prefix, frame) = line.split_once(' ').unwrap_or_else(|| panic!("no example: {line}"));
                assert!(matches!(prefix, "C" | "S"), "no example: {line}");
                assert!(serde_json::from_str::<serde_json::Value>(frame).unwrap().is_object(), "{line}");
                if prefix.starts_with(side) {
                    lines.push((frame.to_owned(), binary));
                }
            }
            (None, _) => {}
        }
    }
    lines
}

fn parse(line: &str) -> Object<'_> {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"))
}

/// Any object of the server, at any depth, as a client would read it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Object<'a> {
    id: Option<u64>,
    ok: Option<Box<Object<'a>>>,
    error: Option<Box<Object<'a>>>,
    gap: Option<Box<Object<'a>>>,
    close: Option<Box<Object<'a>>>,
    call: Option<Box<Object<'a>>>,
    token: Option<Box<Object<'a>>>,
    unsubscribed: Option<Box<Object<'a>>>,
    presence: Option<Who<'a>>,
    live: Option<bool>,
    // Messages.
    topic: Option<Cow<'a, str>>,
    pos: Option<&'a str>,
    event: Option<&'a str>,
    key: Option<&'a str>,
    from: Option<Box<Object<'a>>>,
    time: Option<u64>,
    message_id: Option<&'a str>,
    text: Option<bool>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    base64: Option<&'a str>,
    // Replies.
    client: Option<&'a str>,
    user: Option<&'a str>,
    ping_ms: Option<u64>,
    expires_ms: Option<u64>,
    #[serde(borrow)]
    subscribed: Option<OneOrMany<'a>>,
    session: Option<&'a str>,
    resumed: Option<bool>,
    recovered: Option<bool>,
    duplicate: Option<bool>,
    messages: Option<Vec<Object<'a>>>,
    more: Option<bool>,
    members: Option<Vec<Someone<'a>>>,
    clients: Option<u64>,
    users: Option<u64>,
    // Calls.
    call_id: Option<&'a str>,
    method: Option<&'a str>,
    timeout_ms: Option<u64>,
    // Gaps.
    missed: Option<u64>,
    last: Option<&'a str>,
    next: Option<&'a str>,
    reason: Option<&'a str>,
    // Errors and the last word.
    code: Option<serde_json::Value>,
    name: Option<&'a str>,
    message: Option<Cow<'a, str>>,
    field: Option<&'a str>,
    limit: Option<u64>,
    value: Option<u64>,
    retry: Option<bool>,
    retry_ms: Option<u64>,
}

/// Who is there.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Who<'a> {
    #[serde(borrow)]
    snapshot: Option<Vec<Someone<'a>>>,
    #[serde(default)]
    join: Vec<Someone<'a>>,
    #[serde(default)]
    leave: Vec<&'a str>,
    #[serde(default)]
    update: Vec<Someone<'a>>,
    clients: Option<u64>,
    users: Option<u64>,
    next: Option<&'a str>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Someone<'a> {
    client: &'a str,
    user: Option<&'a str>,
    #[serde(borrow)]
    meta: Option<&'a RawValue>,
}

impl Who<'_> {
    fn event(&self) -> PresenceEvent {
        let counts = counts(self.clients, self.users);
        if let Some(snapshot) = &self.snapshot {
            return PresenceEvent::Snapshot(page(snapshot, counts, self.next));
        }
        let mut changes = PresenceChanges::default();
        changes.counts = counts;
        changes.join = self.join.iter().map(Someone::member).collect();
        changes.leave = self.leave.iter().map(|client| client.parse().unwrap()).collect();
        changes.update = self.update.iter().map(Someone::member).collect();
        PresenceEvent::Changes(changes)
    }
}

impl Someone<'_> {
    fn member(&self) -> Member {
        let mut member = Member::new(self.client.parse().unwrap());
        member.user = self.user.map(Into::into);
        member.meta = self.meta.map(|meta| meta.get().into());
        member
    }
}

fn counts(clients: Option<u64>, users: Option<u64>) -> PresenceCounts {
    let mut counts = PresenceCounts::default();
    (counts.clients, counts.users) = (clients.unwrap(), users.unwrap());
    counts
}

fn page(members: &[Someone<'_>], counts: PresenceCounts, next: Option<&str>) -> PresencePage {
    let mut page = PresencePage::default();
    page.members = members.iter().map(Someone::member).collect();
    page.counts = counts;
    page.next = next.map(|next| next.parse().unwrap());
    page
}

/// `subscribed` of a reply to `connect`, and of what the server does.
#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany<'a> {
    Many(#[serde(borrow)] Vec<Object<'a>>),
    One(#[serde(borrow)] Box<Object<'a>>),
}

impl Object<'_> {
    fn encode(&self, binary: bool, out: &mut BytesMut) -> Kind {
        if let Some(close) = &self.close {
            return encode(Frame::Close(&close.close_reason()), out);
        }
        if let Some(token) = &self.token {
            return encode(Frame::Token { expires: Duration::from_millis(token.expires_ms.unwrap()) }, out);
        }
        if let Some(OneOrMany::One(one)) = &self.subscribed {
            return encode(
                Frame::Subscribed { topic: one.topic.as_deref().unwrap(), outcome: &one.subscribed() },
                out,
            );
        }
        if let Some(gone) = &self.unsubscribed {
            let (topic, retry) = (gone.topic.as_deref().unwrap(), gone.retry.unwrap());
            return encode(Frame::Unsubscribed { topic, code: gone.error_code(), retry }, out);
        }
        if let Some(call) = &self.call {
            let timeout = Duration::from_millis(call.timeout_ms.unwrap());
            let id = call.call_id.unwrap().parse().unwrap();
            let call = OutgoingCall::new(id, call.method.unwrap(), call.payload(binary), timeout);
            return encode(Frame::Call(&call), out);
        }
        if let Some(who) = &self.presence {
            let topic = self.topic.as_deref().unwrap();
            return encode(Frame::Presence { topic, event: &who.event() }, out);
        }
        if let Some(gap) = &self.gap {
            return encode(Frame::Gap { topic: self.topic.as_deref().unwrap(), gap: &gap.gap() }, out);
        }
        if self.ok.is_some() || self.error.is_some() {
            let reply = match (&self.ok, &self.error) {
                (Some(ok), None) if binary || ok.data.is_some() => Reply::Called(ok.payload(binary)),
                (Some(ok), None) => ok.reply(),
                (None, Some(error)) => error.error().into(),
                _ => panic!("a reply is either ok or an error"),
            };
            return encode(Frame::Reply { id: self.id.and_then(RequestId::new), reply: &reply }, out);
        }
        if self.time.is_some() {
            return encode(Frame::Message(&self.message(binary)), out);
        }
        let (topic, position) = (self.topic(), self.pos.unwrap().parse().unwrap());
        match self.live {
            Some(_) => encode(Frame::Live { topic: &topic, position }, out),
            None => encode(Frame::Cursor { topic: &topic, position }, out),
        }
    }

    fn topic(&self) -> TopicName {
        TopicName::new(self.topic.as_deref().unwrap()).unwrap()
    }

    fn payload(&self, binary: bool) -> Payload {
        match (self.data, self.base64) {
            (Some(data), None) if self.text == Some(true) => {
                Payload::text(serde_json::from_str::<String>(data.get()).unwrap())
            }
            (Some(data), None) => Payload::parsed_json(data.get().to_owned()).unwrap(),
            (None, Some(base64)) => Payload::binary(STANDARD.decode(base64).unwrap()),
            (None, None) if binary => Payload::binary(Vec::new()),
            _ => panic!("there is one payload"),
        }
    }

    fn message(&self, binary: bool) -> Message {
        let mut parts = MessageParts::new(self.topic(), self.payload(binary));
        parts.event = self.event.map(Into::into);
        parts.key = self.key.map(Into::into);
        parts.message_id = self.message_id.map(Into::into);
        parts.time_ms = self.time.unwrap();
        parts.publisher = self.from.as_ref().map(|from| Publisher {
            client: from.client.unwrap().parse().unwrap(),
            user: from.user.map(Into::into),
        });
        match self.pos {
            Some(pos) => Message::logged(parts, LogPlace { position: pos.parse().unwrap(), prev: 0 }),
            None => Message::ephemeral(parts),
        }
    }

    fn reply(&self) -> Reply {
        if let Some(client) = self.client {
            let ping = Duration::from_millis(self.ping_ms.unwrap());
            let mut connected = Connected::new(client.parse().unwrap(), ping);
            connected.user = self.user.map(Into::into);
            connected.expires = self.expires_ms.map(Duration::from_millis);
            connected.session = self.session.map(Into::into);
            connected.resumed = self.resumed.unwrap_or_default();
            if let Some(OneOrMany::Many(entries)) = &self.subscribed {
                connected.subscribed = entries.iter().map(Object::outcome).collect();
            }
            return Reply::Connected(Box::new(connected));
        }
        if self.expires_ms.is_some() {
            return Reply::Refreshed { expires: self.expires_ms.map(Duration::from_millis) };
        }
        if let Some(messages) = &self.messages {
            let messages = messages.iter().map(|message| Arc::new(message.message(false))).collect();
            return Reply::History(HistoryPage::new(messages, self.more.unwrap()));
        }
        if let Some(members) = &self.members {
            return Reply::Presence(page(members, counts(self.clients, self.users), self.next));
        }
        match self.duplicate {
            Some(duplicate) => {
                Reply::Published(Published::new(self.pos.map(|pos| pos.parse().unwrap()), duplicate))
            }
            None => Reply::Subscribed(self.subscribed()),
        }
    }

    fn outcome(&self) -> (String, Result<Subscribed, CommandError>) {
        let outcome = self.error.as_ref().map_or_else(|| Ok(self.subscribed()), |error| Err(error.error()));
        (self.topic.as_deref().unwrap().to_owned(), outcome)
    }

    fn subscribed(&self) -> Subscribed {
        Subscribed::new(self.recovered, self.pos.map(|pos| pos.parse().unwrap()))
    }

    fn gap(&self) -> Gap {
        let reason = [GapReason::Slow, GapReason::History, GapReason::Backend, GapReason::Epoch]
            .into_iter()
            .find(|reason| Some(reason.as_str()) == self.reason)
            .unwrap();
        let position = |pos: Option<&str>| pos.map(|pos| pos.parse().unwrap());
        Gap::new(reason, self.missed).between(position(self.last), position(self.next))
    }

    fn error_code(&self) -> ErrorCode {
        let name = self.code.as_ref().and_then(|code| code.as_str()).unwrap();
        *CODES.iter().find(|code| code.as_str() == name).unwrap_or_else(|| panic!("no code {name}"))
    }

    fn error(&self) -> CommandError {
        let code = self.error_code();
        let mut error = CommandError::new(code, self.message.as_deref().unwrap().to_owned());
        assert_eq!(Some(error.retry), self.retry, "{code}: whether a retry can help");
        error.field = self.field.map(|field| &*field.to_owned().leak());
        (error.limit, error.value) = (self.limit, self.value);
        error.retry_after = self.retry_ms.map(Duration::from_millis);
        error
    }

    fn close_reason(&self) -> CloseReason {
        let code = self.code.as_ref().and_then(serde_json::Value::as_u64).unwrap();
        let kind = *CloseKind::ALL.iter().find(|kind| u64::from(kind.code()) == code).unwrap();
        let mut reason = CloseReason::new(kind);
        assert_eq!(Some(reason.name()), self.name);
        if let Some(message) = &self.message {
            reason.message = message.to_string().into();
        }
        reason.retry_after = self.retry_ms.map(Duration::from_millis);
        reason
    }
}

const CODES: [ErrorCode; 18] = [
    ErrorCode::BadRequest,
    ErrorCode::UnknownMethod,
    ErrorCode::Unauthenticated,
    ErrorCode::TokenExpired,
    ErrorCode::Forbidden,
    ErrorCode::InvalidTopic,
    ErrorCode::InvalidPayload,
    ErrorCode::NotSubscribed,
    ErrorCode::TooLarge,
    ErrorCode::LimitExceeded,
    ErrorCode::RateLimited,
    ErrorCode::Timeout,
    ErrorCode::NoSuchMethod,
    ErrorCode::BackendUnavailable,
    ErrorCode::Internal,
    ErrorCode::Draining,
    ErrorCode::Revoked,
    ErrorCode::Kicked,
];
