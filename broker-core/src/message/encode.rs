//! Wire formats: what a transport gives the core so that a message is encoded
//! once for all its subscribers.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::{Bytes, BytesMut};

use super::{Gap, Message, Position};
use crate::{
    calls::OutgoingCall,
    presence::{self, PresenceEvent},
    session::{CloseReason, ErrorCode, Reply, RequestId, Subscribed},
    topic::TopicName,
};

/// One thing that is told to a client.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Frame<'a> {
    /// A message. Its encoding must depend on the message alone: it is shared
    /// by all subscribers of this format.
    Message(&'a Message),
    /// A message was hidden from this client on purpose: only its position.
    Cursor {
        /// The topic.
        topic: &'a TopicName,
        /// The hidden message's position.
        position: Position,
    },
    /// Messages were lost.
    Gap {
        /// The topic, or the pattern, as it was subscribed.
        topic: &'a str,
        /// What was lost.
        gap: &'a Gap,
    },
    /// All that was missed has been sent; what follows is live.
    Live {
        /// The topic.
        topic: &'a TopicName,
        /// The last position that was sent.
        position: Position,
    },
    /// The answer to a command.
    Reply {
        /// The client's number of the command.
        id: Option<RequestId>,
        /// The answer.
        reply: &'a Reply,
    },
    /// The server asks the client something. A format whose clients cannot answer writes nothing: then they are not asked.
    Call(&'a OutgoingCall),
    /// The server has subscribed the client.
    Subscribed {
        /// The topic or the pattern.
        topic: &'a str,
        /// Where it begins.
        outcome: &'a Subscribed,
    },
    /// The server has ended a subscription: nothing of it follows.
    Unsubscribed {
        /// The topic or the pattern, as it was subscribed.
        topic: &'a str,
        /// Why.
        code: ErrorCode,
        /// Whether it makes sense to subscribe again.
        retry: bool,
    },
    /// It is time for a new token: the admission ends soon.
    Token {
        /// When.
        expires: Duration,
    },
    /// Who is there on a topic, or who has come and gone.
    Presence {
        /// The topic.
        topic: &'a str,
        /// What is told.
        event: &'a PresenceEvent,
    },
    /// A heartbeat.
    Ping,
    /// The last frame: the connection is about to be closed.
    Close(&'a CloseReason),
}

/// Writes frames in one wire format. Registered once per format with
/// [`Broker::register`](crate::Broker::register).
pub trait Encoder: Send + Sync + 'static {
    /// Appends the encoded frame to `out`, framing included, or nothing when the
    /// format does not know this frame. Never blocks; called from any thread.
    fn encode(&self, frame: Frame<'_>, out: &mut BytesMut);

    /// Whether who reads this format can tell of which topic a message is: unless said otherwise. Where this is not so, as where frames
    /// are bare payloads, a client gets only what it is subscribed to: no messages to an
    /// [`Address`](crate::topic::Address), which it would take for the topic's.
    fn tells_topics(&self) -> bool {
        true
    }
}

/// How many wire formats one broker can have.
pub const MAX_FORMATS: usize = 8;

/// A registered wire format.
#[derive(Clone)]
pub struct Format {
    pub(crate) index: u8,
    pub(crate) encoder: Arc<dyn Encoder>,
}

impl Format {
    pub(crate) fn encode(&self, frame: Frame<'_>) -> Bytes {
        let mut out = BytesMut::new();
        self.encoder.encode(frame, &mut out);
        out.freeze()
    }
}

impl std::fmt::Debug for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Format({})", self.index)
    }
}

/// A message's encodings, one slot per format, each written at most once.
#[derive(Default)]
pub(crate) struct Encodings {
    /// Most processes speak two formats at most.
    first: [OnceLock<Bytes>; INLINE],
    rest: OnceLock<Box<[OnceLock<Bytes>; MAX_FORMATS - INLINE]>>,
}

const INLINE: usize = 2;

impl Encodings {
    pub(crate) fn get(&self, format: &Format, message: &Message) -> &Bytes {
        let index = usize::from(format.index);
        let slot = match self.first.get(index) {
            Some(slot) => slot,
            None => &self.rest.get_or_init(Box::default)[index - INLINE],
        };
        slot.get_or_init(|| {
            let mut out = BytesMut::with_capacity(message.payload().len() + 192);
            match presence::event_of(message) {
                Some((topic, event)) => {
                    format.encoder.encode(Frame::Presence { topic, event: &event }, &mut out)
                }
                None => format.encoder.encode(Frame::Message(message), &mut out),
            }
            out.freeze()
        })
    }
}
