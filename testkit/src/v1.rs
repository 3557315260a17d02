//! What a client of the wire format v1 is told, read as the suite and test clients want it.

use std::collections::BTreeMap;

use base64::{Engine, prelude::BASE64_STANDARD};
use fanfare_core::message::Payload;
use serde_json::Value;

use crate::transport::Event;

/// Reads frames of v1, and remembers the cursor of each topic.
#[derive(Clone, Debug, Default)]
pub struct V1 {
    cursors: BTreeMap<String, String>,
}

/// A frame of v1.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Frame {
    /// Something that happened.
    Event(Event),
    /// The answer to a command.
    Reply {
        /// The command's number; `None` where it had none and failed.
        id: Option<u64>,
        /// What `ok` or `error` holds; a binary payload as `base64`.
        result: Result<Value, Value>,
    },
    /// A cursor alone: something was hidden from this client.
    Cursor,
}

impl V1 {
    /// One that has read nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// One that goes on with the cursors of another one: see [`resume`](Self::resume).
    #[must_use]
    pub fn resuming(resume: &str) -> Self {
        Self { cursors: serde_json::from_str(resume).unwrap_or_default() }
    }

    /// The cursor of a topic: what to hand back as `after`.
    #[must_use]
    pub fn cursor(&self, topic: &str) -> Option<&str> {
        self.cursors.get(topic).map(String::as_str)
    }

    /// All cursors as one text; `None` where there is none.
    #[must_use]
    pub fn resume(&self) -> Option<String> {
        if self.cursors.is_empty() { None } else { serde_json::to_string(&self.cursors).ok() }
    }

    /// A subscribe command, beginning at the topic's cursor, if it has one.
    #[must_use]
    pub fn subscribe(&self, id: u64, topic: &str) -> String {
        let mut command = serde_json::json!({ "id": id, "subscribe": { "topic": topic } });
        if let Some(after) = self.cursor(topic) {
            command["subscribe"]["after"] = after.into();
        }
        command.to_string()
    }

    /// The position that a subscribe was answered with.
    pub fn subscribed(&mut self, topic: &str, ok: &Value) {
        if let Some(position) = ok["pos"].as_str() {
            self.cursors.insert(topic.to_owned(), position.to_owned());
        }
    }

    /// What a session that was taken up brought back, of what this did not know a cursor yet.
    pub fn resumed(&mut self, ok: &Value) {
        for entry in ok["subscribed"].as_array().into_iter().flatten() {
            let topic = string(&entry["topic"]);
            if self.cursor(&topic).is_none() {
                self.subscribed(&topic, entry);
            }
        }
    }

    /// Reads a text frame.
    ///
    /// # Panics
    ///
    /// When it is none of v1.
    pub fn read(&mut self, text: &str) -> Frame {
        let frame: Value =
            serde_json::from_str(text).unwrap_or_else(|error| panic!("no JSON: {error}: {text}"));
        self.read_value(&frame, None)
    }

    /// Reads a binary frame: the length of its header, the header, the payload.
    ///
    /// # Panics
    ///
    /// When it is none of v1.
    pub fn read_binary(&mut self, bytes: &[u8]) -> Frame {
        let parts = bytes.split_first_chunk().and_then(|(length, rest)| {
            rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)
        });
        let Some((header, payload)) = parts else { panic!("a binary frame without its header") };
        let header: Value =
            serde_json::from_slice(header).unwrap_or_else(|error| panic!("no header: {error}"));
        self.read_value(&header, Some(payload))
    }

    fn read_value(&mut self, frame: &Value, binary: Option<&[u8]>) -> Frame {
        for (key, is_ok) in [("ok", true), ("error", false)] {
            if let Some(body) = frame.get(key) {
                let mut body = body.clone();
                if let (Some(bytes), Some(body)) = (binary, body.as_object_mut()) {
                    body.insert("base64".to_owned(), BASE64_STANDARD.encode(bytes).into());
                }
                let result = if is_ok { Ok(body) } else { Err(body) };
                return Frame::Reply { id: frame["id"].as_u64(), result };
            }
        }
        if let Some(close) = frame.get("close") {
            let retry_after = close["retry_ms"].as_u64().map(std::time::Duration::from_millis);
            return Frame::Event(Event::Closed { name: string(&close["name"]), retry_after });
        }
        if let Some(begun) = frame.get("subscribed") {
            let topic = string(&begun["topic"]);
            self.subscribed(&topic, begun);
            return Frame::Event(Event::Subscribed { topic });
        }
        if let Some(gone) = frame.get("unsubscribed") {
            let (topic, code) = (string(&gone["topic"]), string(&gone["code"]));
            self.cursors.remove(&topic);
            return Frame::Event(Event::Unsubscribed { topic, code, retry: gone["retry"] == true });
        }
        if let Some(token) = frame.get("token") {
            let expires = token["expires_ms"].as_u64().unwrap_or_default();
            return Frame::Event(Event::Token { expires: std::time::Duration::from_millis(expires) });
        }
        if let Some(call) = frame.get("call") {
            let (id, method) = (string(&call["call_id"]), string(&call["method"]));
            let payload =
                payload(call, binary).unwrap_or_else(|| panic!("a call without a payload: {frame}"));
            return Frame::Event(Event::Call { id, method, payload });
        }
        let topic = string(&frame["topic"]);
        assert!(!topic.is_empty(), "a frame that says nothing: {frame}");
        if let Some(position) = frame["pos"].as_str() {
            self.cursors.insert(topic.clone(), position.to_owned());
        }
        if let Some(gap) = frame.get("gap") {
            let (missed, reason) = (gap["missed"].as_u64(), string(&gap["reason"]));
            return Frame::Event(Event::Gap { topic, missed, reason });
        }
        if let Some(said) = frame.get("presence") {
            return Frame::Event(Event::Presence { topic, said: said.clone() });
        }
        if frame.get("live").is_some() {
            return Frame::Event(Event::Live { topic });
        }
        match payload(frame, binary) {
            Some(payload) => Frame::Event(Event::Message { topic, payload }),
            None => Frame::Cursor,
        }
    }
}

/// The payload of a message, of the kind that the frame says.
fn payload(frame: &Value, binary: Option<&[u8]>) -> Option<Payload> {
    if let Some(bytes) = binary {
        return Some(Payload::binary(bytes.to_vec()));
    }
    if let Some(base64) = frame["base64"].as_str() {
        let bytes = BASE64_STANDARD.decode(base64);
        return Some(Payload::binary(bytes.unwrap_or_else(|error| panic!("no base64: {error}"))));
    }
    let data = frame.get("data")?;
    if frame["text"] == true {
        return Some(Payload::text(string(data)));
    }
    let json = Payload::parsed_json(data.to_string());
    Some(json.unwrap_or_else(|error| panic!("no JSON: {error}")))
}

fn string(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
