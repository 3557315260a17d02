//! The bytes of a message and what they are.

use bytes::Bytes;
use thiserror::Error;

/// What the bytes of a [`Payload`] are. It is decided once, where the message
/// enters, and carried by every backend: a receiver never guesses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PayloadKind {
    /// One JSON value (RFC 8259), UTF-8.
    Json,
    /// UTF-8 text.
    Text,
    /// Any bytes.
    Binary,
}

impl PayloadKind {
    /// The name of the kind: `json`, `text` or `binary`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Text => "text",
            Self::Binary => "binary",
        }
    }
}

/// Shared, immutable bytes with their [`PayloadKind`]. Cloning is cheap.
#[derive(Clone, PartialEq, Eq)]
pub struct Payload {
    kind: PayloadKind,
    bytes: Bytes,
}

impl Payload {
    /// A text payload.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self { kind: PayloadKind::Text, bytes: Bytes::from(text.into()) }
    }

    /// A binary payload.
    #[must_use]
    pub fn binary(bytes: impl Into<Bytes>) -> Self {
        Self { kind: PayloadKind::Binary, bytes: bytes.into() }
    }

    /// A JSON payload of bytes that the caller has parsed already, as a
    /// transport or a backend does. The core itself has no JSON parser; the
    /// bytes are embedded as they are into JSON frames, so bytes that are not
    /// one JSON value would spoil the frame for every receiver.
    ///
    /// # Errors
    ///
    /// [`InvalidPayload::NotUtf8`] and [`InvalidPayload::EmptyJson`]: what can
    /// be seen without parsing.
    pub fn parsed_json(bytes: impl Into<Bytes>) -> Result<Self, InvalidPayload> {
        let bytes = bytes.into();
        match std::str::from_utf8(&bytes) {
            Err(error) => Err(InvalidPayload::NotUtf8 { at: error.valid_up_to() }),
            Ok(text) if text.trim().is_empty() => Err(InvalidPayload::EmptyJson),
            Ok(_) => Ok(Self { kind: PayloadKind::Json, bytes }),
        }
    }

    /// A JSON payload of a value.
    ///
    /// # Errors
    ///
    /// The serializer's error, for example of a map whose keys are not strings.
    #[cfg(feature = "json")]
    pub fn json<T: serde::Serialize + ?Sized>(value: &T) -> Result<Self, InvalidPayload> {
        match serde_json::to_vec(value) {
            Ok(bytes) => Ok(Self { kind: PayloadKind::Json, bytes: bytes.into() }),
            Err(error) => Err(InvalidPayload::Encode(Box::new(error))),
        }
    }

    /// Builds a payload from parts, as a backend does on receipt.
    ///
    /// # Errors
    ///
    /// As [`Payload::parsed_json`] for JSON; [`InvalidPayload::NotUtf8`] for text.
    pub fn from_parts(kind: PayloadKind, bytes: impl Into<Bytes>) -> Result<Self, InvalidPayload> {
        let bytes = bytes.into();
        match kind {
            PayloadKind::Json => Self::parsed_json(bytes),
            PayloadKind::Binary => Ok(Self { kind, bytes }),
            PayloadKind::Text => match std::str::from_utf8(&bytes) {
                Err(error) => Err(InvalidPayload::NotUtf8 { at: error.valid_up_to() }),
                Ok(_) => Ok(Self { kind, bytes }),
            },
        }
    }

    /// What the bytes are.
    #[must_use]
    pub fn kind(&self) -> PayloadKind {
        self.kind
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The payload as text, when it is text or JSON.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self.kind {
            PayloadKind::Binary => None,
            PayloadKind::Json | PayloadKind::Text => std::str::from_utf8(&self.bytes).ok(),
        }
    }

    /// Parses the payload as JSON. Text and binary payloads are parsed, too:
    /// who asks knows what is in them.
    ///
    /// # Errors
    ///
    /// The parser's error.
    #[cfg(feature = "json")]
    pub fn parse_json<'a, T: serde::Deserialize<'a>>(&'a self) -> Result<T, InvalidPayload> {
        serde_json::from_slice(&self.bytes).map_err(|error| InvalidPayload::Decode(Box::new(error)))
    }

    /// The length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there are no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

/// Kind and length: payloads never reach a log.
impl std::fmt::Debug for Payload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Payload({}, {} bytes)", self.kind.as_str(), self.bytes.len())
    }
}

impl From<&str> for Payload {
    fn from(text: &str) -> Self {
        Self::text(text)
    }
}

impl From<String> for Payload {
    fn from(text: String) -> Self {
        Self::text(text)
    }
}

impl From<Bytes> for Payload {
    fn from(bytes: Bytes) -> Self {
        Self::binary(bytes)
    }
}

impl From<Vec<u8>> for Payload {
    fn from(bytes: Vec<u8>) -> Self {
        Self::binary(bytes)
    }
}

impl From<&'static [u8]> for Payload {
    fn from(bytes: &'static [u8]) -> Self {
        Self::binary(Bytes::from_static(bytes))
    }
}

#[cfg(feature = "json")]
impl From<serde_json::Value> for Payload {
    fn from(value: serde_json::Value) -> Self {
        Self { kind: PayloadKind::Json, bytes: Bytes::from(value.to_string()) }
    }
}

/// Why bytes are no payload of the wanted kind.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum InvalidPayload {
    /// JSON and text payloads are UTF-8.
    #[error("the payload is not UTF-8 from byte {at}")]
    NotUtf8 {
        /// The first byte that is not part of a valid character.
        at: usize,
    },
    /// JSON payloads hold one value.
    #[error("the JSON payload is empty")]
    EmptyJson,
    /// The value could not be written in the topic's codec.
    #[error("the payload could not be encoded")]
    Encode(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The bytes could not be read in the topic's codec.
    #[error("the payload could not be decoded")]
    Decode(#[source] Box<dyn std::error::Error + Send + Sync>),
}
