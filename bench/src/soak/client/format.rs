//! A wire format of the soak's own: nothing that a frame says is left out.

use bytes::{BufMut, BytesMut};
use fanfare::{
    message::{
        Encoder, Epoch, Frame, Gap, GapReason, LogPlace, Message, MessageParts, Payload, PayloadKind,
        Position,
    },
    presence::PresenceEvent,
    session::{Reply, Subscribed},
    topic::TopicName,
};
use serde_json::{Value, json};

/// Frames as a line of JSON each, and the payload behind it.
pub(crate) struct Lines;

/// What a client reads out of a frame.
#[derive(Debug)]
pub(super) enum Heard {
    Message(Box<Message>),
    Gap(String, Gap),
    Live(String, Position),
    Connected(Connected),
    Subscribed(u64, Subscribed),
    Called(u64, Payload),
    /// Any other answer.
    Done(u64, Value),
    Failed(u64, String),
    Call(String, Payload),
    SubscribedByServer(String, Subscribed),
    UnsubscribedByServer(String),
    /// Who is there, in place of all that was told before.
    Present(String, Vec<String>),
    Changed(String, Vec<String>, Vec<String>),
    Close(String),
    Nothing,
}

/// The answer to `connect`.
#[derive(Debug)]
pub(super) struct Connected {
    pub(super) client: String,
    pub(super) session: Option<String>,
    pub(super) resumed: bool,
    pub(super) subscribed: Vec<(String, Result<Subscribed, String>)>,
}

impl Encoder for Lines {
    fn encode(&self, frame: Frame<'_>, out: &mut BytesMut) {
        let (head, payload) = match frame {
            Frame::Message(message) => {
                let place = message.place().map(|place| json!([position(place.position), place.prev]));
                let head = json!({ "is": "message", "topic": message.topic().as_str(), "event": message.event(),
                    "place": place, "kind": kind(message.payload()) });
                (head, Some(message.payload()))
            }
            Frame::Gap { topic, gap } => {
                let head = json!({ "is": "gap", "topic": topic, "missed": gap.missed, "reason": gap.reason.as_str(),
                    "last": gap.last.map(position), "next": gap.next.map(position) });
                (head, None)
            }
            Frame::Live { topic, position: at } => {
                (json!({ "is": "live", "topic": topic.as_str(), "at": position(at) }), None)
            }
            Frame::Reply { id, reply } => reply_head(id.map_or(0, |id| id.value()), reply),
            Frame::Call(call) => {
                let head = json!({ "is": "call", "call": call.id.to_string(), "kind": kind(&call.payload) });
                (head, Some(&call.payload))
            }
            Frame::Subscribed { topic, outcome } => {
                (json!({ "is": "begun", "topic": topic, "outcome": outcome_json(*outcome) }), None)
            }
            Frame::Unsubscribed { topic, .. } => (json!({ "is": "ended", "topic": topic }), None),
            Frame::Presence { topic, event } => (presence_head(topic, event), None),
            Frame::Close(reason) => (json!({ "is": "close", "why": reason.kind.name() }), None),
            _ => (json!({ "is": "nothing" }), None),
        };
        out.put_slice(head.to_string().as_bytes());
        out.put_u8(b'\n');
        if let Some(payload) = payload {
            out.put_slice(payload.bytes());
        }
    }
}

fn reply_head(id: u64, reply: &Reply) -> (Value, Option<&Payload>) {
    let head = match reply {
        Reply::Connected(connected) => {
            let subscribed: Vec<_> = connected
                .subscribed
                .iter()
                .map(|(name, outcome)| match outcome {
                    Ok(outcome) => json!([name, outcome_json(*outcome)]),
                    Err(error) => json!([name, error.code.as_str()]),
                })
                .collect();
            json!({ "is": "connected", "id": id, "client": connected.client.to_string(),
                "session": connected.session, "resumed": connected.resumed, "subscribed": subscribed })
        }
        Reply::Subscribed(outcome) => {
            json!({ "is": "subscribed", "id": id, "outcome": outcome_json(*outcome) })
        }
        Reply::Called(payload) => {
            return (json!({ "is": "called", "id": id, "kind": kind(payload) }), Some(payload));
        }
        Reply::Published(published) => {
            json!({ "is": "done", "id": id, "at": published.position.map(position) })
        }
        Reply::Error(error) => json!({ "is": "failed", "id": id, "code": error.code.as_str() }),
        _ => json!({ "is": "done", "id": id }),
    };
    (head, None)
}

fn presence_head(topic: &str, event: &PresenceEvent) -> Value {
    match event {
        PresenceEvent::Snapshot(page) => {
            let members: Vec<_> = page.members.iter().map(|member| member.client.to_string()).collect();
            json!({ "is": "present", "topic": topic, "members": members })
        }
        PresenceEvent::Changes(changes) => {
            let joined: Vec<_> = changes.join.iter().map(|member| member.client.to_string()).collect();
            let left: Vec<_> = changes.leave.iter().map(ToString::to_string).collect();
            json!({ "is": "changed", "topic": topic, "joined": joined, "left": left })
        }
        _ => json!({ "is": "nothing" }),
    }
}

