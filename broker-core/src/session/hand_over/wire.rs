//! What nodes say to each other about sessions. Numbers are big-endian.
//!
//! A question for a session is u64 the client, 16 bytes the hash of its key, and its user: u8 whether it has one, and the name. An answer is
//! empty, or a session: u8 whether messages may have been addressed to its client, u16 how many subscriptions, and each: u8
//! [flags](IS_PATTERN), where there is one a position (u64 epoch, u64 offset), u8 how long, and the name. Sessions that are to be kept are
//! each: u64 the client, 16 bytes the hash of its key, u8 whether it has a user, u32 how long, its name, and the session as in an answer.

use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::{
    backend::NodeId,
    message::{Epoch, Position},
    outbox::Subject,
    session::{
        ClientId,
        seat::{Away, By, Parked},
        secret::KeyHash,
    },
};

const IS_PATTERN: u8 = 1;
const BY_SERVER: u8 = 2;
const HAS_POSITION: u8 = 4;
const WATCHES: u8 = 8;

pub(super) fn write_question(client: ClientId, key: KeyHash, user: Option<&str>) -> Bytes {
    let mut out = BytesMut::with_capacity(25 + user.map_or(0, str::len));
    out.put_u64(client.value());
    out.put_slice(&key.to_bytes());
    out.put_u8(u8::from(user.is_some()));
    out.put_slice(user.unwrap_or_default().as_bytes());
    out.freeze()
}

pub(super) fn read_question(mut question: Bytes) -> Option<(ClientId, KeyHash, Option<String>)> {
    let client = ClientId::new(question.try_get_u64().ok()?);
    let mut key = [0; 16];
    question.try_copy_to_slice(&mut key).ok()?;
    let has_user = question.try_get_u8().ok()? != 0;
    let user = String::from_utf8(question.to_vec()).ok()?;
    Some((client, KeyHash::from_bytes(key), has_user.then_some(user)))
}

/// A session as an answer to a question for it. `is_addressed`: messages may have been addressed to its client here.
pub(super) fn write_session(parked: &Parked, is_addressed: bool) -> Bytes {
    let mut out = BytesMut::with_capacity(parked.bytes());
    put_subscriptions(&mut out, parked, is_addressed);
    out.freeze()
}

fn put_subscriptions(out: &mut BytesMut, parked: &Parked, is_addressed: bool) {
    out.put_u8(u8::from(is_addressed || parked.is_addressed));
    // As many as a connection can have of names of at most 255 bytes.
    let count = u16::try_from(parked.subscriptions.len()).unwrap_or(u16::MAX);
    out.put_u16(count);
    for away in parked.subscriptions.iter().take(count.into()) {
        let mut flags = 0;
        flags |= if matches!(away.subject, Subject::Pattern(_)) { IS_PATTERN } else { 0 };
        flags |= if away.by == By::Server { BY_SERVER } else { 0 };
        flags |= if away.after.is_some() { HAS_POSITION } else { 0 };
        flags |= if away.watches { WATCHES } else { 0 };
        out.put_u8(flags);
        if let Some(after) = away.after {
            out.put_u64(after.epoch.value());
            out.put_u64(after.offset);
        }
        let name = away.subject.as_str();
        out.put_u8(name.len() as u8);
        out.put_slice(name.as_bytes());
    }
}

/// What an answer says of a session that was asked for; nothing where there is none.
pub(super) fn read_session(
    mut answer: Bytes,
    client: ClientId,
    key: KeyHash,
    user: Option<Arc<str>>,
) -> Option<Parked> {
    let (is_addressed, subscriptions) = get_subscriptions(&mut answer)?;
    Some(Parked { client, key, user, subscriptions, is_addressed })
}

/// Sessions that another node is to keep.
pub(super) fn write_sessions(sessions: &[Parked], is_addressed: bool) -> Bytes {
    let mut out = BytesMut::with_capacity(sessions.iter().map(Parked::bytes).sum());
    for parked in sessions {
        let user = parked.user.as_deref();
        out.put_u64(parked.client.value());
        out.put_slice(&parked.key.to_bytes());
        out.put_u8(u8::from(user.is_some()));
        let user = user.unwrap_or_default();
        // Longer than a frame may be it is nowhere.
        out.put_u32(u32::try_from(user.len()).unwrap_or(u32::MAX));
        out.put_slice(user.as_bytes());
        put_subscriptions(&mut out, parked, is_addressed);
    }
    out.freeze()
}

/// All of them, or none.
pub(super) fn read_sessions(mut content: Bytes) -> Option<Vec<Parked>> {
    let mut sessions = Vec::new();
    while content.has_remaining() {
        let client = ClientId::new(content.try_get_u64().ok()?);
        let mut key = [0; 16];
        content.try_copy_to_slice(&mut key).ok()?;
        let has_user = content.try_get_u8().ok()? != 0;
        let length = usize::try_from(content.try_get_u32().ok()?).ok()?;
        let user = get_text(&mut content, length)?;
        let user = has_user.then(|| Arc::from(user.as_str()));
        let (is_addressed, subscriptions) = get_subscriptions(&mut content)?;
        sessions.push(Parked { client, key: KeyHash::from_bytes(key), user, subscriptions, is_addressed });
    }
    Some(sessions)
}

