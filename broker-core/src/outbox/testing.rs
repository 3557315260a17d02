//! What the tests of the outbox build on: messages, batches and a format that can be read back.

// `allow-unwrap-in-tests` does not reach the helpers of tests.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};

use super::{Budget, OutboxLimits, Shared};
use crate::{
    fanout::Inbox,
    message::{Encoder, Epoch, Format, Frame, LogPlace, Message, MessageParts, Position},
    session::ClientId,
    stats::Totals,
    subscriber::{Batch, JoinedCache, SubscriptionId},
    topic::TopicName,
};

pub(super) const CLIENT: ClientId = ClientId::new(7);
pub(super) const EVERYTHING: usize = 1 << 30;

/// `kind (1), length of the rest (4), rest`.
pub(super) struct Lengths;

impl Encoder for Lengths {
    fn encode(&self, frame: Frame<'_>, out: &mut BytesMut) {
        let (kind, topic, body): (_, &str, Vec<u8>) = match frame {
            Frame::Message(message) => (b'M', message.topic().as_str(), message.payload().bytes().to_vec()),
            Frame::Gap { topic, gap } => (b'G', topic, gap.missed.unwrap_or(u64::MAX).to_be_bytes().to_vec()),
            Frame::Cursor { topic, position } => {
                (b'C', topic.as_str(), position.offset.to_be_bytes().to_vec())
            }
            Frame::Live { topic, position } => (b'L', topic.as_str(), position.offset.to_be_bytes().to_vec()),
            Frame::Ping => (b'P', "", Vec::new()),
            Frame::Close(_) => (b'X', "", Vec::new()),
            Frame::Reply { .. }
            | Frame::Call(_)
            | Frame::Subscribed { .. }
            | Frame::Unsubscribed { .. }
            | Frame::Presence { .. }
            | Frame::Token { .. } => return,
        };
        out.extend_from_slice(&frame_of(kind, topic, &body));
    }
}

pub(super) fn frame_of(kind: u8, topic: &str, body: &[u8]) -> Bytes {
    let mut out = BytesMut::new();
    out.put_u8(kind);
    out.put_u32((1 + topic.len() + body.len()) as u32);
    out.put_u8(topic.len() as u8);
    out.put_slice(topic.as_bytes());
    out.put_slice(body);
    out.freeze()
}

/// Reads back whole frames: kind, topic, body. Panics on anything else.
pub(super) fn frames_in(mut bytes: &[u8]) -> Vec<(u8, String, Vec<u8>)> {
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        let kind = bytes[0];
        assert!(b"MGCLPXRU".contains(&kind), "no frame begins with {kind}");
        let length = u32::from_be_bytes(bytes[1..5].try_into().unwrap()) as usize;
        let (frame, rest) = bytes[5..].split_at(length);
        let (topic, body) = frame[1..].split_at(usize::from(frame[0]));
        frames.push((kind, String::from_utf8(topic.to_vec()).unwrap(), body.to_vec()));
        bytes = rest;
    }
    frames
}

pub(super) fn format() -> Format {
    Format { index: 0, encoder: Arc::new(Lengths) }
}

pub(super) fn shared(format: Option<Format>, queue_bytes: usize, control_bytes: usize) -> Shared {
    let inbox = Arc::new(Inbox::new(1024, 1 << 20));
    Shared {
        name: Shared::name_of(CLIENT),
        format,
        limits: OutboxLimits {
            queue_bytes,
            control_bytes: u32::try_from(control_bytes).unwrap(),
            direct_messages: 4,
        },
        budget: Arc::new(Budget::new(EVERYTHING)),
        totals: Arc::new(Totals::default()),
        inbox,
    }
}

/// How often a page was pulled since the last call.
#[cfg(not(loom))]
pub(super) fn pulls(shared: &Shared) -> usize {
    let (mut lane, mut data) = Default::default();
    shared.inbox.take(&mut lane, &mut data);
    lane.len()
}

/// A message whose payload is its number, and then some.
pub(super) struct Draft {
    pub(super) topic: TopicName,
    pub(super) seq: u64,
    pub(super) size: usize,
    pub(super) key: Option<u8>,
    pub(super) hidden: bool,
    /// Epoch, offset, previous offset.
    pub(super) place: Option<(u64, u64, u64)>,
}

impl Draft {
    pub(super) fn build(self) -> Arc<Message> {
        let mut payload = self.seq.to_be_bytes().to_vec();
        payload.resize(8 + self.size, b'.');
        let mut parts = MessageParts::new(self.topic, Bytes::from(payload));
        parts.key = self.key.map(|key| key.to_string().into());
        parts.except = self.hidden.then(|| [CLIENT].into());
        match self.place {
            None => Arc::new(Message::ephemeral(parts)),
            Some((epoch, offset, prev)) => {
                let position = Position::new(Epoch::new(epoch), offset);
                Arc::new(Message::logged(parts, LogPlace { position, prev }))
            }
        }
    }
}

#[cfg(not(loom))]
pub(super) fn seq_of(message: &Message) -> u64 {
    u64::from_be_bytes(message.payload().bytes()[..8].try_into().unwrap())
}

/// A batch as a shard makes it.
pub(super) fn with_batch<R>(
    topic: &TopicName,
    id: SubscriptionId,
    messages: &[Arc<Message>],
    page: bool,
    more_follows: bool,
    offer: impl FnOnce(&Batch<'_>) -> R,
) -> R {
    let joined = JoinedCache::default();
    offer(&Batch {
        topic,
        subscription: id,
        messages,
        first: 0,
        joined: (!page).then_some(&joined),
        has_exclusions: messages.iter().any(|m| !m.except().is_empty()),
        more_follows,
        page,
    })
}

/// What was offered, less all that it became.
pub(super) fn unaccounted(shared: &Shared, offered: u64, queued: usize) -> i64 {
    let totals = &shared.totals;
    let counters = [
        &totals.delivered,
        &totals.conflated,
        &totals.dropped,
        &totals.discarded,
        &totals.resynced,
        &totals.hidden,
    ];
    let became: u64 = counters.iter().map(|counter| counter.get()).sum();
    offered as i64 - became as i64 - queued as i64
}
