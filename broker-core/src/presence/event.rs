//! What watchers are told, as the payload of a message of this node: so that it takes the way of all messages, and is encoded
//! once for all of them.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::{
    Member, PresenceChanges, PresenceCounts, PresenceEvent, PresencePage,
    wire::{NotPresence, put_text, shared_text},
};
use crate::{message::Message, session::ClientId, topic::TopicName};

/// How the topic is called on which this node's watchers of a topic are told: it is no other's, and never leaves the node.
pub(crate) const PREFIX: &str = "$presence.";

/// Whether a topic is one on which watchers are told.
pub(crate) fn is_event_topic(name: &TopicName) -> bool {
    name.is_system() && name.as_str().starts_with(PREFIX)
}

const SNAPSHOT: u8 = 1;
const CHANGES: u8 = 2;
const COUNTS: u8 = 3;

const HAS_USER: u8 = 1;
const HAS_META: u8 = 2;

/// The topic whose watchers are told on this one.
pub(super) fn watched_by(name: &TopicName) -> Option<TopicName> {
    let name = name.as_str().strip_prefix(PREFIX)?;
    TopicName::new(name).ok()
}

/// The topic that a message is about, and what it tells of who is there, if it does.
pub(crate) fn event_of(message: &Message) -> Option<(&str, PresenceEvent)> {
    if !is_event_topic(message.topic()) {
        return None;
    }
    let topic = message.topic().as_str().get(PREFIX.len()..)?;
    let event = read(&mut message.payload().bytes().clone()).ok()?;
    Some((topic, event))
}

pub(super) fn write(event: &PresenceEvent) -> Bytes {
    let mut out = BytesMut::new();
    let kind = match event {
        PresenceEvent::Snapshot(_) => SNAPSHOT,
        PresenceEvent::Changes(_) => CHANGES,
        PresenceEvent::Counts(_) => COUNTS,
    };
    out.put_u8(kind);
    let counts = event.counts();
    out.put_u64(counts.clients);
    out.put_u64(counts.users);
    match event {
        PresenceEvent::Snapshot(page) => {
            out.put_u64(page.next.map_or(0, ClientId::value));
            put_members(&mut out, &page.members);
        }
        PresenceEvent::Changes(changes) => {
            put_members(&mut out, &changes.join);
            out.put_u32(changes.leave.len() as u32);
            changes.leave.iter().for_each(|client| out.put_u64(client.value()));
            put_members(&mut out, &changes.update);
        }
        PresenceEvent::Counts(_) => {}
    }
    out.freeze()
}

fn read(bytes: &mut Bytes) -> Result<PresenceEvent, NotPresence> {
    let kind = bytes.try_get_u8()?;
    let counts = PresenceCounts { clients: bytes.try_get_u64()?, users: bytes.try_get_u64()? };
    Ok(match kind {
        SNAPSHOT => {
            let next = Some(bytes.try_get_u64()?).filter(|next| *next != 0).map(ClientId::new);
            PresenceEvent::Snapshot(PresencePage { members: members(bytes)?, counts, next })
        }
        CHANGES => {
            let join = members(bytes)?;
            let leave = (0..bytes.try_get_u32()?).map(|_| Ok(ClientId::new(bytes.try_get_u64()?)));
            let leave = leave.collect::<Result<_, NotPresence>>()?;
            PresenceEvent::Changes(PresenceChanges { join, leave, update: members(bytes)?, counts })
        }
        COUNTS => PresenceEvent::Counts(counts),
        _ => return Err(NotPresence),
    })
}

fn put_members(out: &mut BytesMut, members: &[Member]) {
    out.put_u32(members.len() as u32);
    for member in members {
        out.put_u64(member.client.value());
        let user = member.user.as_ref().map_or(0, |_| HAS_USER);
        let meta = member.meta.as_ref().map_or(0, |_| HAS_META);
        out.put_u8(user | meta);
        for text in [&member.user, &member.meta].into_iter().flatten() {
            put_text(out, text);
        }
    }
}

fn members(bytes: &mut Bytes) -> Result<Vec<Member>, NotPresence> {
    let count = bytes.try_get_u32()?;
    let members = (0..count).map(|_| {
        let (client, flags) = (ClientId::new(bytes.try_get_u64()?), bytes.try_get_u8()?);
        let mut text = |flag| (flags & flag != 0).then(|| shared_text(bytes)).transpose();
        Ok(Member { client, user: text(HAS_USER)?, meta: text(HAS_META)? })
    });
    members.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let member = |n, user: Option<&str>, meta: Option<&str>| Member {
            client: ClientId::new(n),
            user: user.map(Into::into),
            meta: meta.map(Into::into),
        };
        let counts = PresenceCounts { clients: 7, users: 3 };
        let all = vec![
            member(1, Some("ann"), Some("{}")),
            member(2, None, Some("[1]")),
            member(3, Some("bo"), None),
        ];
        let events = [
            PresenceEvent::Snapshot(PresencePage {
                members: all.clone(),
                counts,
                next: Some(ClientId::new(3)),
            }),
            PresenceEvent::Snapshot(PresencePage { members: Vec::new(), counts, next: None }),
            PresenceEvent::Changes(PresenceChanges {
                join: all.clone(),
                leave: vec![ClientId::new(9)],
                update: vec![member(4, None, None)],
                counts,
            }),
            PresenceEvent::Counts(counts),
        ];
        for event in events {
            let written = write(&event);
            assert_eq!(read(&mut written.clone()).ok(), Some(event));
            for length in 0..written.len() {
                assert!(read(&mut written.slice(..length)).is_err(), "cut at {length}");
            }
        }
    }
}