fn get_text(content: &mut Bytes, length: usize) -> Option<String> {
    let is_there = content.len() >= length;
    is_there.then(|| content.split_to(length)).and_then(|text| String::from_utf8(text.to_vec()).ok())
}

fn get_subscriptions(answer: &mut Bytes) -> Option<(bool, Vec<Away>)> {
    let is_addressed = answer.try_get_u8().ok()? != 0;
    let count = answer.try_get_u16().ok()?;
    let mut subscriptions = Vec::new();
    for _ in 0..count {
        let flags = answer.try_get_u8().ok()?;
        let after = if flags & HAS_POSITION == 0 {
            None
        } else {
            let epoch = Epoch::new(answer.try_get_u64().ok()?);
            Some(Position::new(epoch, answer.try_get_u64().ok()?))
        };
        let length = usize::from(answer.try_get_u8().ok()?);
        let subject = Subject::parse(&get_text(answer, length)?).ok()?;
        if matches!(subject, Subject::Pattern(_)) != (flags & IS_PATTERN != 0) {
            return None;
        }
        let by = if flags & BY_SERVER == 0 { By::Client } else { By::Server };
        subscriptions.push(Away { subject, by, watches: flags & WATCHES != 0, after });
    }
    Some((is_addressed, subscriptions))
}

/// What a node says of sessions without being asked.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// It has the session that it was given.
    Arrived(ClientId, KeyHash),
    /// It stops, and another node keeps sessions that it had.
    Heir(NodeId),
}

const ARRIVED: u8 = 1;
const HEIR: u8 = 2;

impl Word {
    pub(super) fn write(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(25);
        match self {
            Self::Arrived(client, key) => {
                out.put_u8(ARRIVED);
                out.put_u64(client.value());
                out.put_slice(&key.to_bytes());
            }
            Self::Heir(node) => {
                out.put_u8(HEIR);
                out.put_u64(node.value());
            }
        }
        out.freeze()
    }

    /// What a newer node means is passed over.
    pub(super) fn read(mut word: Bytes) -> Option<Self> {
        match word.try_get_u8().ok()? {
            ARRIVED => {
                let client = ClientId::new(word.try_get_u64().ok()?);
                let mut key = [0; 16];
                word.try_copy_to_slice(&mut key).ok()?;
                Some(Self::Arrived(client, KeyHash::from_bytes(key)))
            }
            HEIR => Some(Self::Heir(NodeId::new(word.try_get_u64().ok()?))),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_and_sessions_survive_their_bytes() {
        let (client, key) = (ClientId::new(7), KeyHash::from_bytes([9; 16]));
        for user in [None, Some(""), Some("ann"), Some("\u{1f600}")] {
            let read = read_question(write_question(client, key, user)).unwrap();
            assert_eq!((read.0, read.2.as_deref()), (client, user));
            assert!(read.1 == key);
        }
        let long = "x".repeat(255);
        let away = |name: &str, by, after| {
            let watches = by == By::Client;
            Away { subject: Subject::parse(name).unwrap(), by, watches, after }
        };
        let subscriptions = vec![
            away("a.b", By::Client, None),
            away("a.>", By::Server, None),
            away(&long, By::Server, Some(Position::new(Epoch::new(u64::MAX), 3))),
        ];
        let user = Some("ann".into());
        let parked = Parked { client, key, user, subscriptions, is_addressed: false };
        let same = |read: &Parked, is_addressed| {
            let expected = Parked { is_addressed, ..parked.clone() };
            assert_eq!(format!("{read:?}"), format!("{expected:?}"));
            assert!(read.key == key);
        };
        let bytes = write_session(&parked, true);
        let read = |bytes| read_session(bytes, client, key, Some("ann".into()));
        same(&read(bytes.clone()).unwrap(), true);
        same(&read(write_session(&parked, false)).unwrap(), false);
        for length in 0..bytes.len() {
            assert!(read(bytes.slice(..length)).is_none(), "cut after {length} bytes");
        }
        assert!(read(Bytes::new()).is_none(), "nothing is no session");
        let stranger = Parked { user: None, subscriptions: Vec::new(), is_addressed: true, ..parked.clone() };
        let bytes = write_sessions(&[parked.clone(), stranger.clone()], false);
        let read = read_sessions(bytes.clone()).unwrap();
        same(&read[0], false);
        assert_eq!(format!("{:?}", read[1]), format!("{stranger:?}"));
        assert!(read_sessions(bytes.slice(..bytes.len() - 1)).is_none(), "all or none");
    }

    #[test]
    fn words_survive_their_bytes() {
        let arrived = || Word::Arrived(ClientId::new(7), KeyHash::from_bytes([9; 16]));
        for word in [arrived(), Word::Heir(NodeId::new(u64::MAX))] {
            let bytes = word.write();
            for length in 0..bytes.len() {
                assert_eq!(Word::read(bytes.slice(..length)), None);
            }
            assert_eq!(Word::read(bytes), Some(word));
        }
        assert_eq!(Word::read(Bytes::from_static(&[9; 40])), None);
    }
}
