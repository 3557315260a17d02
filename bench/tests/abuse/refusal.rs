//! Commands that are answered by an error, and what the error says.

use std::net::SocketAddr;

use serde_json::Value;

use crate::client::Client;
use crate::frame::{BINARY, TEXT, masked};

/// A frame that is no command, or one that is refused.
pub(crate) struct Refusal {
    what: String,
    frame: Vec<u8>,
    has_id: bool,
    code: &'static str,
    field: Option<&'static str>,
    over: Option<(u64, u64)>,
}

/// A text frame. One that begins with the id 9 is answered under it.
pub(crate) fn text(command: impl Into<String>, code: &'static str) -> Refusal {
    let what: String = command.into();
    Refusal {
        frame: masked(TEXT, what.as_bytes()),
        has_id: [r#"{"id":9,"#, r#"{"id":9}"#].iter().any(|id| what.starts_with(id)),
        code,
        field: None,
        over: None,
        what,
    }
}

/// A binary frame: a header and, after it, the payload.
pub(crate) fn binary(header: &str, payload: &[u8], code: &'static str) -> Refusal {
    let frame = [&(header.len() as u32).to_be_bytes(), header.as_bytes(), payload].concat();
    Refusal { frame: masked(BINARY, &frame), ..text(header, code) }
}

/// A binary frame as it is.
pub(crate) fn bytes(payload: &[u8], code: &'static str) -> Refusal {
    Refusal { frame: masked(BINARY, payload), ..text(payload.escape_ascii().to_string(), code) }
}

impl Refusal {
    pub(crate) fn field(self, field: &'static str) -> Self {
        Self { field: Some(field), ..self }
    }

    /// The limit, and what was sent instead.
    pub(crate) fn over(self, limit: u64, value: u64) -> Self {
        Self { over: Some((limit, value)), ..self }
    }

    fn check(&self, reply: &Value) {
        let what: String = self.what.chars().take(200).collect();
        let error = &reply["error"];
        assert_eq!(reply.get("id").is_some(), self.has_id, "{what}: {reply}");
        assert_eq!(error["code"], self.code, "{what}: {reply}");
        assert_eq!(error.get("field").and_then(Value::as_str), self.field, "{what}: {reply}");
        let over = error["limit"].as_u64().zip(error["value"].as_u64());
        assert_eq!(over, self.over, "{what}: {reply}");
        assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()), "{what}: {reply}");
        assert_eq!(error["retry"], false, "{what}: {reply}");
    }
}

/// Sends them all. Each is answered, in order, and the connection is served on.
pub(crate) fn are_refused(address: SocketAddr, refusals: &[Refusal]) {
    // Fewer than a connection may send at once.
    for some in refusals.chunks(150) {
        let mut client = Client::v1(address);
        for refusal in some {
            client.send(&refusal.frame);
        }
        for refusal in some {
            refusal.check(&client.json());
        }
        client.is_well();
    }
}
