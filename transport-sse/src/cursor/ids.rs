//! The cursor of one stream, as it moves.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::{BufMut, BytesMut};
use fanfare_core::{message::Position, subscriber::SubscriptionId};

use super::{Hash, binary};
use crate::fields;

/// What stands in `id:` where it is each reader's own.
#[derive(Debug)]
pub(crate) enum Ids {
    /// One topic: its position.
    Topic(Option<Position>),
    /// Several: all their positions.
    Topics(Vec<Place>),
}

/// Where the reader is in one topic.
#[derive(Debug)]
pub(crate) struct Place {
    subscription: SubscriptionId,
    hash: Hash,
    position: Option<Position>,
}

impl Place {
    pub(crate) fn new(subscription: SubscriptionId, topic: &str, position: Option<Position>) -> Self {
        Self { subscription, hash: Hash::of(topic), position }
    }
}

impl Ids {
    /// The cursor of these topics.
    pub(crate) fn new(mut places: Vec<Place>) -> Self {
        if let [place] = &places[..] {
            return Self::Topic(place.position);
        }
        places.shrink_to_fit();
        Self::Topics(places)
    }

    /// Moves in one topic. False when that says nothing new.
    pub(crate) fn advance(&mut self, subscription: SubscriptionId, position: Position) -> bool {
        let held = match self {
            Self::Topic(held) => held,
            Self::Topics(places) => {
                let place = places.iter_mut().find(|place| place.subscription == subscription);
                let Some(place) = place else { return false };
                &mut place.position
            }
        };
        held.replace(position) != Some(position)
    }

    /// How much longer an event may be for its `id:` than a small one is without, as a factor.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Self::Topic(_) => 1,
            Self::Topics(places) => 1 + places.len() / 4,
        }
    }

    /// Writes `id:`, where anything is known.
    pub(crate) fn write(&self, out: &mut BytesMut) {
        match self {
            Self::Topic(None) => {}
            Self::Topic(Some(position)) => fields::id(position, out),
            Self::Topics(places) => {
                let known = places.iter().filter_map(|place| Some((place.hash, place.position?)));
                let count = known.clone().count();
                if count == 0 {
                    return;
                }
                let mut cursor = Vec::with_capacity(count * USUAL);
                binary::write(known, &mut cursor);
                out.put_slice(b"id: ");
                let at = out.len();
                out.resize(at + (cursor.len() * 4).div_ceil(3), 0);
                let written = URL_SAFE_NO_PAD.encode_slice(&cursor, &mut out[at..]);
                debug_assert_eq!(written, Ok(out.len() - at), "the room is exact");
                out.put_slice(b"\n");
            }
        }
    }
}

/// What a topic usually takes of a cursor: bytes to reserve.
const USUAL: usize = 20;