fn kind(payload: &Payload) -> &'static str {
    match payload.kind() {
        PayloadKind::Json => "json",
        PayloadKind::Text => "text",
        PayloadKind::Binary => "binary",
    }
}

fn position(position: Position) -> String {
    position.to_string()
}

fn outcome_json(outcome: Subscribed) -> Value {
    json!({ "recovered": outcome.recovered, "position": outcome.position.map(position) })
}

/// Reads a frame; what is wrong with it where it cannot be read.
pub(super) fn read(frame: &[u8]) -> Result<Heard, String> {
    let end = frame.iter().position(|byte| *byte == b'\n').ok_or("a frame without an end")?;
    let head: Value =
        serde_json::from_slice(&frame[..end]).map_err(|error| format!("a torn frame: {error}"))?;
    let rest = &frame[end + 1..];
    let text = |key: &str| head[key].as_str().unwrap_or_default().to_owned();
    let at = |key: &str| head[key].as_str().and_then(|text| text.parse().ok());
    let texts = |key: &str| {
        let values = head[key].as_array().into_iter().flatten();
        values.filter_map(|value| value.as_str().map(str::to_owned)).collect::<Vec<_>>()
    };
    let id = head["id"].as_u64().unwrap_or_default();
    let payload = || payload(&text("kind"), rest);
    Ok(match head["is"].as_str().unwrap_or_default() {
        "message" => Heard::Message(Box::new(message(&head, payload()?)?)),
        "gap" => {
            let reason = match head["reason"].as_str() {
                Some("slow") => GapReason::Slow,
                Some("history") => GapReason::History,
                Some("epoch") => GapReason::Epoch,
                _ => GapReason::Backend,
            };
            let gap = Gap::new(reason, head["missed"].as_u64()).between(at("last"), at("next"));
            Heard::Gap(text("topic"), gap)
        }
        "live" => Heard::Live(text("topic"), at("at").ok_or("live without a position")?),
        "connected" => Heard::Connected(Connected {
            client: text("client"),
            session: head["session"].as_str().map(str::to_owned),
            resumed: head["resumed"] == true,
            subscribed: head["subscribed"].as_array().into_iter().flatten().map(entry).collect(),
        }),
        "subscribed" => Heard::Subscribed(id, outcome(&head["outcome"])),
        "called" => Heard::Called(id, payload()?),
        "failed" => Heard::Failed(id, text("code")),
        "done" => Heard::Done(id, head["at"].clone()),
        "call" => Heard::Call(text("call"), payload()?),
        "begun" => Heard::SubscribedByServer(text("topic"), outcome(&head["outcome"])),
        "ended" => Heard::UnsubscribedByServer(text("topic")),
        "present" => Heard::Present(text("topic"), texts("members")),
        "changed" => Heard::Changed(text("topic"), texts("joined"), texts("left")),
        "close" => Heard::Close(text("why")),
        "nothing" => Heard::Nothing,
        other => return Err(format!("a frame that is {other:?}")),
    })
}

fn message(head: &Value, payload: Payload) -> Result<Message, String> {
    let name = head["topic"].as_str().unwrap_or_default();
    let topic = TopicName::new(name).map_err(|error| format!("a message of {name:?}: {error}"))?;
    let mut parts = MessageParts::new(topic, payload);
    parts.event = head["event"].as_str().map(Into::into);
    let place = head["place"].as_array().map(|place| {
        let position = place[0].as_str().and_then(|text| text.parse().ok());
        let position = position.unwrap_or(Position::new(Epoch::new(0), 0));
        LogPlace { position, prev: place[1].as_u64().unwrap_or_default() }
    });
    Ok(match place {
        Some(place) => Message::logged(parts, place),
        None => Message::ephemeral(parts),
    })
}

fn payload(kind: &str, bytes: &[u8]) -> Result<Payload, String> {
    let text = || String::from_utf8(bytes.to_vec()).map_err(|error| format!("a payload: {error}"));
    Ok(match kind {
        "json" => Payload::parsed_json(text()?).map_err(|error| format!("a payload: {error}"))?,
        "text" => Payload::text(text()?),
        _ => Payload::binary(bytes.to_vec()),
    })
}

fn entry(value: &Value) -> (String, Result<Subscribed, String>) {
    let name = value[0].as_str().unwrap_or_default().to_owned();
    let result = match value[1].as_str() {
        Some(code) => Err(code.to_owned()),
        None => Ok(outcome(&value[1])),
    };
    (name, result)
}

fn outcome(value: &Value) -> Subscribed {
    let position = value["position"].as_str().and_then(|text| text.parse().ok());
    Subscribed::new(value["recovered"].as_bool(), position)
}
