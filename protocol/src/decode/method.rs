//! The methods and the fields of each.

/// A method of v1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Connect,
    Subscribe,
    Unsubscribe,
    Publish,
    History,
    Ping,
    Refresh,
    Call,
    Answer,
    Presence,
}

/// The largest number of fields that a method reads.
pub(super) const MAX_FIELDS: usize = 8;

impl Method {
    pub(super) fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "publish" => Self::Publish,
            "ping" => Self::Ping,
            "subscribe" => Self::Subscribe,
            "unsubscribe" => Self::Unsubscribe,
            "history" => Self::History,
            "connect" => Self::Connect,
            "refresh" => Self::Refresh,
            "call" => Self::Call,
            "answer" => Self::Answer,
            "presence" => Self::Presence,
            _ => return None,
        })
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Subscribe => "subscribe",
            Self::Unsubscribe => "unsubscribe",
            Self::Publish => "publish",
            Self::History => "history",
            Self::Ping => "ping",
            Self::Refresh => "refresh",
            Self::Call => "call",
            Self::Answer => "answer",
            Self::Presence => "presence",
        }
    }

    /// The fields that are read; all others are ignored.
    pub(super) const fn fields(self) -> &'static [&'static str] {
        match self {
            Self::Connect => &["token", "session", "subscribe"],
            Self::Subscribe => &["topic", "after", "last", "latest", "presence"],
            Self::Unsubscribe => &["topic"],
            Self::Publish => &["topic", "data", "event", "key", "message_id", "echo", "text", "topics"],
            Self::History => &["topic", "before", "after", "limit"],
            Self::Ping => &[],
            Self::Refresh => &["token"],
            Self::Call => &["method", "data", "text"],
            Self::Answer => &["call_id", "data", "text", "error"],
            Self::Presence => &["topic", "limit", "next"],
        }
    }
}

/// What an error calls the fields of an entry of `connect.subscribe`: those of `subscribe`, in the same order.
pub(super) const ENTRY_FIELDS: &[&str] =
    &["subscribe.topic", "subscribe.after", "subscribe.last", "subscribe.latest", "subscribe.presence"];

/// Names that v1 has given away already. This server does not serve them, but they count as methods: next to
/// another method they are not an unknown field.
pub(super) const RESERVED: [&str; 2] = ["subscribed", "unsubscribed"];
