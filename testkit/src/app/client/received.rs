//! What a client is given: messages, and calls that it has to answer.

use fanfare_core::message::Payload;
use serde_json::{Value, json};

/// A message that a client got.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Received {
    /// Its topic.
    pub topic: String,
    /// Its payload, of the kind that it was published with.
    pub payload: Payload,
}

/// A call of the server.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Asked {
    /// What the answer has to name.
    pub id: String,
    /// The method.
    pub method: String,
    /// What the method is given.
    pub payload: Payload,
}

impl Asked {
    pub(in crate::app) fn answer(&self, result: Result<Value, Value>) -> Value {
        match result {
            Ok(data) => json!({ "call_id": self.id, "data": data }),
            Err(error) => json!({ "call_id": self.id, "error": error }),
        }
    }
}

impl Received {
    /// The payload as text: what was published as text, or the JSON as it is written.
    ///
    /// # Panics
    ///
    /// When it is binary and no UTF-8.
    #[must_use]
    pub fn text(&self) -> &str {
        self.payload.as_str().unwrap_or_else(|| panic!("the payload is no text: {self:?}"))
    }
}
