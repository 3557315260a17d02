//! What nodes and the hub say to each other.

use std::{io, time::Duration};

use bytes::Bytes;
use fanfare_core::{
    backend::{Accepted, HistoryQuery, Interest, Outgoing, Page, Retention, envelope::Envelope},
    message::{Epoch, LogPlace, Message, Position},
    topic::{TopicConfig, TopicName, TopicPattern},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::net::TcpStream;
use tokio_util::codec::{Framed, LengthDelimitedCodec};

/// What a node asks; an answer has the number of its question.
#[derive(Serialize, Deserialize)]
pub(crate) enum Request {
    Publish(Vec<u8>, Option<Kept>),
    Subscribe(Wanted),
    Unsubscribe(Wanted),
    History(String, Query),
    Control(Option<u64>, Vec<u8>),
}

/// What a node is told.
#[derive(Serialize, Deserialize)]
pub(crate) enum Told {
    /// The hub is there; the first thing that it says, and every now and then.
    Beat,
    Answer(u64, Result<Answer, String>),
    Message(Vec<u8>),
    Control(u64, Vec<u8>),
    Lost,
}

#[derive(Serialize, Deserialize)]
pub(crate) enum Answer {
    Done,
    Accepted { at: Option<(u64, u64)>, duplicate: bool },
    Top(Option<(u64, u64)>),
    Page { epoch: u64, floor: u64, last: u64, more: bool, messages: Vec<Vec<u8>> },
}

/// The first thing that a node says: its cluster and its name.
#[derive(Serialize, Deserialize)]
pub(crate) struct Hello(pub(crate) String, pub(crate) u64);

#[derive(Serialize, Deserialize)]
pub(crate) enum Wanted {
    Topic(String, Option<Kept>),
    Pattern(String),
}

#[derive(Serialize, Deserialize)]
pub(crate) enum Query {
    After(u64, usize),
    Before(Option<u64>, usize),
    Latest,
}

/// A [`Retention`]: messages, bytes, time and window in milliseconds, keys.
#[derive(Serialize, Deserialize)]
pub(crate) struct Kept(usize, usize, u64, u64, usize);

pub(crate) type Frames = Framed<TcpStream, LengthDelimitedCodec>;

pub(crate) fn frames(stream: TcpStream) -> Frames {
    let _ = stream.set_nodelay(true);
    LengthDelimitedCodec::builder().max_frame_length(256 << 20).new_framed(stream)
}

pub(crate) fn write<T: Serialize>(said: &T) -> io::Result<Bytes> {
    Ok(serde_json::to_vec(said)?.into())
}

pub(crate) fn read<T: DeserializeOwned>(frame: &[u8]) -> io::Result<T> {
    Ok(serde_json::from_slice(frame)?)
}

impl From<Retention> for Kept {
    fn from(Retention { history, latest_keys, .. }: Retention) -> Self {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Self(
            history.messages,
            history.bytes,
            millis(history.ttl),
            millis(history.idempotency_window),
            latest_keys,
        )
    }
}

impl Kept {
    fn retention(self) -> Option<Retention> {
        let Self(messages, bytes, ttl, window, keys) = self;
        let config = TopicConfig::new().history(messages).history_bytes(bytes).latest(keys);
        let config = config.history_ttl(Duration::from_millis(ttl));
        Retention::of(&config.idempotency_window(Duration::from_millis(window)))
    }
}

impl From<&Interest> for Wanted {
    fn from(interest: &Interest) -> Self {
        match interest {
            Interest::Topic { name, retention } => Self::Topic(name.to_string(), retention.map(Kept::from)),
            Interest::Pattern(pattern) => Self::Pattern(pattern.to_string()),
            other => unreachable!("an interest of a newer core: {other:?}"),
        }
    }
}

impl Wanted {
    pub(crate) fn interest(self) -> Option<Interest> {
        Some(match self {
            Self::Topic(name, kept) => Interest::Topic {
                name: TopicName::new(name).ok()?,
                retention: kept.and_then(Kept::retention),
            },
            Self::Pattern(pattern) => Interest::Pattern(TopicPattern::new(pattern).ok()?),
        })
    }
}

impl Query {
    pub(crate) fn of(query: HistoryQuery) -> Option<Self> {
        Some(match query {
            HistoryQuery::After { offset, limit } => Self::After(offset, limit),
            HistoryQuery::Before { offset, limit } => Self::Before(offset, limit),
            HistoryQuery::Latest => Self::Latest,
            _ => return None,
        })
    }

    pub(crate) fn query(self) -> HistoryQuery {
        match self {
            Self::After(offset, limit) => HistoryQuery::After { offset, limit },
            Self::Before(offset, limit) => HistoryQuery::Before { offset, limit },
            Self::Latest => HistoryQuery::Latest,
        }
    }
}

/// A message that is handed over, from its envelope.
pub(crate) fn outgoing(envelope: Vec<u8>, kept: Option<Kept>) -> Option<Outgoing> {
    let incoming = Envelope::decode(envelope.into()).ok()?.into_incoming();
    let origin = incoming.origin?;
    Some(match kept.and_then(Kept::retention) {
        Some(retention) => Outgoing::logged(incoming.message, retention, origin),
        None => Outgoing::ephemeral(incoming.message, origin).with_also(incoming.also),
    })
}

/// An envelope, with its place where it has one.
pub(crate) fn envelope(outgoing: &Outgoing, place: Option<LogPlace>) -> Vec<u8> {
    let mut bytes = place.map_or_else(Vec::new, |place| Envelope::place_header(place).into_bytes());
    bytes.extend_from_slice(&Envelope::encode(outgoing));
    bytes
}

impl Answer {
    pub(crate) fn accepted(accepted: &Accepted) -> Self {
        Self::Accepted { at: accepted.position.map(pair), duplicate: accepted.duplicate }
    }

    pub(crate) fn top(top: Option<Position>) -> Self {
        Self::Top(top.map(pair))
    }

    pub(crate) fn page(page: &Page, mut write: impl FnMut(&Message) -> Vec<u8>) -> Self {
        let messages = page.messages.iter().map(|message| write(message)).collect();
        let Page { floor, last, more, .. } = *page;
        Self::Page { epoch: page.epoch.value(), floor, last, more, messages }
    }
}

fn pair(position: Position) -> (u64, u64) {
    (position.epoch.value(), position.offset)
}

pub(crate) fn position((epoch, offset): (u64, u64)) -> Position {
    Position::new(Epoch::new(epoch), offset)
}
